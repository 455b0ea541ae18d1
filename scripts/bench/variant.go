// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"time"

	"leakprof/bpf"
	"leakprof/profiler"
	"leakprof/profiler/plan"
)

// variant is a way to follow a BIRD, or none.
type variant struct {
	name  string
	other bool // a profiler that is not leakprof
	// begin is called before BIRD starts: what is added to its environment, and what
	// follows it from then on, nil for nothing. nil for nothing to do.
	begin func(context.Context, place) ([]string, attached, error)
	// attach begins to follow a BIRD that rests and has no sessions, and returns when
	// it may be flooded; nil for nothing to attach.
	attach func(context.Context, *subject) (attached, error)
}

// attached is what follows a BIRD.
type attached interface {
	// CPU is the CPU time of a process of its own, 0 if it is none.
	CPU() (time.Duration, error)
	// Flooded waits until it has done with the flood.
	Flooded(context.Context) error
	// Finish ends it after the drop, and fills in what it says.
	Finish(context.Context, *run) error
	// Close ends it, if it has not ended.
	Close() error
}

// none is BIRD alone. It is measured twice: what the second ratio is beside 1 is the
// harness's noise.
const (
	none  = "none"
	again = "again"
)

// variants are those that are measured where the user chooses none.
func variants(leakprof string) []variant {
	all := []variant{{name: none}, {name: again}}
	for _, mode := range []string{"exact", "pages", "walk", "auto"} {
		all = append(all, variant{name: mode, attach: func(ctx context.Context, s *subject) (attached, error) {
			return startLeakprof(ctx, leakprof, mode, s)
		}})
	}
	for _, mode := range []plan.Mode{plan.Exact, plan.Pages} {
		all = append(all, variant{name: floorOf(mode.String()), attach: func(ctx context.Context, s *subject) (attached, error) {
			return placeFloor(ctx, s.bird.PID(), mode)
		}})
	}
	return all
}

// floorOf is the variant that has an empty program at a mode's sites.
func floorOf(mode string) string { return "floor of " + mode }

// floor is an empty program wherever leakprof has one.
type floor struct{ *bpf.Empty }

// placeFloor attaches as leakprof does, which decides the sites, and puts the empty
// program in the place of its own.
func placeFloor(ctx context.Context, pid int, mode plan.Mode) (attached, error) {
	p, err := profiler.Attach(ctx, profiler.Options{PID: pid, Plan: plan.Options{Mode: mode}})
	if err != nil {
		return nil, err
	}
	defer p.Close()
	if err := p.Detach(); err != nil {
		return nil, err
	}
	e, err := bpf.PlaceEmpty(pid, p.Plan.Sites, bpf.AttachBest)
	if err != nil {
		return nil, fmt.Errorf("place the floor: %w", err)
	}
	return floor{e}, nil
}

func (floor) CPU() (time.Duration, error)        { return 0, nil }
func (floor) Flooded(context.Context) error      { return nil }
func (floor) Finish(context.Context, *run) error { return nil }
