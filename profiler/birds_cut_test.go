// SPDX-License-Identifier: Apache-2.0

package profiler_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"leakprof/bpf"
	"leakprof/collector/birdc"
	"leakprof/collector/bmp"
	"leakprof/collector/lab"
	"leakprof/collector/session"
	"leakprof/profiler"
	"leakprof/profiler/attribution"
	"leakprof/profiler/experiment"
	"leakprof/profiler/internal/cut"
	"leakprof/profiler/live"
	"leakprof/profiler/reachability"
	"leakprof/profiler/report"
	quiet "leakprof/profiler/snapshot"
	"leakprof/profiler/target"
)

const (
	cutPeers  = 2
	cutRoutes = 1500 // per peer
	cutSets   = 150  // of path attributes, per peer
	cutCycles = 3
	// cutThreshold is below what the growth of a healthy BIRD stays, and above
	// which that of a cut one comes.
	cutThreshold = 16 << 10
	cutSettle    = 300 * time.Millisecond
)

// cutRun is one experiment with a BIRD, cut or not.
type cutRun struct {
	result *report.Result
	end    *quiet.Snapshot
	// perCycle is how often each of sites was passed in each cycle after the first,
	// at least.
	perCycle []uint64
	reach    *reachability.Result
	// Of the cut: how often it was passed since the baseline, and what it withheld
	// last.
	count    uint64
	withheld []uint64
}

// counting drives speakers, and reads the counter, if any, before each cycle.
type counting struct {
	*lab.Speakers
	counter *cut.Counter
	counts  [][]uint64
}

// warmUp has BIRD take in all routes once, and lose them again.
func warmUp(ctx context.Context, s *lab.Speakers, control *birdc.Conn) error {
	for _, phase := range []struct {
		do   func(context.Context) error
		want uint64
	}{{s.Up, uint64(s.Routes())}, {s.Down, 0}} {
		if err := phase.do(ctx); err != nil {
			return err
		}
		for deadline := time.Now().Add(birdPatience); ; time.Sleep(50 * time.Millisecond) {
			counts, err := control.ShowRouteCount(ctx, "table all")
			if err != nil {
				return err
			}
			var sum uint64
			for _, c := range counts {
				sum += c.Total
			}
			if sum == phase.want {
				break
			}
			if time.Now().After(deadline) {
				return fmt.Errorf("warm up: %d routes after %v, want %d", sum, birdPatience, phase.want)
			}
		}
	}
	return nil
}

func (c *counting) Up(ctx context.Context) error {
	if c.counter != nil {
		n, err := c.counter.Read()
		if err != nil {
			return err
		}
		c.counts = append(c.counts, n)
	}
	return c.Speakers.Up(ctx)
}

// cutLab is a BIRD that is followed from its start.
type cutLab struct {
	*lab.Bird
	prof     *profiler.Profiler
	cut      *cut.Cut // nil: it is as it was built
	station  *bmp.Station
	control  *birdc.Conn
	speakers *lab.Speakers
}

