// SPDX-License-Identifier: Apache-2.0

package experiment

import (
	"context"
	"errors"
	"fmt"

	"leakprof/bpf"
	"leakprof/collector/session"
	"leakprof/profiler/bird/tree"
	"leakprof/profiler/reachability"
	"leakprof/profiler/snapshot"
	"leakprof/profiler/target"
)

// maxNotQuiet bounds how many looks at a BIRD that did not rest are listed.
const maxNotQuiet = 32

// look fills in the current phase with all that can be seen now.
func (r *run) look(ctx context.Context, e session.Event) error {
	p := &r.phases[len(r.phases)-1]
	p.End, p.Incomplete = e.Time, e.Incomplete
	r.noteOthers(ctx, e)
	first := r.showMemory(ctx)
	if e.Cycle%2 == 1 {
		first = r.showMemory(ctx) // so that cycles differ in their commands (own)
	}
	// Elsewhere it was the count of routes that ended the phase.
	if r.Session.Interval > 0 || r.Command != nil || e.Phase == session.Baseline {
		r.countRoutes(ctx)
	}
	if r.Control != nil {
		r.commands = r.Control.Commands()
	}
	p.Commands = r.commands
	if r.canLook() {
		s, reach, err := r.snapshot(ctx, e.Phase)
		if r.walks() && errors.Is(err, target.ErrGone) {
			return nil
		}
		if err != nil {
			return err
		}
		if r.probesOff() {
			p.Incomplete = probesWereOff
		} else if r.Profiler.BIRD != nil {
			p.Books = r.books(s, first, r.showMemory(ctx))
		}
		if s.Why != "" && len(r.notQuiet) < maxNotQuiet {
			r.notQuiet = append(r.notQuiet, fmt.Sprintf("%s: %s", e.Phase, s.Why))
		}
		// They stay in the programs' set: each look finds them again.
		r.missedReturns = max(r.missedReturns, len(s.MissedReturns))
		r.ages = r.ageMarks(e.Cycle)
		if p.Heap, err = r.attributor.Attribute(s.Live, s.Tree, reach, r.Profiler.Modules()); err != nil {
			return err
		}
	}
	if r.Station != nil {
		p.BMP = bmpCounts(r.Station.Counts())
	}
	if first != nil {
		p.ShowMemory = memoryLines(first)
		p.Routes = r.last.Routes
	}
	r.forget(e.Cycle)
	return r.followGrown(ctx, e.Phase)
}

// canLook says whether there is a live set to look at: of a process that has
// ended the programs' alone.
func (r *run) canLook() bool {
	return r.Profiler != nil && (!r.walks() || r.Process.Alive())
}

// searchAttempts is how often a snapshot is taken whose pointers are followed: a
// BIRD that has allocated or freed meanwhile makes the search worth little.
const searchAttempts = 3

// snapshot takes a snapshot, and where the phase is one that is compared, looks
// for what in it can be reached. Without a result the search was not made or did
// not end; that is no reason to end the experiment.
func (r *run) snapshot(ctx context.Context, phase session.Phase) (*snapshot.Snapshot, *reachability.Result, error) {
	for attempt := 1; ; attempt++ {
		s, err := r.Profiler.Look(ctx, snapshot.Options{})
		if err != nil {
			return nil, nil, err
		}
		if r.probesOff() {
			s.Quiet, s.Why = false, probesWereOff
			return s, nil, nil
		}
		if !compared(phase) || !r.Process.Alive() {
			return s, nil, nil
		}
		reach, err := reachability.Classify(r.Process, r.Profiler.BIRD, s, reachability.Options{})
		r.searchFailed = nil
		if err != nil {
			if !errors.Is(err, target.ErrGone) {
				r.searchFailed = err
			}
			return s, nil, nil
		}
		moved := ""
		// Where nothing is lost nothing can be so by mistake.
		if s.Quiet && reach.Bytes[reachability.Lost] > 0 {
			moved = r.moved(s)
		}
		if moved == "" {
			return s, reach, nil
		}
		if attempt == searchAttempts || r.probesOff() {
			reach.Distrust(moved)
			return s, reach, nil
		}
	}
}

// compared says whether the look at a phase's end is compared with others.
func compared(p session.Phase) bool {
	return p == session.Baseline || p == session.Settled || p == session.Resumed || p == session.Interval
}

// moved says what has changed since a snapshot was taken, or why that cannot be
// told; "" if nothing. Objects of slabs come back without an event; then the tree
// is another one.
func (r *run) moved(s *snapshot.Snapshot) string {
	const why = "BIRD allocated or freed memory while pointers were followed"
	if r.probesOff() {
		return probesWereOff // nobody counts any more
	}
	now, err := r.Profiler.Counters()
	if err != nil {
		return err.Error()
	}
	then := s.Live.Counters
	if now[bpf.AllocatedObjects] != then[bpf.AllocatedObjects] || now[bpf.FreedObjects] != then[bpf.FreedObjects] {
		return why
	}
	reader := r.Profiler.TreeReader()
	if s.Tree == nil || reader == nil {
		return ""
	}
	again, err := reader.Walk()
	switch {
	case errors.Is(err, tree.ErrTorn) || err == nil && again.Fingerprint != s.Tree.Fingerprint:
		return why
	case err != nil:
		return err.Error()
	}
	return ""
}
