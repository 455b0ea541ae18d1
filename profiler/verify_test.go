// SPDX-License-Identifier: Apache-2.0

package profiler_test

import (
	"testing"

	"leakprof/bpf"
	"leakprof/profiler"
	"leakprof/profiler/plan"
)

// TestWrongSite probes functions that are not what they are taken for: what
// they return shows it, no page comes into the live set, and the probes go.
func TestWrongSite(t *testing.T) {
	for _, c := range []struct {
		function, as, layer string
	}{
		{"recurse", "alloc_page", "pages"}, // returns no address of a page
		{"recurse", "free_page", "pages"},  // is given none
	} {
		t.Run(c.as, func(t *testing.T) {
			t.Parallel()
			p := startPlain(t)
			programs := pretend(t, p, c.function, c.as)
			prof := profiler.ProfilerOf(programs, &plan.Plan{Sites: []plan.Site{{Function: "alloc_page"}, {Function: c.as}}})
			if err := prof.Verify(); err != nil || len(prof.Dropped()) != 0 {
				t.Fatalf("before any hit: dropped %v (%v)", prof.Dropped(), err)
			}
			p.Do(t, "recurse 3")
			if err := prof.Verify(); err != nil {
				t.Fatal(err)
			}
			dropped := prof.Dropped()
			if len(dropped) != 1 || dropped[0].Function != c.as || dropped[0].Layer != c.layer || dropped[0].Failed == 0 {
				t.Fatalf("dropped %v", dropped)
			}
			before, err := programs.Hits()
			if err != nil {
				t.Fatal(err)
			}
			p.Do(t, "recurse 3")
			if err := prof.Verify(); err != nil || len(prof.Dropped()) != 1 {
				t.Errorf("looked again: dropped %v (%v)", prof.Dropped(), err)
			}
			after, err := programs.Hits()
			if err != nil {
				t.Fatal(err)
			}
			if before[c.as] != after[c.as] || before[c.as] == (bpf.Hits{}) {
				t.Errorf("hits went from %v to %v after the probes were taken off", before[c.as], after[c.as])
			}
			if n := counted(t, programs)["allocated objects"]; n != 0 {
				t.Errorf("%d pages came into the live set", n)
			}
			if classes := prof.ObjectClasses(); len(classes) != 0 {
				t.Errorf("objects of %v are followed without pages", classes)
			}
		})
	}
}

func TestIsWrong(t *testing.T) {
	for _, c := range []struct {
		passed, failed uint64
		want           bool
	}{{0, 0, false}, {5, 0, false}, {0, 1, true}, {999, 1, true}, {1000, 1, false}, {100_000, 101, true}} {
		if got := profiler.IsWrong(bpf.Tests{Passed: c.passed, Failed: c.failed}); got != c.want {
			t.Errorf("%d passed, %d failed: wrong: %v, want %v", c.passed, c.failed, got, c.want)
		}
	}
}
