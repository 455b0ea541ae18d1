// SPDX-License-Identifier: Apache-2.0

package profiler_test

import (
	"math"
	"os"
	"slices"
	"strings"
	"sync"
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
	all := birds(t)[:2]
	if torture() {
		all = birds(t)
	}
	var every tally
	t.Cleanup(func() {
		// Blocks, objects of slabs, linpools, pages, and a function as a whole.
		for _, kind := range append(cut.Releases, "entry") {
			if kind != "rfree" && every.complete() && !every.has(kind) {
				t.Errorf("no cut of %s made a BIRD leak", kind)
			}
		}
	})
	for _, binary := range all {
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
			var here tally
			t.Cleanup(func() {
				want := 3
				if torture() {
					want = 6
				}
				if n := len(here.leaks); n < want && here.complete() {
					t.Errorf("%d cuts made BIRD leak, want %d", n, want)
				}
			})
			if torture() || binary.name == "bird2-sid" {
				t.Run("small", func(t *testing.T) {
					t.Parallel()
					testSmallLeak(t, binary, sites, twin.perCycle)
				})
			}
			for i, site := range sites {
				if n := twin.perCycle[i]; n > 0 && (torture() || chosen(sites, twin.perCycle, i)) {
					here.pick()
					every.pick()
					t.Run(site.String(), func(t *testing.T) {
						t.Parallel()
						leaks := testCut(t, binary, site, n)
						here.try(site, leaks)
						every.try(site, leaks)
					})
				}
			}
		})
	}
}

// tally counts cuts.
type tally struct {
	mu            sync.Mutex
	picked, tried int
	leaks         []cut.Site
}

func (y *tally) pick() {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.picked++
}

func (y *tally) try(s cut.Site, leaks bool) {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.tried++
	if leaks {
		y.leaks = append(y.leaks, s)
	}
}

// complete says whether all that were picked were tried: not some alone, asked
// for by -run.
func (y *tally) complete() bool { return y.tried == y.picked }

// has says whether a cut of a release, or of an "entry", made BIRD leak.
func (y *tally) has(kind string) bool {
	return slices.ContainsFunc(y.leaks, func(s cut.Site) bool { return s.Release == kind || kind == "entry" && s.Entry })
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
// the one that is made most often, and for many things; and one function as a
// whole.
func chosen(sites []cut.Site, perCycle []uint64, i int) bool {
	const many = 100
	if sites[i].Entry && sites[i].Release != "sl_free" {
		return false
	}
	for k := range sites {
		if sites[k].Release == sites[i].Release && sites[k].Entry == sites[i].Entry && (perCycle[k] > perCycle[i] || perCycle[k] == perCycle[i] && k < i) {
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
		if !torture() {
			t.Errorf("nothing was withheld")
		}
		return false // it is not always made
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
		if v.Kind != report.Clean && v.LostBytes < cutThreshold {
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
	if !site.Entry && !slices.Contains(w.pools, top.Pool) {
		t.Errorf("the most is in pool %q, what was withheld in %q", top.Pool, w.pools)
	}
	if site.Release == "lp_flush" {
		// What was withheld is the linpool, which is in use; who filled it is another
		// matter.
		if top.Reach() != reachability.Held {
			t.Errorf("the most is %v, want held: the linpool is", top.Reach())
		}
		return true
	}
	if top.Reach() != reachability.Lost {
		t.Errorf("the most is %v, want lost", top.Reach())
	}
	// Old addresses hold some, and those that these are linked to.
	if 2*w.classes[reachability.Lost] < w.live {
		t.Errorf("of what was withheld last, %d of %d are lost", w.classes[reachability.Lost], w.live)
	}
	// Of much that was withheld only the last is known.
	if !site.Entry && len(w.stacks) == 1 && w.stacks[top.Stack.Key] == 0 {
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
		t.Logf("%d bytes, %d objects, %s, %s in %q, lost %d, held %d: %s", r.Bytes, r.Objects, r.Allocator, r.Class, r.Pool, r.Lost, r.Held, strings.Join(frames[:min(8, len(frames))], " < "))
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
	if slots := s.Slots.Of(b.Address); b.IsPage() && slots.Size != 0 && address != b.Address {
		stack, _ := slots.At(address - b.Address)
		return stack, uint64(slots.Size), stack != bpf.StackNone
	}
	return b.Stack, b.Size, true
}
