// SPDX-License-Identifier: Apache-2.0

package experiment

import (
	"context"
	"fmt"
	"time"

	"leakprof/collector/session"
)

// drive begins the next phase when the last has come to rest.
func (r *run) drive(ctx context.Context, now time.Time) error {
	phase, cycle := r.machine.Phase()
	ends := phase == session.Settled || phase == session.Interval
	if ends && r.Cycles > 0 && cycle >= r.Cycles && r.machine.Looked() {
		return errEnded
	}
	if r.working != nil || !r.machine.Looked() || r.Driver == nil && r.Command == nil {
		return nil
	}
	var work func(context.Context) error
	switch {
	case r.Command != nil && (phase == session.Baseline || phase == session.Settled):
		work, r.doing = r.Command, "the command of the cycle"
		if err := r.handle(ctx, r.machine.Begin(session.Running, 0, now)); err != nil {
			return err
		}
	case r.Command != nil:
		return nil
	case phase == session.Flooded:
		work, r.doing = r.Driver.Down, "sessions going down"
		if err := r.handle(ctx, r.machine.Begin(session.Dropping, 0, now)); err != nil {
			return err
		}
	case phase == session.Baseline || phase == session.Settled:
		work, r.doing = r.Driver.Up, "speakers sending"
		if err := r.handle(ctx, r.machine.Begin(session.Flooding, r.Driver.Routes(), now)); err != nil {
			return err
		}
		r.flood.start(r, r.last)
	default:
		return nil
	}
	r.working = make(chan error, 1)
	done := r.working
	go func() { done <- work(ctx) }()
	return nil
}

// finishDriver waits for the driver, whose context has ended or whose peer is
// gone.
func (r *run) finishDriver() error {
	if r.working == nil {
		return nil
	}
	select {
	case <-r.working:
		r.working = nil
		return nil
	case <-time.After(5 * time.Second):
		return fmt.Errorf("stop %s: it does not end", r.doing)
	}
}
