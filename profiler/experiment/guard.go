// SPDX-License-Identifier: Apache-2.0

package experiment

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"leakprof/collector/birdc"
	"leakprof/collector/session"
	"leakprof/profiler/guard"
	"leakprof/profiler/report"
)

// guarded is what the run knows of its guard.
type guarded struct {
	giveUp context.CancelFunc // ends what a driver or command is at
	// ups and downs are how many sessions had come and gone when the experiment
	// began anew.
	ups, downs uint64
	detached   string // where in the run the probes were taken off, "" if they were not
	warned     bool   // of the guard's trouble
	timers     timers
}

// probesWereOff is why a look is not of one moment.
const probesWereOff = "the guard took the probes off"

// probesOff says whether the guard has taken off all probes: what is freed since
// stays in the live set.
func (r *run) probesOff() bool { return r.Guard != nil && r.Guard.Detached() }

// steps are those of the guard; nil, so that nothing ever comes, without one.
func (r *run) steps() <-chan guard.Step {
	if r.Guard == nil {
		return nil
	}
	return r.Guard.Steps()
}

// guardedLoop is loop, but that the guard can end what it has begun.
func (r *run) guardedLoop(ctx context.Context) error {
	ctx, r.guarded.giveUp = context.WithCancel(ctx)
	defer r.guarded.giveUp()
	r.warnOfTimers()
	if r.Guard != nil && r.Station != nil {
		watched := make(chan struct{})
		go func() {
			defer close(watched)
			r.watchStation(ctx)
		}()
		defer func() {
			r.guarded.giveUp()
			<-watched
		}()
	}
	return r.loop(ctx)
}

// takeStep does what follows from a step of the guard: with cheaper options the
// experiment begins anew, for what was seen before has other stacks; without
// probes it ends.
func (r *run) takeStep(s guard.Step) error {
	phase, cycle := r.machine.Phase()
	where := fmt.Sprintf("cycle %d (%s)", cycle, phase)
	if s.Detached {
		r.guarded.detached = where
		r.announce(s.Time, fmt.Sprintf("guard, in %s: %s; the run ends", where, s))
		r.guarded.giveUp()
		return errors.Join(r.finishDriver(), errEnded)
	}
	r.announce(s.Time, fmt.Sprintf("guard, in %s: %s; the experiment begins anew", where, s))
	if err := r.Profiler.Replan(s.To); err != nil {
		return err
	}
	return r.beginAnew(time.Now())
}

// announce notes what a user should know at once.
func (r *run) announce(at time.Time, text string) {
	r.note(at, text)
	if r.Warn != nil {
		r.Warn(text)
	}
}

// beginAnew begins the experiment again with its baseline, as one that attaches
// now, but for what is known of the blocks and pages that are live.
func (r *run) beginAnew(now time.Time) error {
	r.firstMark += uint32(len(r.phases))
	if err := r.Profiler.Mark(r.firstMark); err != nil {
		return err
	}
	r.phases = []report.Phase{{Name: string(session.Baseline), Start: now, Routes: -1}}
	r.machine = session.NewMachine(r.Session, now)
	r.trend = trend{standing: r.trend.standing}
	r.attributor = r.newAttributor()
	r.forgotten, r.omitted, r.ages = 0, 0, nil
	r.flood, r.cpu = floodClock{}, nil
	r.notQuiet = nil
	r.guarded.ups, r.guarded.downs = r.guarded.ups+r.last.PeerUps, r.guarded.downs+r.last.PeerDowns
	r.last.PeerUps, r.last.PeerDowns = 0, 0
	r.protocolsAt = time.Time{} // what is up at its next answer is the baseline's
	return nil
}

// watchTimers tells the guard of BFD sessions, and of sessions that were lost
// because a timer ran out, by the protocols that BIRD has just told of.
func (r *run) watchTimers(ctx context.Context, asked time.Time, all []birdc.Protocol) error {
	if r.Guard == nil {
		return nil
	}
	n := told{asked: asked, began: r.Guard.Began(), protocols: all, address: r.address, explained: r.explained}
	if slices.ContainsFunc(all, func(p birdc.Protocol) bool { return p.Proto == "BFD" && p.State == "up" }) {
		var err error
		if n.bfd, err = r.Control.ShowBFDSessions(ctx); err != nil {
			return err
		}
	}
	n.answered = time.Now()
	r.Guard.SetBFD(slices.ContainsFunc(n.bfd, func(s birdc.BFDSession) bool { return s.State == bfdUp }))
	r.Guard.Lost(r.guarded.timers.take(n)...)
	return nil
}

// guardSilence tells the guard of a BIRD that has not answered in time: neither may
// it have sent its KEEPALIVEs.
func (r *run) guardSilence(err error) {
	if now := time.Now(); r.Guard != nil && errors.Is(err, context.DeadlineExceeded) {
		patience := r.controlPatience()
		r.Guard.Lost(guard.Loss{What: fmt.Sprintf("gave no answer for %v", patience), Read: err.Error(), Stood: now.Add(-patience), Fell: now})
	}
}

// explained says that nobody need guess why a session went down after a time: BMP
// tells, or it was this run's own doing.
func (r *run) explained(address string, after time.Time) bool {
	return r.Session.Driven || r.Station != nil && downExplained(r.Station.Counts(), address, after)
}

// watchStation tells the guard of sessions that BMP says were lost because a timer
// ran out, until ctx ends: also while a look keeps the run from asking.
func (r *run) watchStation(ctx context.Context) {
	tick := time.NewTicker(controlInterval)
	defer tick.Stop()
	var t peerTimers
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			r.Guard.Lost(t.take(r.Station.Counts(), time.Now())...)
		}
	}
}

// warnOfTimers says what the guard cannot hear of.
func (r *run) warnOfTimers() {
	if r.Guard == nil || r.Control != nil {
		return
	}
	hears := "that BIRD loses sessions because timers run out"
	if r.Station != nil {
		hears = "of BFD, and of hold timers only what a BIRD 2 tells by BMP"
	}
	r.announce(time.Now(), "without BIRD's control socket the guard does not hear "+hears)
}

// noteSpared notes which sessions were lost and not held against the probes.
func (r *run) noteSpared() {
	if r.Guard == nil {
		return
	}
	for _, text := range r.Guard.Spared() {
		r.note(time.Now(), text)
	}
}

// warnOfGuard says once, and at once, that the guard cannot keep to its limit.
func (r *run) warnOfGuard() {
	if r.Guard == nil || r.guarded.warned {
		return
	}
	if err := r.Guard.Trouble(); err != nil {
		r.guarded.warned = true
		r.announce(time.Now(), err.Error()+"; --max-overhead may not be kept to from here on")
	}
}

// guardAccount is what the guard did, and what was counted before; nil if
// neither was asked for.
func (r *run) guardAccount() *guard.Account {
	switch {
	case r.Guard != nil:
		a := r.Guard.Account()
		return &a
	case r.Estimate != nil:
		return &guard.Account{Estimate: r.Estimate}
	}
	return nil
}

// judgeGuarded says in the verdict where the run ended early.
func (r *run) judgeGuarded(v *report.Verdict) {
	if r.guarded.detached != "" {
		v.Sentence += fmt.Sprintf("; the guard took the probes off in %s", r.guarded.detached)
	}
}
