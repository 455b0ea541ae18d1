// SPDX-License-Identifier: Apache-2.0

package experiment

import (
	"errors"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"leakprof/collector/session"
	"leakprof/profiler"
	"leakprof/profiler/attribution"
	"leakprof/profiler/plan"
	"leakprof/profiler/reachability"
	"leakprof/profiler/report"
	"leakprof/profiler/symbol"
	"leakprof/profiler/target"
)

// held is what a stack holds at the end of a phase: by stack key, bytes.
type held map[uint64]uint64

// firstStack is a number from which on stacks are any, and none of those that
// stand for what has no stack.
const firstStack = 100

// stacksOf keeps one Stack per key, as an attributor does.
type stacksOf map[uint64]*attribution.Stack

func (s stacksOf) heap(h held, empty uint64) *attribution.Heap {
	out := &attribution.Heap{Reach: &attribution.Reach{Looks: 2}}
	for key, bytes := range h {
		if s[key] == nil {
			s[key] = &attribution.Stack{Key: firstStack + key, Complete: true}
		}
		out.Samples = append(out.Samples, attribution.Sample{Stack: s[key], Allocator: attribution.AllocatorMB, Objects: 1, Bytes: bytes, Pool: "Root/Protocols", Empty: min(empty, bytes), Reach: reachability.Held})
	}
	return out
}

