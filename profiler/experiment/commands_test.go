// SPDX-License-Identifier: Apache-2.0

package experiment

import (
	"os"
	"strings"
	"testing"

	"leakprof/collector/session"
	"leakprof/profiler"
	"leakprof/profiler/attribution"
	"leakprof/profiler/report"
	"leakprof/profiler/target"
)

// TestOwnGrowth: what grows by one object for each of our commands is no leak of
// the sessions, and whatever else grows is.
func TestOwnGrowth(t *testing.T) {
	self, err := target.Open(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	defer self.Close()
	varied := func(n int) uint64 { return uint64(10*n + n%2) }
	for _, c := range []struct {
		name     string
		commands func(cycle int) uint64 // so far
		objects  func(cycle int) uint64
		want     report.VerdictKind
		noted    bool
	}{
		{"one for each command", varied, func(n int) uint64 { return 7 + varied(n) }, report.Clean, true},
		{"as many, and all cycles the same", func(n int) uint64 { return uint64(10 * n) }, func(n int) uint64 { return uint64(10 * n) }, report.Leak, false},
		{"one more, once", varied, func(n int) uint64 { return varied(n) + uint64(n/10) }, report.Leak, false},
		{"two for each command", varied, func(n int) uint64 { return 2 * varied(n) }, report.Leak, false},
		{"no commands", func(int) uint64 { return 0 }, func(n int) uint64 { return uint64(n) }, report.Leak, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			stacks := make(stacksOf)
			res := &report.Result{Phases: []report.Phase{{Name: string(session.Baseline), Heap: stacks.heap(held{}, 0)}}}
			for n := 1; n <= steadyCycles+2; n++ {
				h := objectsOf(stacks, map[uint64]uint64{1: c.objects(n)})
				res.Phases = append(res.Phases, report.Phase{Name: string(session.Settled), Cycle: n, Heap: h, Commands: c.commands(n)})
			}
			r := &run{Config: Config{Process: self, Profiler: new(profiler.Profiler), Threshold: 1 << 20, ThresholdObjects: 1}}
			r.judge(res)
			if res.Verdict.Kind != c.want {
				t.Errorf("%s, want %s: %s", res.Verdict.Kind, c.want, res.Verdict.Sentence)
			}
			if noted := len(res.Health) > 0 && strings.Contains(res.Health[0].Name, "leakprof's own commands"); noted != c.noted {
				t.Errorf("noted: %v, want %v: %+v", noted, c.noted, res.Health)
			}
			if retained := len(res.Retained) > 0; retained == c.noted {
				t.Errorf("retained: %v, want %v", res.Retained, !c.noted)
			}
		})
	}
}

// TestOwnBytes: neither the growth in bytes nor what is lost has our own in it.
func TestOwnBytes(t *testing.T) {
	stacks := make(stacksOf)
	var c trend
	base := objectsOf(stacks, map[uint64]uint64{1: 0, 2: 0})
	for n := range 4 {
		sent := uint64(100*n + n%2)
		c.take(base, &report.Phase{Cycle: n + 1, Commands: sent, Heap: objectsOf(stacks, map[uint64]uint64{1: sent, 2: uint64(n)})}, 1)
	}
	if own := c.own.sites(); len(own) != 1 || !own[site{firstStack + 1, attribution.AllocatorMB}] {
		t.Fatalf("%v is our own, want stack 1", own)
	}
	if n := c.growth(); n != 56 {
		t.Errorf("%d bytes per cycle, want the 56 of stack 2", n)
	}
}
