// SPDX-License-Identifier: Apache-2.0

package session

import (
	"fmt"
	"strings"
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
	// Others: BIRD has other peers too, whose noise is not waited for. Quiet is
	// then that no messages come of the experiment's own; what BIRD does at all,
	// and how its memory moves, says nothing.
	Others bool
	// Interval, if it is not 0, ends phases by the time: the baseline as soon as
	// it is quiet, but after four settle times whatever goes on, and then an
	// Interval each.
	Interval time.Duration
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
	// left is how many routes there were when last counted in this phase, -1 if
	// they were not.
	left int64
	// missing is what was not in, or not gone, when they were.
	missing string
	looked  bool
	why     string
	until   time.Time // when what is waited for ends, zero if unknown
}

// NewMachine begins with the baseline at the given time.
func NewMachine(o Options, now time.Time) *Machine {
	return &Machine{o: o, phase: Baseline, since: now, quiet: newQuiet(o.Settle, o.Others), base: -1}
}

// Phase returns the phase and cycle that the experiment is in.
func (m *Machine) Phase() (Phase, int) { return m.phase, m.cycle }

// Looked says whether the phase has come to rest and been looked at.
func (m *Machine) Looked() bool { return m.looked }

// Waiting says what the machine waits for, in words, and until when at most:
// the zero time if nobody knows.
func (m *Machine) Waiting() (string, time.Time) {
	if m.o.Limit > 0 && !m.looked && m.o.Interval == 0 {
		if end := m.since.Add(m.o.Limit); m.until.IsZero() || end.Before(m.until) {
			return m.why, end
		}
	}
	return m.why, m.until
}

// Mark takes the word of a person for what neither BMP nor the control socket
// tells: Flooding, Dropping and Running begin; Flooded, Settled and Baseline
// are looked at now. Those that make no sense in this phase change nothing,
// and ok is false.
func (m *Machine) Mark(p Phase, now time.Time) (events []Event, ok bool) {
	switch p {
	case Flooding:
		ok = m.phase != Flooding
	case Dropping:
		ok = m.phase == Flooding || m.phase == Flooded
	case Running:
		ok = m.phase == Baseline || m.phase == Settled
	case Baseline, Flooded, Settled:
		if ok = m.phase.next() == p && !m.looked; ok {
			return m.look(now, ""), true
		}
	}
	if !ok || m.o.Interval > 0 {
		return nil, false
	}
	return m.Begin(p, 0, now), true
}

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
	if p == Flooding || p == Running || p == Interval {
		m.cycle++
	}
	m.enter(p, now)
	return append(events, Event{Kind: Began, Phase: p, Cycle: m.cycle, Time: now})
}

func (m *Machine) enter(p Phase, now time.Time) {
	m.phase, m.since, m.looked = p, now, false
	m.quiet, m.wantsRoutes, m.confirmed = newQuiet(m.o.Settle, m.o.Others), false, false
	m.left, m.missing = -1, ""
	m.why, m.until = m.quiet.words(), time.Time{}
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
	m.why, m.until = m.next(), time.Time{}
	return append(events, Event{Kind: Look, Phase: rest, Cycle: m.cycle, Time: now, Incomplete: incomplete})
}

// next says what a phase that has been looked at waits for.
func (m *Machine) next() string {
	switch {
	case m.o.Interval > 0 || m.o.Driven:
		return "the next phase"
	case m.last.ByHand && m.phase == Flooded:
		return "leakprof mark dropping: neither BMP nor a control socket tells of sessions"
	case m.last.ByHand:
		return "leakprof mark flooding: neither BMP nor a control socket tells of sessions"
	case m.phase == Flooded:
		return "a session to go down"
	case m.last.Sessionless != "":
		return "a session to come up, but " + m.last.Sessionless
	}
	return "a session to come up"
}

