// SPDX-License-Identifier: Apache-2.0

package session

import (
	"fmt"
	"time"
)

// Options say how phases are told apart.
type Options struct {
	// Settle is how long things must be quiet before a first look; the second
	// follows after as long again.
	Settle time.Duration
	// Limit is how long a phase may take to come to rest before a look is
	// taken all the same; 0: for ever.
	Limit time.Duration
	// Driven: the phases begin when Begin says so, because whoever drives the
	// experiment knows; otherwise when peers go up and down.
	Driven bool
}

// Machine follows the phases from observations. It is not safe for concurrent
// use.
type Machine struct {
	o     Options
	phase Phase
	cycle int
	since time.Time
	quiet *quiet
	last  Observation
	base  int64 // routes at the baseline, -1 if unknown
	// expect is how many routes the flood brings, 0 if unknown.
	expect      int64
	wantsRoutes bool
	confirmed   bool // by BIRD's count, in this phase
	looked      bool
	why         string
}

// NewMachine begins with the baseline at the given time.
func NewMachine(o Options, now time.Time) *Machine {
	return &Machine{o: o, phase: Baseline, since: now, quiet: newQuiet(o.Settle), base: -1}
}

// Phase returns the phase and cycle that the experiment is in.
func (m *Machine) Phase() (Phase, int) { return m.phase, m.cycle }

// Looked says whether the phase has come to rest and been looked at.
func (m *Machine) Looked() bool { return m.looked }

// Waiting says what the machine waits for, in words, and since when it does.
func (m *Machine) Waiting() (string, time.Time) { return m.why, m.since }

// Begin begins a phase that the driver causes. For Flooding, routes is how
// many routes are to be in BIRD's tables at its end, 0 if unknown.
func (m *Machine) Begin(p Phase, routes int64, now time.Time) []Event {
	m.expect = routes
	return m.begin(p, now)
}

func (m *Machine) begin(p Phase, now time.Time) []Event {
	var events []Event
	// A phase that leads to rest but never came there is looked at now: late,
	// but better than not at all.
	if !m.phase.rests() && !m.looked {
		events = append(events, m.look(now, fmt.Sprintf("%s began before it was quiet", p))...)
	}
	if p == Flooding {
		m.cycle++
	}
	m.enter(p, now)
	return append(events, Event{Kind: Began, Phase: p, Cycle: m.cycle, Time: now})
}

func (m *Machine) enter(p Phase, now time.Time) {
	m.phase, m.since, m.looked = p, now, false
	m.quiet, m.wantsRoutes, m.confirmed = newQuiet(m.o.Settle), false, false
	m.why = "watching"
}

// look ends a moving phase: the resting one after it begins with a look.
func (m *Machine) look(now time.Time, incomplete string) []Event {
	rest := m.phase.next()
	var events []Event
	if rest != m.phase {
		events = append(events, Event{Kind: Began, Phase: rest, Cycle: m.cycle, Time: now})
		m.enter(rest, now)
	}
	m.looked = true
	m.why = "nothing: at rest"
	return append(events, Event{Kind: Look, Phase: rest, Cycle: m.cycle, Time: now, Incomplete: incomplete})
}

// Observe tells the machine what is known now, and returns what follows.
func (m *Machine) Observe(o Observation) []Event {
	var events []Event
	if !m.o.Driven {
		// Down before up: a flap between two observations ends a cycle and
		// starts the next one.
		if o.PeerDowns > m.last.PeerDowns && (m.phase == Flooding || m.phase == Flooded) {
			events = append(events, m.begin(Dropping, o.Time)...)
		}
		if o.PeerUps > m.last.PeerUps && (m.phase == Baseline || m.phase == Settled || m.phase == Dropping && o.PeersUp > 0) {
			events = append(events, m.begin(Flooding, o.Time)...)
		}
	}
	m.last = o
	if m.looked {
		return events
	}
	if m.phase == Baseline && o.RoutesCounted {
		m.base = o.Routes
	}
	var isQuiet bool
	if m.wantsRoutes && o.RoutesCounted {
		// Counting made BIRD work; that is no reason to call it busy again.
		isQuiet = true
	} else {
		isQuiet = m.quiet.observe(o)
		m.why = m.quiet.reason
	}
	switch {
	case o.Busy != "":
		isQuiet, m.why = false, o.Busy
	case m.phase == Dropping && o.PeersUp > 0 && m.o.Driven:
		isQuiet, m.why = false, fmt.Sprintf("%d peers to go down", o.PeersUp)
	}
	if isQuiet {
		isQuiet = m.confirm(o)
	}
	if isQuiet {
		return append(events, m.look(o.Time, "")...)
	}
	if m.o.Limit > 0 && o.Time.Sub(m.since) > m.o.Limit {
		return append(events, m.look(o.Time, fmt.Sprintf("not at rest after %v: %s", m.o.Limit, m.why))...)
	}
	return events
}

// WantsRoutes says that the next observation should have counted routes.
func (m *Machine) WantsRoutes() bool { return m.wantsRoutes }

// confirm makes sure by BIRD's own count that the routes are where the phase
// wants them. Where they are not, things have to become quiet anew.
func (m *Machine) confirm(o Observation) bool {
	if o.Routes < 0 || m.phase == Baseline || m.confirmed {
		return true // nobody counts, there is nothing to wait for, or it is done
	}
	if !o.RoutesCounted {
		m.wantsRoutes, m.why = true, "the route count"
		return false
	}
	m.wantsRoutes = false
	settle := m.o.Settle
	switch {
	case m.phase == Flooding && o.Routes < m.expect:
		m.why = fmt.Sprintf("%d of %d routes in", o.Routes, m.expect)
	// Peers that stay up keep their routes; then quiet has to do.
	case m.phase == Dropping && o.PeersUp == 0 && o.Routes > max(m.base, 0):
		m.why = fmt.Sprintf("%d routes to go", o.Routes-max(m.base, 0))
	default:
		// Counting leaves traces in BIRD's memory for a while: what is to be
		// looked at is a BIRD that nobody asks.
		m.confirmed, m.why = true, "quiet after the route count"
		settle /= 2
	}
	m.quiet = newQuiet(settle)
	return false
}

// End takes the last look where the current phase has had none.
func (m *Machine) End(now time.Time) []Event {
	if m.looked {
		return nil
	}
	return m.look(now, "the run ended before it was quiet")
}
