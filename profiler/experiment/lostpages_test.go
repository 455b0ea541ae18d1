// SPDX-License-Identifier: Apache-2.0

package experiment

import (
	"os"
	"strings"
	"testing"

	"leakprof/collector/session"
	"leakprof/profiler"
	"leakprof/profiler/footprint"
	"leakprof/profiler/report"
	"leakprof/profiler/target"
)

// TestLostPages: free pages that BIRD loses in each cycle are a leak, although
// they are no live memory; those that it lost once are none.
func TestLostPages(t *testing.T) {
	self, err := target.Open(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	defer self.Close()
	const page = 4096
	for _, c := range []struct {
		name  string
		pages []uint64 // lost at the end of each cycle
		want  report.VerdictKind
		says  string
	}{
		{"a thread's with each cycle", []uint64{8 + 127, 8 + 254, 8 + 3*127}, report.Leak, "leak: +508.0 kB of free pages that BIRD has on none of its lists in each of cycles 2 and 3, 1556.0 kB now, 0 routes left; no call stack has them"},
		{"once", []uint64{1000, 1000, 1000}, report.Clean, ""},
		{"not in every cycle", []uint64{8, 8, 1000}, report.Clean, ""},
		{"below the threshold", []uint64{8, 9, 10}, report.Clean, ""},
		{"in one cycle", []uint64{1000}, report.Clean, ""},
		{"none", []uint64{0, 0, 0}, report.Clean, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			stacks := make(stacksOf)
			res := &report.Result{Phases: []report.Phase{{Name: string(session.Baseline), Heap: stacks.heap(held{}, 0)}}}
			for i, n := range c.pages {
				books := &report.Books{Footprint: &footprint.Footprint{Parts: []footprint.Part{{Name: footprint.UnlistedPages, Bytes: n * page, Total: n * page}}}}
				res.Phases = append(res.Phases, report.Phase{Name: string(session.Settled), Cycle: i + 1, Heap: stacks.heap(held{}, 0), Books: books})
			}
			r := &run{Config: Config{Process: self, Threshold: 256 << 10, Profiler: new(profiler.Profiler)}}
			r.judge(res)
			if v := res.Verdict; v.Kind != c.want || !strings.HasPrefix(v.Sentence, c.says) {
				t.Errorf("%s: %q, want %s and %q", v.Kind, v.Sentence, c.want, c.says)
			}
		})
	}
}