func TestVerdict(t *testing.T) {
	const mb, threshold = 1 << 20, 64 << 10
	self, err := target.Open(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	defer self.Close()
	for _, c := range []struct {
		name         string
		base         held
		settled      []held
		empty        uint64 // of every block
		notQuiet     string
		baseNotQuiet string
		health       []report.Health
		noProbes     bool
		misses       string // layer
		want         report.VerdictKind
		says         string
	}{
		{name: "healthy", base: held{1: mb}, settled: []held{{1: mb}, {1: mb}, {1: mb}}, want: report.Clean, says: "0 B retained after 3 cycles, less than the threshold of 64.0 kB, 7 routes left; not growing"},
		{name: "below the threshold", base: held{}, settled: []held{{1: 1000}, {1: 2000}, {1: 3000}}, want: report.Clean, says: "3000 B retained after 3 cycles, less than the threshold of 64.0 kB, 7 routes left; +1000 B in each of cycles 2 and 3"},
		{name: "leak", base: held{1: mb}, settled: []held{{1: mb, 2: 10 * mb}, {1: mb, 2: 20 * mb}, {1: mb, 2: 30 * mb}}, want: report.Leak, says: "+10.0 MB in each of cycles 2 and 3, 30.0 MB now, 7 routes left; 100.0 % in 1 call stack"},
		{name: "small leak among noise", base: held{1: 90 * mb, 3: 0}, settled: []held{{1: 90 * mb}, {1: 80 * mb, 3: mb}, {1: 70 * mb, 3: 2 * mb}}, want: report.Leak, says: "+1024.0 kB"},
		{name: "leak in the second of two cycles", base: held{}, settled: []held{{2: mb}, {2: 2 * mb}}, want: report.Leak, says: "leak: +1024.0 kB in cycle 2, 2048.0 kB now, 7 routes left; 100.0 % in 1 call stack, held; pool Root/Protocols"},
		{name: "grew once", base: held{}, settled: []held{{2: 5 * mb}, {2: 5 * mb}}, want: report.Held, says: "held: 5120.0 kB since the first of 2 cycles, not growing"},
		{name: "grew in one later cycle only", base: held{}, settled: []held{{2: 5 * mb}, {2: 9 * mb}, {2: 9 * mb}}, want: report.Held, says: "not growing"},
		{name: "one cycle", base: held{}, settled: []held{{2: 5 * mb}}, want: report.Held, says: "cannot show whether it grows"},
		{name: "only free room", base: held{}, settled: []held{{2: 5 * mb}, {2: 5 * mb}}, empty: 5 * mb, want: report.Clean, says: "besides 5120.0 kB of free room"},
		{name: "clean after one cycle", base: held{}, settled: []held{{2: 10}}, want: report.Clean, says: "one cycle cannot show whether it grows"},
		{name: "free room that grows", base: held{}, settled: []held{{2: 5 * mb}, {2: 10 * mb}}, empty: 10 * mb, want: report.Leak, says: "+5120.0 kB"},
		{name: "never settled", base: held{}, settled: []held{{}, {}}, notQuiet: "not at rest after 10m0s: bird uses 99 % of a cpu", want: report.Incomplete, says: "cycle 1 never settled (not at rest"},
		{name: "losses that matter", base: held{}, settled: []held{{}, {}}, health: []report.Health{{Name: "returns lost", Count: 3, Bytes: mb}}, want: report.Incomplete, says: "3 returns lost"},
		{name: "losses that matter together", base: held{}, settled: []held{{}, {}}, health: []report.Health{{Name: "returns lost", Count: 3, Bytes: 40 << 10}, {Name: "blocks not kept", Count: 2, Bytes: 40 << 10}}, want: report.Incomplete, says: "3 returns lost, 2 blocks not kept"},
		{name: "losses beside free room", base: held{}, settled: []held{{2: 5 * mb}, {2: 5 * mb}}, empty: 5 * mb, health: []report.Health{{Name: "returns lost", Count: 1, Bytes: 77}}, want: report.Clean},
		{name: "losses on top of what is held", base: held{}, settled: []held{{2: 5 * mb}, {2: 5 * mb}}, health: []report.Health{{Name: "returns lost", Count: 1, Bytes: 77}}, want: report.Held},
		{name: "losses that might make it grow", base: held{}, settled: []held{{2: 5 * mb}, {2: 5 * mb}}, health: []report.Health{{Name: "returns lost", Count: 1, Bytes: mb}}, want: report.Incomplete},
		{name: "baseline not quiet", base: held{}, baseNotQuiet: "flooding began before it was quiet", settled: []held{{}, {}}, want: report.Incomplete, says: "the baseline was not quiet"},
		{name: "a leak in spite of the baseline", base: held{}, baseNotQuiet: "x", settled: []held{{2: mb}, {2: 2 * mb}}, want: report.Leak},
		{name: "losses without a bound", base: held{}, settled: []held{{}, {}}, health: []report.Health{{Name: "events lost", Count: 1, Unbounded: true}}, want: report.Incomplete, says: "1 events lost"},
		{name: "losses too small to matter", base: held{}, settled: []held{{}, {}}, health: []report.Health{{Name: "returns lost", Count: 3, Bytes: 100}}, want: report.Clean},
		{name: "harmless losses", base: held{}, settled: []held{{}, {}}, health: []report.Health{{Name: "frees of blocks never seen", Count: 9, Unbounded: true, Harmless: true}}, want: report.Clean},
		{name: "a leak in spite of losses", base: held{}, settled: []held{{2: mb}, {2: 2 * mb}}, health: []report.Health{{Name: "returns lost", Count: 3, Bytes: mb}}, want: report.Leak},
		{name: "without pages", base: held{}, settled: []held{{}, {}}, misses: "pages", want: report.Clean, says: "not growing; of BIRD's pages, which were not followed, nothing is known"},
		{name: "no cycle", base: held{1: mb}, want: report.Incomplete, says: "no session went up and down"},
		{name: "no probes", base: held{}, settled: []held{{}}, noProbes: true, want: report.Incomplete, says: "no probes were attached"},
	} {
		t.Run(c.name, func(t *testing.T) {
			stacks := make(stacksOf)
			res := &report.Result{Health: c.health, Phases: []report.Phase{{Name: string(session.Baseline), Heap: stacks.heap(c.base, 0), Incomplete: c.baseNotQuiet, Routes: 0}}}
			for i, h := range c.settled {
				res.Phases = append(res.Phases, report.Phase{Name: string(session.Settled), Cycle: i + 1, Heap: stacks.heap(h, c.empty), Incomplete: c.notQuiet, Routes: 7})
			}
			r := &run{Config: Config{Process: self, Threshold: threshold}}
			if !c.noProbes {
				r.Profiler = new(profiler.Profiler)
			}
			if c.misses != "" {
				r.Profiler.Plan = &plan.Plan{Incomplete: []plan.Incomplete{{Layer: c.misses}}}
			}
			r.judge(res)
			if res.Verdict.Kind != c.want {
				t.Errorf("%s, want %s: %s", res.Verdict.Kind, c.want, res.Verdict.Sentence)
			}
			if !strings.HasPrefix(res.Verdict.Sentence, string(c.want)+": ") || !strings.Contains(res.Verdict.Sentence, c.says) {
				t.Errorf("sentence %q does not say %q", res.Verdict.Sentence, c.says)
			}
			for _, s := range res.Retained {
				if s.Bytes <= 0 {
					t.Errorf("retained %d bytes: only positive numbers are asked for", s.Bytes)
				}
			}
		})
	}
}

// TestVerdictByClass: what is lost is a leak, after one cycle too, and before the
// first; what may be lost is no answer.
func TestVerdictByClass(t *testing.T) {
	const mb, threshold = 1 << 20, 64 << 10
	self, err := target.Open(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	defer self.Close()
	stack := &attribution.Stack{Key: 9, Complete: true, Locations: []attribution.Location{{Module: -1, Lines: []symbol.Frame{{Function: "leaky"}}}}}
	owner := &attribution.Stack{Key: 10, Locations: []attribution.Location{{Module: -1, Lines: []symbol.Frame{{Function: "mb_alloc"}, {Function: "owner"}}}}}
	byOwner := attribution.Holder{Class: "Memory", Pool: "Root/a", Stack: owner, Objects: 3}
	type part struct {
		class reachability.Class
		bytes uint64
		by    attribution.Holder
	}
	heap := func(mark int, doubt string, parts []part) *attribution.Heap {
		h := &attribution.Heap{Reach: &attribution.Reach{Doubt: doubt}}
		for _, p := range parts {
			s := attribution.Sample{Stack: stack, Mark: mark, Allocator: attribution.AllocatorMB, Pool: "Root/p", Objects: p.bytes / 1024, Bytes: p.bytes, Reach: p.class}
			if p.class != reachability.Lost {
				s.Holders = []attribution.Holder{p.by}
			}
			h.Samples = append(h.Samples, s)
		}
		return h
	}
	why := attribution.Holder{Why: "thread 7 runs", Objects: 1}
	for _, c := range []struct {
		name    string
		base    []part
		settled [][]part
		doubt   string
		noLook  bool
		failed  error
		never   string // why no cycle settled
		want    report.VerdictKind
		says    string
	}{
		{name: "lost, though nothing settled", settled: [][]part{{{class: reachability.Lost, bytes: mb}}, {{class: reachability.Lost, bytes: 2 * mb}}}, never: "flooding began before it was quiet", want: report.Leak, says: "2048.0 kB in 2048 objects lost after 2 cycles, nothing points at them, 7 routes left; 100.0 % in 1 call stack; pool Root/p; whether it grows cannot be told: cycle 1 never settled (flooding began"},
		{name: "lost after one cycle", settled: [][]part{{{class: reachability.Lost, bytes: mb}}}, want: report.Leak, says: "leak: 1024.0 kB in 1024 objects lost after 1 cycle, nothing points at them, 7 routes left; 100.0 % in 1 call stack; pool Root/p; one cycle cannot show whether it grows"},
		{name: "lost once", settled: [][]part{{{class: reachability.Lost, bytes: mb}}, {{class: reachability.Lost, bytes: mb}}}, want: report.Leak, says: "lost after 2 cycles, nothing points at them, 7 routes left; 100.0 % in 1 call stack; pool Root/p; not growing"},
		{name: "lost and growing", settled: [][]part{{{class: reachability.Lost, bytes: mb}}, {{class: reachability.Lost, bytes: 2 * mb}}}, want: report.Leak, says: "leak: +1024.0 kB in cycle 2, 2048.0 kB now, 7 routes left; 100.0 % in 1 call stack, lost; pool Root/p"},
		{name: "lost before the first cycle", base: []part{{class: reachability.Lost, bytes: mb}}, settled: [][]part{{{class: reachability.Lost, bytes: mb}}}, want: report.Leak, says: "1024.0 kB in 1024 objects lost"},
		{name: "lost, but less than the threshold", settled: [][]part{{{class: reachability.Lost, bytes: 2048}}}, want: report.Clean, says: "; 2048 B in 2 objects lost, less than the threshold"},
		{name: "part of a growing list", settled: [][]part{{{class: reachability.Held, bytes: mb, by: byOwner}}, {{class: reachability.Held, bytes: mb, by: byOwner}, {class: reachability.Lost, bytes: mb}}}, want: report.Leak, says: "50.0 % lost, 50.0 % held"},
		{name: "held", settled: [][]part{{{class: reachability.Held, bytes: mb, by: byOwner}}}, want: report.Held, says: "in 1 call stack, held by Memory in Root/a of owner; pool Root/p"},
		{name: "not known", settled: [][]part{{{class: reachability.Unknown, bytes: mb, by: why}}}, want: report.Incomplete, says: "incomplete: 1024.0 kB may be lost or held (thread 7 runs)"},
		{name: "not known, and small", settled: [][]part{{{class: reachability.Unknown, bytes: 1024, by: why}}}, want: report.Clean},
		{name: "not known, and growing", settled: [][]part{{{class: reachability.Unknown, bytes: mb, by: why}}, {{class: reachability.Unknown, bytes: 2 * mb, by: why}}}, want: report.Leak, says: "not known whether lost or held"},
		{name: "in doubt", settled: [][]part{{{class: reachability.Unknown, bytes: mb, by: why}}}, doubt: "the snapshot is not quiet", want: report.Incomplete, says: "(the snapshot is not quiet)"},
		{name: "nobody looked", settled: [][]part{{{class: reachability.NotLive, bytes: mb}}}, noLook: true, want: report.Incomplete, says: "(pointers were not followed)"},
		{name: "the search failed", settled: [][]part{{{class: reachability.NotLive, bytes: mb}}}, noLook: true, failed: errors.New("look for pointers: it took too long"), want: report.Incomplete, says: "(look for pointers: it took too long)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			res := &report.Result{Phases: []report.Phase{{Name: string(session.Baseline), Heap: heap(0, "", c.base), Routes: 0}}}
			for i, parts := range c.settled {
				p := report.Phase{Name: string(session.Settled), Cycle: i + 1, Heap: heap(i+1, c.doubt, parts), Routes: 7, Incomplete: c.never}
				if c.noLook {
					p.Heap.Reach = nil
				}
				res.Phases = append(res.Phases, p)
			}
			r := &run{Config: Config{Process: self, Threshold: threshold, Profiler: new(profiler.Profiler)}, searchFailed: c.failed}
			r.judge(res)
			if res.Verdict.Kind != c.want || !strings.Contains(res.Verdict.Sentence, c.says) {
				t.Errorf("%q, want %s that says %q", res.Verdict.Sentence, c.want, c.says)
			}
			if before := len(c.base) > 0; before != (len(res.LostBefore) > 0) {
				t.Errorf("lost before: %+v", res.LostBefore)
			}
		})
	}
}

// objectsOf is a look: 56 bytes for each object of a stack, and noise.
func objectsOf(stacks stacksOf, objects map[uint64]uint64) *attribution.Heap {
	bytes := make(held)
	for key, n := range objects {
		bytes[key] = 56 * n
	}
	h := stacks.heap(bytes, 0)
	for i := range h.Samples {
		h.Samples[i].Objects = h.Samples[i].Bytes / 56
	}
	return h
}

// TestSmallLeak: one object of 56 bytes per cycle is a leak, whatever noise is
// around it, and noise is none.
func TestSmallLeak(t *testing.T) {
	self, err := target.Open(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	defer self.Close()
	noise := rand.New(rand.NewPCG(1, 2))
	for _, c := range []struct {
		name    string
		leak    func(cycle int) uint64 // objects
		cycles  int
		objects int64 // threshold
		want    report.VerdictKind
		says    string
	}{
		{"one object per cycle", func(n int) uint64 { return uint64(n) }, 10, 1, report.Leak, "leak: +1 object in each of cycles 2 to 10, 560 B in 10 objects now, 7 routes left; in 1 call stack, of leaky, held; pool Root/Protocols; all else is"},
		{"four per cycle", func(n int) uint64 { return uint64(4 * n) }, 10, 1, report.Leak, "leak: +4 objects in each"},
		{"as many as it takes", func(n int) uint64 { return uint64(n) }, steadyCycles + 1, 1, report.Leak, "leak: +1 object"},
		{"too few cycles to tell", func(n int) uint64 { return uint64(n) }, steadyCycles, 1, report.Clean, "1 call stack held more objects each time, which is a leak if it goes on for 8 (--cycles 9)"},
		{"below the threshold", func(n int) uint64 { return uint64(n) }, 10, 2, report.Clean, ""},
		{"switched off", func(n int) uint64 { return uint64(n) }, 10, 0, report.Clean, ""},
		{"not in every cycle", func(n int) uint64 { return uint64(min(n, 9)) }, 10, 1, report.Clean, ""},
		{"in the first only", func(int) uint64 { return 9 }, 10, 1, report.Clean, "not growing"},
		{"nothing", func(int) uint64 { return 0 }, 10, 1, report.Clean, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			const leaky, noisy = 1, 200 // stacks 2 to 201 make noise
			stacks := stacksOf{leaky: {Key: leaky, Complete: true, Locations: []attribution.Location{{Lines: []symbol.Frame{{Function: "malloc"}, {Function: "mb_alloc"}, {Function: "leaky"}}}}}}
			look := func(leak uint64) *attribution.Heap {
				all := map[uint64]uint64{leaky: leak}
				for k := range uint64(noisy) {
					all[k+2] = 1000 + noise.Uint64N(20) // megabytes in all
				}
				return objectsOf(stacks, all)
			}
			res := &report.Result{Phases: []report.Phase{{Name: string(session.Baseline), Heap: look(0), Routes: 0}}}
			for n := 1; n <= c.cycles; n++ {
				res.Phases = append(res.Phases, report.Phase{Name: string(session.Settled), Cycle: n, Heap: look(c.leak(n)), Routes: 7})
			}
			r := &run{Config: Config{Process: self, Threshold: 256 << 10, ThresholdObjects: c.objects, Profiler: new(profiler.Profiler)}}
			r.judge(res)
			if v := res.Verdict; v.Kind != c.want || !strings.Contains(v.Sentence, c.says) {
				t.Errorf("%s: %q, want %s and %q", v.Kind, v.Sentence, c.want, c.says)
			}
		})
	}
}

// TestIntervalVerdict: intervals are judged as cycles are, and one that was cut
// short is none.
func TestIntervalVerdict(t *testing.T) {
	self, err := target.Open(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	defer self.Close()
	const mb = 1 << 20
	for _, c := range []struct {
		name  string
		base  held
		looks []held // the last one is cut short
		want  report.VerdictKind
		says  string
	}{
		{"grows", nil, []held{{2: 5 * mb}, {2: 10 * mb}, {2: 15 * mb}, {2: 15 * mb}}, report.Leak, "leak: +5120.0 kB in each of intervals 2 and 3, 15.0 MB now, 7 routes; 100.0 %"},
		{"grew once", nil, []held{{2: 5 * mb}, {2: 5 * mb}, {}}, report.Held, "since the first of 2 intervals, not growing, 7 routes;"},
		{"steady", nil, []held{{}, {}, {2: mb}}, report.Clean, "after 2 intervals"},
		{"routes stored anew", held{1: 20 * mb}, []held{{1: 15 * mb, 2: 5 * mb}, {1: 10 * mb, 2: 10 * mb}, {1: 5 * mb, 2: 15 * mb}, {}}, report.Clean, "clean: 0 B retained after 3 intervals, less than the threshold of 256.0 kB, 7 routes; not growing; besides 15.0 MB in the place of what other call stacks held"},
		{"routes stored anew, and a leak", held{1: 20 * mb}, []held{{1: 15 * mb, 2: 6 * mb}, {1: 10 * mb, 2: 12 * mb}, {1: 5 * mb, 2: 18 * mb}, {}}, report.Leak, "leak: +1024.0 kB in each of intervals 2 and 3"},
		{"none complete", nil, []held{{2: mb}}, report.Incomplete, "the run ended before the first interval of 1h0m0s did; 1024.0 kB more are live"},
	} {
		t.Run(c.name, func(t *testing.T) {
			stacks := make(stacksOf)
			res := &report.Result{Phases: []report.Phase{{Name: string(session.Baseline), Heap: stacks.heap(c.base, 0), Routes: 0}}}
			for i, h := range c.looks {
				p := report.Phase{Name: string(session.Interval), Cycle: i + 1, Heap: stacks.heap(h, 0), Routes: 7}
				if i == len(c.looks)-1 {
					p.Incomplete = "the run ended within the interval"
				}
				res.Phases = append(res.Phases, p)
			}
			r := &run{Config: Config{Process: self, Threshold: 256 << 10, ThresholdObjects: 1, Profiler: new(profiler.Profiler), Session: session.Options{Interval: time.Hour}}}
			r.trend.standing = true
			r.judge(res)
			if v := res.Verdict; v.Kind != c.want || !strings.Contains(v.Sentence, c.says) {
				t.Errorf("%s: %q, want %s and %q", v.Kind, v.Sentence, c.want, c.says)
			}
		})
	}
}

// TestSmallLeakBesideMore: what is retained beside a small leak, and comes and
// goes, is not said to be below the threshold if it is not.
func TestSmallLeakBesideMore(t *testing.T) {
	self, err := target.Open(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	defer self.Close()
	stacks := make(stacksOf)
	res := &report.Result{Phases: []report.Phase{{Name: string(session.Baseline), Heap: objectsOf(stacks, nil)}}}
	for n := range uint64(10) {
		h := objectsOf(stacks, map[uint64]uint64{1: n + 1, 2: 20000 + n%2*5000})
		res.Phases = append(res.Phases, report.Phase{Name: string(session.Settled), Cycle: int(n) + 1, Heap: h})
	}
	r := &run{Config: Config{Process: self, Threshold: 256 << 10, ThresholdObjects: 1, Profiler: new(profiler.Profiler)}}
	r.judge(res)
	if v, says := res.Verdict, "all else, 1367.2 kB, did not grow in each"; v.Kind != report.Leak || !strings.Contains(v.Sentence, says) {
		t.Errorf("%q, want a leak that says %q", v.Sentence, says)
	}
}

// TestSmallLeakOfTwoPaths: a leak is one, by whichever line of its main loop BIRD
// has come to it.
func TestSmallLeakOfTwoPaths(t *testing.T) {
	self, err := target.Open(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	defer self.Close()
	stack := func(key, caller uint64) *attribution.Stack {
		s := &attribution.Stack{Key: key, Complete: true}
		for i, name := range []string{"malloc", "mb_alloc", "leaky", "a", "b", "c"} {
			s.Locations = append(s.Locations, attribution.Location{Address: 0x1000 + uint64(i), Lines: []symbol.Frame{{Function: name}}})
		}
		s.Locations = append(s.Locations, attribution.Location{Address: caller, Lines: []symbol.Frame{{Function: "io_loop"}}})
		return s
	}
	stacks := stacksOf{1: stack(firstStack+1, 0x2604), 2: stack(firstStack+2, 0x2611)}
	res := &report.Result{Phases: []report.Phase{{Name: string(session.Baseline), Heap: objectsOf(stacks, nil)}}}
	for n := uint64(1); n <= steadyCycles+1; n++ {
		h := objectsOf(stacks, map[uint64]uint64{1: n - n/3, 2: n / 3})
		res.Phases = append(res.Phases, report.Phase{Name: string(session.Settled), Cycle: int(n), Heap: h})
	}
	r := &run{Config: Config{Process: self, Threshold: 256 << 10, ThresholdObjects: 1, Profiler: new(profiler.Profiler)}}
	r.judge(res)
	if want := "leak: +1 object in each of cycles 2 to 9, 504 B in 9 objects now, 0 routes left; in 2 call stacks, of leaky"; !strings.HasPrefix(res.Verdict.Sentence, want) {
		t.Errorf("%q, want %q", res.Verdict.Sentence, want)
	}
	var objects, bytes int64
	for _, s := range res.Retained {
		objects, bytes = objects+s.EveryObjects, bytes+s.EveryBytes
	}
	if objects != 1 || bytes != 56 {
		t.Errorf("%d objects of %d bytes more in each cycle by the stacks, want 1 of 56", objects, bytes)
	}
}

// TestRoutesLeft: what was there before nobody takes down.
func TestRoutesLeft(t *testing.T) {
	for _, c := range []struct {
		base, last int64
		interval   time.Duration
		want       string
	}{
		{-1, -1, 0, ""},
		{0, 0, 0, ", 0 routes left"},
		{-1, 1, 0, ", 1 route left"},
		{1, 1, 0, ", 0 routes left beside the 1 of before"},
		{200, 203, 0, ", 3 routes left beside the 200 of before"},
		{1_160_000, 0, 0, ", 0 routes left"}, // attached to a BIRD that was full
		{1, 1, time.Hour, ", 1 route"},
	} {
		s := &sentence{r: &run{Config: Config{Session: session.Options{Interval: c.interval}}}, routes: c.last, baseRoutes: c.base}
		if got := s.routesLeft(); got != c.want {
			t.Errorf("%d after %d: %q, want %q", c.last, c.base, got, c.want)
		}
	}
}
