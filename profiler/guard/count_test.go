// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"leakprof/bpf"
	"leakprof/profiler/internal/fixture"
	"leakprof/profiler/plan"
	"leakprof/profiler/target"
)

func TestMain(m *testing.M) { os.Exit(fixture.Run(m)) }

// planned starts a program that allocates as it is told, and plans its probes.
func planned(t *testing.T) (*fixture.Process, *target.Process, *plan.Plan) {
	t.Helper()
	f := fixture.Start(t, fixture.Build(t, "gcc", "-O2"))
	p, err := target.Open(f.PID)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	modules, err := p.Modules()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, m := range modules {
			m.Close()
		}
	})
	pl, err := plan.New(p, modules, plan.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return f, p, pl
}

// TestHitCounter: each site is counted while it is on, and costs nothing while
// it is off.
func TestHitCounter(t *testing.T) {
	for name, mode := range map[string]bpf.AttachMode{"uprobe_multi": bpf.AttachMulti, "perf events": bpf.AttachPerf} {
		t.Run(name, func(t *testing.T) {
			f, p, pl := planned(t)
			c, err := bpf.NewHitCounter(p.PID, pl.Sites, mode)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			const pairs, others = 1000, 20 // the program speaks to us, too
			counted := uint64(0)
			for _, on := range []bool{true, false, true} {
				if on {
					counted += pairs
					if err := c.On(); err != nil {
						t.Fatal(err)
					}
				}
				f.Do(t, fmt.Sprintf("pairs %d", pairs))
				if err := c.Off(); err != nil {
					t.Fatal(err)
				}
				hits, err := c.Hits()
				if err != nil {
					t.Fatal(err)
				}
				for i, s := range pl.Sites {
					least := uint64(0)
					if s.Function == "malloc" || s.Function == "free" {
						least = counted
					}
					if hits[i] < least || hits[i] > least+others {
						t.Errorf("on %v: %s: %d hits, want %d", on, s.Function, hits[i], least)
					}
				}
			}
		})
	}
}

// TestCount: counting ends in time, and is cut where it would cost too much.
func TestCount(t *testing.T) {
	f, p, pl := planned(t)
	e, err := Count(t.Context(), p, pl, 100*time.Millisecond, 0, bpf.AttachBest)
	if err != nil {
		t.Fatal(err)
	}
	if m := e.Modes[0]; m.Extra > 0.01 || e.BIRD > 0.5 {
		t.Errorf("at rest: %v", e)
	}
	f.Do(t, "start-loop 1")
	const most = 500 * time.Millisecond
	if e, err = Count(t.Context(), p, pl, most, 0.01, bpf.AttachBest); err != nil {
		t.Fatal(err)
	}
	if m := e.Modes[0]; m.HitsPerSecond < 1000 || m.Extra <= 0 || e.BIRD <= 0 || e.Took < most {
		t.Errorf("in a loop: %+v", e)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Count(ctx, p, pl, time.Hour, 0, bpf.AttachBest); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	f.Kill()
	if _, err := Count(t.Context(), p, pl, time.Second, 0, bpf.AttachBest); err == nil {
		t.Error("a process that has ended was counted")
	}
}
