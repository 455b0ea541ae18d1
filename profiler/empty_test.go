// SPDX-License-Identifier: Apache-2.0

package profiler_test

import (
	"testing"

	"leakprof/bpf"
	"leakprof/profiler"
)

// TestEmpty: the empty program runs as often as ours do for the same work, and the
// process goes on when it is gone.
func TestEmpty(t *testing.T) {
	for _, m := range modes {
		t.Run(m.name, func(t *testing.T) {
			p := startPlain(t)
			prof := attach(t, p, profiler.Options{MaxMemory: smallMemory, Attach: m.mode})
			const work = "pairs 100"
			p.Do(t, work)
			before := hitsOf(t, prof)
			p.Do(t, work)
			ours := hitsOf(t, prof) - before
			if err := prof.Detach(); err != nil {
				t.Fatal(err)
			}
			empty, err := bpf.PlaceEmpty(p.PID, prof.Plan.Sites, m.mode)
			if err != nil {
				t.Fatal(err)
			}
			measuring, err := bpf.MeasureRuntime()
			if err != nil {
				t.Fatal(err)
			}
			defer measuring.Close()
			p.Do(t, work)
			runs, err := empty.Runs()
			if err != nil || runs != ours || ours < 200 {
				t.Errorf("it ran %d times (%v), ours %d", runs, err, ours)
			}
			if err := empty.Close(); err != nil {
				t.Fatal(err)
			}
			p.Do(t, work) // as if nothing had been there
		})
	}
}

// hitsOf is how often programs ran at entries and returns.
func hitsOf(t *testing.T, prof *profiler.Profiler) (sum uint64) {
	t.Helper()
	hits, err := prof.Hits()
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range hits {
		sum += h.Entered + h.Returned
	}
	return sum
}
