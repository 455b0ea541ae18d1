// SPDX-License-Identifier: Apache-2.0

package experiment

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"leakprof/collector/session"
	"leakprof/profiler/report"
)

// Driver causes the phases of an experiment. Without one they are followed. Up
// and Down may take as long as a phase may (Config.Session.Limit); then their
// context ends, and with it the experiment.
type Driver interface {
	// Up brings the sessions up and floods routes; it returns when all is
	// sent.
	Up(ctx context.Context) error
	// Down takes the sessions down.
	Down(ctx context.Context) error
	// Routes is how many routes BIRD has to have after Up, 0 if unknown.
	Routes() int64
}

// Narrator is a Driver that says what it is at.
type Narrator interface {
	// Doing says in words what Up or Down does at the moment. It is called while
	// they run.
	Doing() string
}

// Watcher is a Driver whose own ends of the sessions know when one breaks.
type Watcher interface {
	// Dropped returns how many of the sessions that Up has brought up are down
	// now without Down, and why the last of them is.
	Dropped() (n int, why error)
}

// work is what a driver, or a cycle's command, does at the moment.
type work struct {
	what string     // in words; "" if it does nothing
	done chan error // nil if it does nothing
}

// doing says what the driver does at the moment, as well as it knows; "" if it
// does nothing.
func (r *run) doing() string {
	if d, ok := r.Driver.(Narrator); ok && r.work.done != nil {
		return cmp.Or(d.Doing(), r.work.what)
	}
	return r.work.what
}

// errLimit is why work is given up that has taken for longer than a phase may.
var errLimit = errors.New("not done")

// drive begins the next phase when the last has come to rest.
func (r *run) drive(ctx context.Context, now time.Time) error {
	phase, cycle := r.machine.Phase()
	last := r.Cycles > 0 && cycle >= r.Cycles
	if r.machine.Looked() && (phase == session.Settled || phase == session.Interval || phase == session.Resumed) {
		if phase == session.Settled && r.readsAgain(last) {
			return r.handle(ctx, r.machine.Begin(session.Resumed, 0, now))
		}
		if last {
			return errEnded
		}
	}
	if r.work.done != nil || !r.machine.Looked() || r.Driver == nil && r.Command == nil {
		return nil
	}
	switch rests := phase == session.Baseline || phase == session.Settled || phase == session.Resumed; {
	case rests && r.Command != nil:
		if err := r.handle(ctx, r.machine.Begin(session.Running, 0, now)); err != nil {
			return err
		}
		r.begin(ctx, "the command of the cycle", r.Command)
	case rests:
		if err := r.handle(ctx, r.machine.Begin(session.Flooding, r.Driver.Routes(), now)); err != nil {
			return err
		}
		r.flood.start(r, r.last)
		r.begin(ctx, "speakers sending", r.Driver.Up)
	case phase == session.Flooded && r.Command == nil:
		if err := r.handle(ctx, r.machine.Begin(session.Dropping, 0, now)); err != nil {
			return err
		}
		r.begin(ctx, "sessions going down", r.Driver.Down)
	}
	return nil
}

// begin lets f do its work, for as long as a phase may take.
func (r *run) begin(ctx context.Context, what string, f func(context.Context) error) {
	done := make(chan error, 1)
	r.work = work{what, done}
	limit, start, cancel := r.Session.Limit, time.Now(), func() {}
	if limit > 0 {
		ctx, cancel = context.WithTimeoutCause(ctx, limit, fmt.Errorf("%w after %v", errLimit, limit))
	}
	go func() {
		defer cancel()
		err := f(ctx)
		// A command that was killed, or a dialer whose own clock was ahead of the
		// context's, does not say why.
		if err != nil && limit > 0 && time.Since(start) >= limit && !errors.Is(err, errLimit) {
			err = fmt.Errorf("%w after %v: %w", errLimit, limit, err)
		}
		done <- err
	}()
}

// finish takes what came of the work. What BIRD does not let the driver do in
// time ends the experiment, and what is known by then is its result.
func (r *run) finish(ctx context.Context, err error) error {
	what := r.work.what
	r.work = work{}
	switch {
	case err == nil || !r.Process.Alive() || ctx.Err() != nil:
		return nil
	case errors.Is(err, errLimit):
		first, _, _ := strings.Cut(err.Error(), "\n") // of several peers' reasons
		r.stuck = fmt.Sprintf("%s: %s", what, first)
		return errEnded
	}
	return err
}

// finishDriver waits for the driver, whose context has ended or whose peer is
// gone.
func (r *run) finishDriver() error {
	if r.work.done == nil {
		return nil
	}
	select {
	case <-r.work.done:
		r.work = work{}
		return nil
	case <-time.After(5 * time.Second):
		return fmt.Errorf("stop %s: it does not end", r.work.what)
	}
}

// judgeStuck says in the verdict what the driver could not do; a leak that was
// seen before stands.
func (r *run) judgeStuck(v *report.Verdict) {
	switch {
	case r.stuck == "":
	case v.Kind == report.Leak:
		v.Sentence += "; the run ended early: " + r.stuck
	default:
		v.Kind, v.Sentence = report.Incomplete, fmt.Sprintf("incomplete: %s; %s live now that were not at the begin", r.stuck, report.Size(v.RetainedBytes))
	}
}
