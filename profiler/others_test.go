// SPDX-License-Identifier: Apache-2.0

package profiler_test

import (
	"testing"

	"leakprof/bpf"
	"leakprof/profiler"
	"leakprof/profiler/internal/fixture"
)

// TestOthersPayNothing: of several processes of one program and one C library
// only the one that is followed gets breakpoints, and runs our programs: whether
// the others were there before the probes or came later.
func TestOthersPayNothing(t *testing.T) {
	for _, m := range modes {
		t.Run(m.name, func(t *testing.T) {
			// Not at once with others: the kernel counts runs for all.
			followed, earlier := startPlain(t), startPlain(t)
			sites, earlierSites := plannedSites(t, followed), plannedSites(t, earlier)
			prof := attach(t, followed, profiler.Options{MaxMemory: smallMemory, Attach: m.mode})
			later := startPlain(t)
			counting, err := bpf.MeasureRuntime()
			if err != nil {
				t.Fatal(err)
			}
			defer counting.Close()
			runs := func() uint64 {
				r, err := prof.Runtime()
				if err != nil {
					t.Fatal(err)
				}
				return r.Runs
			}
			before := runs()
			for _, c := range []struct {
				name  string
				other *fixture.Process
				sites []site
			}{{"earlier", earlier, earlierSites}, {"later", later, plannedSites(t, later)}} {
				for _, command := range []string{"mallocs", "reallocs", "keep 20", "free-kept 20"} {
					c.other.Do(t, command)
				}
				if n := changedSites(t, c.other, c.sites); n > 0 {
					t.Errorf("%s: %d sites of a process that is not followed hold a breakpoint", c.name, n)
				}
			}
			if n := runs() - before; n != 0 {
				t.Errorf("programs ran %d times in processes that are not followed", n)
			}
			followed.Do(t, "keep 20")
			if n := runs() - before; n < 20 {
				t.Errorf("programs ran %d times in the process that is followed", n)
			}
			if n := changedSites(t, followed, sites); n != len(sites) {
				t.Errorf("%d of %d sites of the process that is followed hold a breakpoint", n, len(sites))
			}
		})
	}
}
