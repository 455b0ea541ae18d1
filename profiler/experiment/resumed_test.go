// SPDX-License-Identifier: Apache-2.0

package experiment

import (
	"os"
	"strings"
	"testing"

	"leakprof/collector/session"
	"leakprof/profiler"
	"leakprof/profiler/report"
	"leakprof/profiler/target"
)

// TestVerdictOfAStall: what BIRD keeps for a station that does not read is held,
// cycle by cycle or all in all, and what is left once it reads again is judged
// for growth.
func TestVerdictOfAStall(t *testing.T) {
	const mb, threshold = 1 << 20, 64 << 10
	self, err := target.Open(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	defer self.Close()
	for _, c := range []struct {
		name             string
		settled, resumed []held // of each cycle; resumed is nil where it went on to stall
		empty            uint64 // of every block, once it reads again
		notQuiet         string // of the looks once it reads again
		want             report.VerdictKind
		says             string
		cycles           []int64 // bytes
	}{
		{name: "each cycle", settled: []held{{2: 12 * mb}, {2: 18 * mb}}, resumed: []held{{}, {2: 1000}}, want: report.Held,
			says: "held: 18.0 MB while the station did not read, 1000 B once it read again, 0 routes left; 100.0 % in 1 call stack, held; pool Root/Protocols", cycles: []int64{0, 1000}},
		{name: "all cycles", settled: []held{{2: 10 * mb}, {2: 20 * mb}, {2: 30 * mb}}, resumed: []held{nil, nil, {3: 5}}, want: report.Held,
			says: "held: 30.0 MB while the station did not read, 5 B once it read again", cycles: []int64{10 * mb, 10 * mb, 5 - 20*mb}},
		{name: "a leak behind it", settled: []held{{2: 10 * mb}, {2: 10 * mb}, {2: 10 * mb}}, resumed: []held{{3: mb}, {3: 2 * mb}, {3: 3 * mb}}, want: report.Leak,
			says: "leak: +1024.0 kB in each of cycles 2 and 3", cycles: []int64{mb, mb, mb}},
		{name: "free room is left", settled: []held{{2: 10 * mb}}, resumed: []held{{3: mb}}, empty: mb, want: report.Held,
			says: "held: 10.0 MB while the station did not read, 0 B once it read again, 0 routes left; 100.0 % in 1 call stack, held; pool Root/Protocols; besides 1024.0 kB of free room", cycles: []int64{mb}},
		{name: "nothing to queue", settled: []held{{}, {}}, resumed: []held{{}, {}}, want: report.Clean, cycles: []int64{0, 0}},
		{name: "it never drains", settled: []held{{2: 10 * mb}}, resumed: []held{{2: 9 * mb}}, notQuiet: "not at rest after 10m0s: live memory still shrinks", want: report.Incomplete,
			says: "cycle 1 never settled once the station read again (not at rest", cycles: []int64{9 * mb}},
	} {
		t.Run(c.name, func(t *testing.T) {
			stacks := make(stacksOf)
			res := &report.Result{Phases: []report.Phase{{Name: string(session.Baseline), Heap: stacks.heap(held{}, 0)}}}
			for i, h := range c.settled {
				res.Phases = append(res.Phases, report.Phase{Name: string(session.Settled), Cycle: i + 1, Heap: stacks.heap(h, 0)})
				if c.resumed[i] != nil {
					res.Phases = append(res.Phases, report.Phase{Name: string(session.Resumed), Cycle: i + 1, Heap: stacks.heap(c.resumed[i], c.empty), Incomplete: c.notQuiet})
				}
			}
			r := &run{Config: Config{Process: self, Profiler: new(profiler.Profiler), Threshold: threshold}}
			r.judge(res)
			if res.Verdict.Kind != c.want || !strings.Contains(res.Verdict.Sentence, c.says) {
				t.Errorf("%s: %q, want %s: %q", res.Verdict.Kind, res.Verdict.Sentence, c.want, c.says)
			}
			for i, cycle := range res.Cycles {
				if cycle.Bytes != c.cycles[i] {
					t.Errorf("cycle %d: %+d bytes, want %+d", cycle.Number, cycle.Bytes, c.cycles[i])
				}
			}
		})
	}
}