// Observe tells the machine what is known now, and returns what follows.
func (m *Machine) Observe(o Observation) []Event {
	if m.o.Interval > 0 {
		return m.observeInterval(o)
	}
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
		m.why = m.next()
		if o.Behind != "" {
			m.why = o.Behind
		}
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
		m.showQuiet(o)
	}
	switch {
	case o.Busy != "":
		isQuiet, m.why, m.until = false, o.Busy, time.Time{}
	case o.Behind != "" && !m.o.Driven:
		isQuiet, m.why, m.until = false, o.Behind, time.Time{}
	case m.phase == Dropping && o.PeersUp > 0 && m.o.Driven:
		isQuiet, m.why, m.until = false, fmt.Sprintf("%d peers to go down", o.PeersUp), time.Time{}
	}
	if isQuiet {
		isQuiet = m.confirm(o)
	}
	if isQuiet {
		return append(events, m.look(o.Time, "")...)
	}
	if m.o.Limit > 0 && o.Time.Sub(m.since) > m.o.Limit {
		return append(events, m.look(o.Time, fmt.Sprintf("not at rest after %v: %s", m.o.Limit, strings.TrimPrefix(m.why, restless)))...)
	}
	return events
}

// showQuiet says what quiet waits for, unless it is known what is missing.
func (m *Machine) showQuiet(o Observation) {
	switch {
	case m.phase == Dropping && o.Keeping != "" && !m.confirmed:
		m.why, m.until = o.Keeping, o.KeptUntil
	case m.missing != "":
		m.why, m.until = m.missing, time.Time{}
	default:
		m.why, m.until = m.quiet.words(), m.quiet.until()
	}
}

// observeInterval is Observe where the time ends phases.
func (m *Machine) observeInterval(o Observation) []Event {
	const patience = 4 // settle times for a baseline
	m.last = o
	if m.looked {
		return m.begin(Interval, o.Time)
	}
	done := m.quiet.observe(o)
	m.why, m.until = m.quiet.words(), m.since.Add(patience*m.o.Settle)
	if m.phase == Interval {
		m.why, m.until, done = "the interval's end", m.since.Add(m.o.Interval), false
	}
	if !done && o.Time.Before(m.until) {
		return nil
	}
	return m.look(o.Time, "")
}

// WantsRoutes says that the next observation should have counted routes.
func (m *Machine) WantsRoutes() bool { return m.wantsRoutes }

// Undisturbed says that BIRD is best not asked anything now: the routes are
// counted, and the look is near.
func (m *Machine) Undisturbed() bool { return m.confirmed && !m.looked }

// confirm makes sure by BIRD's own count that the routes are where the phase
// wants them. Where they are not, things have to become quiet anew.
func (m *Machine) confirm(o Observation) bool {
	if o.Routes < 0 || m.phase == Baseline || m.confirmed {
		return true // nobody counts, there is nothing to wait for, or it is done
	}
	if !o.RoutesCounted {
		m.wantsRoutes = true
		// What is known to be missing says more.
		if m.missing == "" && (m.phase != Dropping || o.Keeping == "") {
			m.why = "the route count"
		}
		return false
	}
	m.wantsRoutes, m.missing = false, m.notYet(o)
	settle := m.o.Settle
	if m.missing == "" {
		// Counting leaves traces in BIRD's memory for a while: what is to be
		// looked at is a BIRD that nobody asks.
		m.confirmed = true
		settle /= 2
	}
	m.quiet = newQuiet(settle, m.o.Others)
	m.showQuiet(o)
	return false
}

// notYet says by routes that were just counted what is missing for the phase to
// be what its name says, "" for nothing.
func (m *Machine) notYet(o Observation) string {
	left := m.left
	m.left = o.Routes
	switch {
	case m.phase == Flooding && o.Routes < m.expect:
		return fmt.Sprintf("%d of %d routes in", o.Routes, m.expect)
	case m.phase != Dropping:
		return ""
	case o.Keeping != "":
		return o.Keeping
	case o.Kept > 0:
		return fmt.Sprintf("%d routes of sessions that are down", o.Kept)
	// Peers that stay up, or that the experiment is not about, keep their routes;
	// then quiet has to do. And where no session that is down has any, and their
	// number stays, they are of something else: a reconfiguration may have brought
	// them.
	case o.PeersUp == 0 && !m.o.Others && o.Routes > max(m.base, 0) && (o.Kept != 0 || o.Routes != left):
		return fmt.Sprintf("%d routes to go", o.Routes-max(m.base, 0))
	}
	return ""
}

// End takes the last look where the current phase has had none.
func (m *Machine) End(now time.Time) []Event {
	if m.looked {
		return nil
	}
	if m.phase == Interval {
		return m.look(now, "the run ended within the interval")
	}
	return m.look(now, "the run ended before it was quiet")
}
