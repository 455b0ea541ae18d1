// SPDX-License-Identifier: Apache-2.0

package profiler_test

import (
	"math"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"leakprof/bpf"
	"leakprof/collector/session"
	"leakprof/profiler/attribution"
	"leakprof/profiler/internal/cut"
	"leakprof/profiler/live"
	"leakprof/profiler/reachability"
	"leakprof/profiler/report"
	"leakprof/profiler/target"
)

// TestCuts has leakprof find leaks that were made on purpose: in each BIRD, one
// call that releases memory is cut at a time. Which calls there are to cut, the
// untouched twin tells, for those of every session count.
func TestCuts(t *testing.T) {
	for _, binary := range birds(t)[:2] {
		t.Run(binary.name, func(t *testing.T) {
			t.Parallel()
			sites := findSites(t, binary)
			twin, err := runCut(t, binary, nil, sites)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("untouched: %s", twin.result.Verdict.Sentence)
			if twin.result.Verdict.Kind != report.Clean {
				logRetained(t, twin)
				t.Errorf("verdict %s of an untouched BIRD, want clean", twin.result.Verdict.Kind)
			}
			var picked int
			var tried, leaks atomic.Int64
			t.Cleanup(func() {
				want := int64(3)
				if torture() {
					want = 6
				}
				// Of some alone, asked for by -run, nothing is said.
				if n := leaks.Load(); n < want && int(tried.Load()) == picked {
					t.Errorf("%d cuts made BIRD leak, want %d", n, want)
				}
			})
			for i, site := range sites {
				if n := twin.perCycle[i]; n > 0 && (torture() || chosen(sites, twin.perCycle, i)) {
					picked++
					t.Run(site.String(), func(t *testing.T) {
						t.Parallel()
						tried.Add(1)
						if testCut(t, binary, site, n) {
							leaks.Add(1)
						}
					})
				}
			}
		})
	}
}

func torture() bool { return os.Getenv(tortureVariable) != "" }

func findSites(t *testing.T, binary labBinary) []cut.Site {
	t.Helper()
	m, err := target.OpenModule(binary.Path)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	sites, err := cut.Find(m)
	if err != nil {
		t.Fatal(err)
	}
	return sites
}

// chosen says whether site i is one for every day: of the calls of its function
// the one that is made most often, and for many things.
func chosen(sites []cut.Site, perCycle []uint64, i int) bool {
	const many = 100
	for k := range sites {
		if sites[k].Release == sites[i].Release && (perCycle[k] > perCycle[i] || perCycle[k] == perCycle[i] && k < i) {
			return false
		}
	}
	return perCycle[i] >= many
}

// releasedAs is of what allocators the memory of a release can be.
var releasedAs = map[string][]string{
	"mb_free":   {attribution.AllocatorMB},
	"sl_free":   {attribution.AllocatorSlab},
	"lp_flush":  {attribution.AllocatorLinpool},
	"free_page": {attribution.AllocatorPage, attribution.AllocatorSlab, attribution.AllocatorLinpool},
}