// startCut starts a BIRD and makes the cut in it unless that is nil. An error
// says that BIRD does not live; end is to be called in any case.
func startCut(t *testing.T, binary labBinary, site *cut.Site, flood lab.Flood) (l *cutLab, end func(), err error) {
	t.Helper()
	ctx := t.Context()
	l = &cutLab{}
	var ends []func()
	end = func() {
		for _, f := range slices.Backward(ends) {
			f()
		}
	}
	// Little room before the router has to queue.
	if l.station, err = bmp.Listen(ctx, bmp.Options{Addr: netip.MustParseAddrPort("127.0.0.1:0"), ReceiveBuffer: 4096}); err != nil {
		t.Fatal(err)
	}
	ends = append(ends, func() { l.station.Close() })
	go func() {
		for range l.station.Events() {
		}
	}()
	if l.Bird, err = lab.Start(ctx, lab.Config{Binary: binary.Binary, Peers: cutPeers, PausedAtEntry: true, Station: l.station.Addr()}); err != nil {
		t.Fatal(err)
	}
	ends = append(ends, func() { l.Stop(context.WithoutCancel(ctx)) })
	if l.prof, err = profiler.Attach(ctx, profiler.Options{PID: l.PID(), FromStart: true}); err != nil {
		t.Fatal(err)
	}
	ends = append(ends, func() { l.prof.Close() })
	if site != nil {
		if l.cut, err = cut.Apply(l.prof.Process, l.prof.Modules()[0], *site, l.prof.Plan.Sites); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Resume(); err != nil {
		t.Fatal(err)
	}
	if err := l.Ready(ctx); err != nil {
		return l, end, err
	}
	if l.control, err = birdc.Dial(ctx, l.Control()); err != nil {
		return l, end, err
	}
	ends = append(ends, func() { l.control.Close() })
	if l.speakers, err = lab.NewSpeakers(l.BGPAddr(), cutPeers, flood); err != nil {
		t.Fatal(err)
	}
	// What a BIRD keeps of its first sessions for the next ones is no growth of
	// each: it is there when the experiment begins.
	return l, end, warmUp(ctx, l.speakers, l.control)
}

// experiment runs one; an error says that BIRD has ended.
func (l *cutLab) experiment(ctx context.Context, driver experiment.Driver, cycles int) (*report.Result, error) {
	r, err := experiment.Run(ctx, experiment.Config{
		Process: l.prof.Process, Profiler: l.prof, Station: l.station, Control: l.control, Driver: driver,
		Session: session.Options{Settle: cutSettle, Limit: time.Minute}, Cycles: cycles, Threshold: cutThreshold,
	})
	return r, errors.Join(err, l.Err())
}

// runCut runs an experiment with a BIRD, in which the cut is made unless it is
// nil. Calls of sites are counted if there are any.
func runCut(t *testing.T, binary labBinary, site *cut.Site, sites []cut.Site) (*cutRun, error) {
	t.Helper()
	ctx := t.Context()
	l, end, err := startCut(t, binary, site, lab.Flood{Routes: cutRoutes, AttributeSets: cutSets})
	defer end()
	if err != nil {
		return nil, err
	}
	driver := &counting{Speakers: l.speakers}
	if len(sites) > 0 {
		if driver.counter, err = cut.Count(l.PID(), l.prof.Modules()[0], sites); err != nil {
			t.Fatal(err)
		}
		defer driver.counter.Close()
	}
	var before uint64
	if l.cut != nil {
		if before, _, err = l.cut.Withheld(); err != nil {
			t.Fatal(err)
		}
	}
	run := &cutRun{}
	if run.result, err = l.experiment(ctx, driver, cutCycles); err != nil {
		return nil, err
	}
	if run.end, err = l.prof.Look(ctx, quiet.Options{}); err != nil {
		return nil, err
	}
	if run.reach, err = reachability.Classify(l.prof.Process, l.prof.BIRD, run.end, reachability.Options{}); err != nil {
		return nil, err
	}
	if l.cut != nil {
		if err := l.cut.Holds(); err != nil {
			t.Fatal(err)
		}
		if run.count, run.withheld, err = l.cut.Withheld(); err != nil {
			t.Fatal(err)
		}
		run.count -= before
	}
	if driver.counter != nil {
		if run.perCycle, err = driver.perCycle(); err != nil {
			t.Fatal(err)
		}
	}
	return run, nil
}

// perCycle returns how often each site was passed in each cycle after the first,
// at least.
func (c *counting) perCycle() ([]uint64, error) {
	last, err := c.counter.Read()
	if err != nil {
		return nil, err
	}
	least := slices.Repeat([]uint64{math.MaxUint64}, len(last))
	for _, before := range slices.Backward(c.counts[1:]) {
		for i := range last {
			least[i] = min(least[i], last[i]-before[i])
		}
		last = before
	}
	return least, nil
}

// stalling drives speakers whose routes the station does not want to hear of.
type stalling struct {
	*lab.Speakers
	station *bmp.Station
}

func (s *stalling) Up(ctx context.Context) error {
	s.station.Stall()
	return s.Speakers.Up(ctx)
}

// TestStall: what a station does not read stays in BIRD, held, until it reads.
func TestStall(t *testing.T) {
	t.Parallel()
	binary := birds(t)[1] // its queue is of pages
	l, end, err := startCut(t, binary, nil, lab.Flood{Routes: 20_000})
	defer end()
	if err != nil {
		t.Fatal(err)
	}
	result, err := l.experiment(t.Context(), &stalling{l.speakers, l.station}, 1)
	if err != nil {
		t.Fatal(err)
	}
	run := &cutRun{result: result}
	logRetained(t, run)
	t.Log(result.Verdict.Sentence)
	if result.Verdict.Kind != report.Held {
		t.Errorf("verdict %s, want held", result.Verdict.Kind)
	}
	if top := result.Retained[0]; top.Allocator != attribution.AllocatorPage || top.Class != sendQueue {
		t.Errorf("the most is %s, class %q, want pages of %q", top.Allocator, top.Class, sendQueue)
	}
	snapshot, err := l.prof.Look(t.Context(), quiet.Options{})
	if err != nil {
		t.Fatal(err)
	}
	reach, err := reachability.Classify(l.prof.Process, l.prof.BIRD, snapshot, reachability.Options{})
	if err != nil {
		t.Fatal(err)
	}
	queued := 0
	for p := range snapshot.Tree.Pages() {
		if p.Class != sendQueue {
			continue
		}
		queued++
		if c, by := reach.Of(p.Address); c != reachability.Held {
			t.Errorf("a page of the queue is %v: %s", c, by.Why)
		} else if queued == 1 {
			t.Logf("the queue is held by %s", by)
		}
	}
	if queued == 0 {
		t.Error("nothing is in the queue")
	}

	l.station.Resume()
	for deadline := time.Now().Add(birdPatience); queued > 0; {
		if snapshot, err = l.prof.Look(t.Context(), quiet.Options{}); err != nil {
			t.Fatal(err)
		}
		queued = 0
		for p := range snapshot.Tree.Pages() {
			if p.Class == sendQueue {
				queued++
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d pages are in the queue %v after the station reads again", queued, birdPatience)
		}
	}
	if result, err = l.experiment(t.Context(), l.speakers, 1); err != nil {
		t.Fatal(err)
	}
	if result.Verdict.Kind != report.Clean {
		t.Errorf("verdict %s, want clean: the station reads", result.Verdict.Kind)
	}
}

// TestCuts has leakprof find leaks that were made on purpose: in each BIRD, one
// call that releases memory is cut at a time. Which calls there are to cut, the
// untouched twin tells, for those of every session count.
func TestCuts(t *testing.T) {
	var leaks atomic.Int64
	t.Cleanup(func() {
		want := int64(6)
		if torture() {
			want = 12
		}
		if n := leaks.Load(); n < want && !t.Failed() {
			t.Errorf("%d cuts made BIRDs leak, want %d", n, want)
		}
	})
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
			for i, site := range sites {
				if n := twin.perCycle[i]; n > 0 && (torture() || chosen(sites, twin.perCycle, i)) {
					t.Run(site.String(), func(t *testing.T) {
						t.Parallel()
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
	switch {
	case 2*w.live < len(run.withheld):
		// Released with its pool after all.
		if v.Kind != report.Clean {
			t.Errorf("verdict %s, want clean: what was withheld went with its pool", v.Kind)
		}
		return false
	case site.Release == "lp_flush" && grew(run.result) < 2*cutThreshold:
		// The linpool is flushed elsewhere, too, or not used in between.
		if v.Kind != report.Clean {
			t.Errorf("verdict %s, want clean: BIRD has no more memory than before", v.Kind)
		}
		return false
	case site.Release != "lp_flush" && w.size*perCycle < 2*cutThreshold:
		t.Logf("too little to be told")
		return false
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
