// SPDX-License-Identifier: Apache-2.0

// Package session follows the phases of an experiment: what the BGP sessions
// of a BIRD do, told by its BMP messages or by its control socket, and when
// things have become quiet enough to look.
package session

import "time"

// Phase is a part of an experiment.
type Phase string

const (
	// Baseline: before the first session comes up.
	Baseline Phase = "baseline"
	// Flooding: from the first Peer Up on, while routes come in.
	Flooding Phase = "flooding"
	// Flooded: the routes are in, things are quiet.
	Flooded Phase = "flooded"
	// Dropping: from the first Peer Down on.
	Dropping Phase = "dropping"
	// Settled: the sessions are down, their routes gone, things are quiet.
	Settled Phase = "settled"
	// Running: a command makes the cycle instead of sessions; it leads to
	// Settled.
	Running Phase = "running"
	// Resumed: after Settled, a station that had stalled reads again, and what
	// BIRD kept for it may go.
	Resumed Phase = "resumed"
	// Interval: nothing is waited for but the time (Options.Interval). Each is a
	// cycle of its own.
	Interval Phase = "interval"
)

// rests says whether a phase is one in which things are quiet; the others
// lead to the next resting one, or to rest in themselves.
func (p Phase) rests() bool { return p == Flooded || p == Settled }

// next is the phase that a moving one comes to rest in; the baseline rests in
// itself.
func (p Phase) next() Phase {
	switch p {
	case Flooding:
		return Flooded
	case Dropping, Running:
		return Settled
	}
	return p
}

// Observation is what is known of BIRD at one moment. Numbers are totals
// since the begin of the experiment where they count something.
type Observation struct {
	Time time.Time
	// Peer Ups and Downs seen so far, and peers up now.
	PeerUps, PeerDowns uint64
	PeersUp            int
	// Messages is how many BMP messages came.
	Messages uint64
	// Events is how many allocations and frees the probes saw, LiveBytes what
	// is live now; both 0 without probes.
	Events    uint64
	LiveBytes int64
	// CPU is BIRD's CPU time.
	CPU time.Duration
	// Routes in all of BIRD's tables as last counted, -1 if unknown. Counting
	// makes BIRD walk its tables, so it is done when the Machine wants it;
	// RoutesCounted says that it was done for this observation.
	Routes        int64
	RoutesCounted bool
	// Kept is how many routes BIRD keeps of sessions that are down, -1 if
	// unknown, as of when routes were counted. Keeping says why, where it is on
	// purpose, and KeptUntil how long at most: the zero time if that is not
	// known.
	Kept      int64
	Keeping   string
	KeptUntil time.Time
	// ByHand: nobody tells of sessions at the moment, so that phases begin by Mark
	// alone.
	ByHand bool
	// Sessionless says why no session can come up as BIRD is configured; "" if one
	// can, or if nobody knows.
	Sessionless string
	// Behind says what BMP has yet to tell of that BIRD's control socket does; ""
	// for nothing, or if nobody knows. Things cannot be quiet meanwhile, unless
	// whoever drives knows better.
	Behind string
	// Busy says what the driver is doing at the moment; "" for nothing. Things
	// cannot be quiet meanwhile.
	Busy string
}

// Event is something that happened to the experiment's phase.
type Event struct {
	Kind  EventKind
	Phase Phase
	Cycle int // 1 for the first flood; 0 for the baseline
	Time  time.Time
	// Incomplete says why a look is taken although things are not as the
	// phase's name says; "" if they are.
	Incomplete string
}

// EventKind says what an Event is.
type EventKind int

const (
	// Began: a phase begins.
	Began EventKind = iota
	// Look: the phase has come to rest (or never will): now is the moment for
	// a snapshot, which stands for Event.Phase.
	Look
)