// testCut cuts a call that an untouched BIRD makes so often per cycle, and says
// whether it is one that makes it leak.
func testCut(t *testing.T, binary labBinary, site cut.Site, perCycle uint64) (leaks bool) {
	t.Helper()
	run, err := runCut(t, binary, &site, nil)
	if err != nil {
		if torture() {
			t.Logf("%d per cycle: BIRD does not live without it: %v", perCycle, err)
			return false
		}
		t.Fatal(err)
	}
	w := withheldMemory(run)
	v := run.result.Verdict
	t.Logf("%d per cycle, %d withheld since the baseline; of the last %d, %d are live, %d bytes each, of %d stacks, %v", perCycle, run.count, len(run.withheld), w.live, w.size, len(w.stacks), w.classes)
	t.Logf("BIRD's own total grows by %.0f per cycle. %s", grew(run.result), v.Sentence)
	logRetained(t, run)
	if run.count == 0 {
		t.Errorf("nothing was withheld")
	}
	// BIRD's own books tell how much it is, but for pages, which are in none of
	// them any more.
	grows := grew(run.result)
	if site.Release == "free_page" {
		grows = float64(w.size * perCycle)
	}
	switch {
	case grows < cutThreshold/2:
		// What is withheld goes with its pool, or is little, or is released
		// elsewhere, too, as a linpool that is flushed twice.
		if v.Kind != report.Clean {
			t.Errorf("verdict %s, want clean", v.Kind)
		}
		return false
	case grows < 2*cutThreshold:
		return false // so near to the threshold it may be either
	case v.Kind != report.Leak:
		t.Fatalf("verdict %s, want leak", v.Kind)
	}
	top := run.result.Retained[0]
	if want := releasedAs[site.Release]; want != nil && !slices.Contains(want, top.Allocator) {
		t.Errorf("the most is of allocator %q, want %q", top.Allocator, want)
	}
	if !slices.Contains(w.pools, top.Pool) {
		t.Errorf("the most is in pool %q, what was withheld in %q", top.Pool, w.pools)
	}
	if site.Release == "lp_flush" {
		return true // what was withheld is the linpool; who filled it is another matter
	}
	// Of much that was withheld only the last is known.
	if len(w.stacks) == 1 && w.stacks[top.Stack.Key] == 0 {
		t.Errorf("the most is of a stack that allocated nothing of what was withheld")
	}
	named := 0
	for _, r := range run.result.Retained {
		named += w.stacks[r.Stack.Key]
	}
	if 10*named < 9*w.live {
		t.Errorf("of what was withheld last, the retained stacks name %d of %d", named, w.live)
	}
	return true
}

// grew is how much more memory BIRD had by its own account after each cycle
// than after the one before, at least, without the first, bytes.
func grew(r *report.Result) float64 {
	least, last := math.Inf(1), math.NaN()
	for _, p := range r.Phases {
		if p.Name != string(session.Settled) {
			continue
		}
		for _, l := range p.ShowMemory {
			if l.Name == "Total" {
				if !math.IsNaN(last) {
					least = min(least, l.Effective-last)
				}
				last = l.Effective
			}
		}
	}
	return least
}

// withheld is what is known of the last things that a cut withheld.
type withheld struct {
	live    int
	size    uint64         // bytes, on average
	stacks  map[uint64]int // how many by stack
	pools   []string
	classes map[reachability.Class]int
}

func withheldMemory(run *cutRun) withheld {
	w := withheld{stacks: make(map[uint64]int), classes: make(map[reachability.Class]int)}
	for _, address := range run.withheld {
		stack, size, ok := allocationOf(run.end.Live, address)
		if !ok {
			continue
		}
		w.live++
		w.size += size
		w.stacks[uint64(stack)]++
		pool, _, _ := run.end.Tree.PoolOf(address)
		if !slices.Contains(w.pools, pool) {
			w.pools = append(w.pools, pool)
		}
		c, _ := run.reach.Of(address)
		w.classes[c]++
	}
	if w.live > 0 {
		w.size /= uint64(w.live)
	}
	return w
}

func logRetained(t *testing.T, run *cutRun) {
	t.Helper()
	for _, c := range run.result.Cycles {
		t.Logf("cycle %d: %+d bytes, %+d objects", c.Number, c.Bytes, c.Objects)
	}
	for _, r := range run.result.Retained[:min(3, len(run.result.Retained))] {
		var frames []string
		for _, f := range r.Stack.Frames() {
			frames = append(frames, f.Function)
		}
		t.Logf("%d bytes, %d objects, %s, class %q, pool %q: %s", r.Bytes, r.Objects, r.Allocator, r.Class, r.Pool, strings.Join(frames[:min(8, len(frames))], " < "))
	}
}

// allocationOf returns the number of the stack that allocated what is at an
// address, and its size in bytes.
func allocationOf(s *live.Snapshot, address uint64) (stack uint32, size uint64, ok bool) {
	i, found := slices.BinarySearchFunc(s.Blocks, address, func(b live.Block, a uint64) int {
		switch {
		case b.Address+max(b.Size, 1) <= a:
			return -1
		case b.Address > a:
			return 1
		}
		return 0
	})
	if !found {
		return 0, 0, false
	}
	b := &s.Blocks[i]
	if slots, ok := s.Slots[b.Address]; b.IsPage() && ok && address != b.Address {
		stack, _ := slots.At(address - b.Address)
		return stack, uint64(slots.Size), stack != bpf.StackNone
	}
	return b.Stack, b.Size, true
}
