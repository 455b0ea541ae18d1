// SPDX-License-Identifier: Apache-2.0

package profiler_test

import (
	"bytes"
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"leakprof/bpf"
	"leakprof/collector/birdc"
	"leakprof/profiler/attribution"
	"leakprof/profiler/bird/tree"
	"leakprof/profiler/live"
	"leakprof/profiler/plan"
	"leakprof/profiler/reconciliation"
	quiet "leakprof/profiler/snapshot"
)

// look takes a snapshot, and what BIRD says of its memory, of one time at which
// BIRD rests: all its threads sleep, and none has run from before the snapshot
// to behind it.
func (b *labBIRD) look(t *testing.T, step string) (*quiet.Snapshot, []*birdc.Memory) {
	t.Helper()
	why := ""
	for begin := time.Now(); time.Since(begin) < birdPatience; time.Sleep(20 * time.Millisecond) {
		first, err := b.control.ShowMemory(t.Context())
		if err != nil {
			t.Fatal(step, err, b.Err())
		}
		before, asleep := b.used(t)
		s, err := b.prof.Look(t.Context(), quiet.Options{Attempts: 1})
		if err != nil {
			t.Fatal(step, err)
		}
		after, stillAsleep := b.used(t)
		last, err := b.control.ShowMemory(t.Context())
		if err != nil {
			t.Fatal(step, err, b.Err())
		}
		switch {
		case !s.Quiet:
			why = s.Why
		case !asleep || !stillAsleep || after != before:
			why = "its threads run"
		case first.Raw != last.Raw:
			why = "its memory changes"
		default:
			return s, []*birdc.Memory{first, last}
		}
	}
	t.Fatalf("%s: BIRD does not come to rest in %v: %s", step, birdPatience, why)
	return nil, nil
}

// used is how much CPU time BIRD has used, and whether all its threads sleep.
func (b *labBIRD) used(t *testing.T) (time.Duration, bool) {
	t.Helper()
	used, err := b.CPUTime()
	if err != nil {
		t.Fatal(err, b.Err())
	}
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", b.PID()))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return used, false // the thread has just ended
		}
		// "TID (NAME) STATE ...", see proc_pid_stat(5).
		_, state, _ := bytes.Cut(text, []byte(") "))
		if !bytes.HasPrefix(state, []byte("S")) {
			return used, false
		}
	}
	return used, true
}

// verdict reports what is wrong after a step, the first few of a kind.
type verdict struct {
	t    *testing.T
	step string
	n    map[string]int
}

func (v *verdict) wrong(format string, args ...any) {
	v.t.Helper()
	const most = 5
	if v.n[format]++; v.n[format] <= most {
		v.t.Errorf("%s: "+format, append([]any{v.step}, args...)...)
	}
}

// reconcile compares the live set with BIRD's own books, and looks whether all
// of it is told who allocated it.
func (b *labBIRD) reconcile(t *testing.T, step string, s *quiet.Snapshot, memory []*birdc.Memory) {
	t.Helper()
	v := &verdict{t, step, make(map[string]int)}
	b.checkAccount(v, s, memory)
	b.checkCounters(v, s)
	heap, err := b.attributor.Attribute(s.Live, s.Tree, nil, b.prof.Modules())
	if err != nil {
		t.Fatal(step, err)
	}
	b.checkHeap(v, s, heap)
	if b.options.LinpoolObjects {
		checkLinpools(v, s, heap.Unrecorded)
		b.checkForgotten(v, s)
	}
	b.checkBefore(v, s)
	if err := b.prof.Trouble(); err != nil {
		v.wrong("trouble: %v", err)
	}
	if dropped := b.prof.Dropped(); len(dropped) > 0 {
		v.wrong("dropped: %v", dropped)
	}
	if n, why := b.speakers.Dropped(); n > 0 {
		v.wrong("%d BGP sessions have ended: %v", n, why)
	}
	if err := b.Err(); err != nil {
		v.wrong("%v", err)
	}
	t.Logf("%-16s %7d bytes of %d blocks and pages, %v", step, s.Live.Bytes(), len(s.Live.Blocks), s.Duration)
}

// checkAccount wants the live set and the resource tree to be equal to the byte,
// and to be what "show memory" says.
func (b *labBIRD) checkAccount(v *verdict, s *quiet.Snapshot, memory []*birdc.Memory) {
	v.t.Helper()
	account, err := reconciliation.New(reconciliation.Input{
		Snapshot: s, Memory: memory, Process: b.prof.Process, BIRD: b.prof.BIRD, Modules: b.prof.Modules(),
	})
	if err != nil {
		v.t.Fatal(v.step, err)
	}
	if !account.Tree.Equal || account.Tree.OnlyTree.Objects > 0 {
		v.wrong("live set and tree differ")
	}
	for _, r := range account.Tree.Reasons {
		if !r.Known {
			v.wrong("%s: %d of %d bytes: %s", r.Where, r.Objects, r.Bytes, r.Reason)
		}
	}
	for _, l := range account.Lines {
		if l.WithinRounding == nil || !*l.WithinRounding {
			v.wrong("show memory, %s: differs by %d bytes", l.Name, l.Difference)
		}
	}
	const leastLines = 6 // before 2.16; 9 since then
	if len(account.Lines) < leastLines {
		v.wrong("show memory has %d lines", len(account.Lines))
	}
	if account.FreePages != "" {
		v.wrong("free pages: %s", account.FreePages)
	}
	if account.MissedReturns > 0 {
		v.wrong("%d returns of pages were missed", account.MissedReturns)
	}
	if w := s.Tree.Warnings; len(w) > 0 {
		v.wrong("resource tree: %q", w)
	}
	if v.t.Failed() {
		var text strings.Builder
		if err := account.WriteText(&text); err != nil {
			v.t.Fatal(err)
		}
		v.t.Logf("%s:\n%s", v.step, &text)
	}
}

const (
	// constructorFrees bounds how many blocks libraries allocate before the
	// program's entry point and free later.
	constructorFrees = 4
	// bufferFrees bounds how many blocks from before that are no resources, such
	// as buffers of sockets, BIRD frees in a test.
	bufferFrees = 64
)

// checkCounters looks for what got lost.
func (b *labBIRD) checkCounters(v *verdict, s *quiet.Snapshot) {
	v.t.Helper()
	for counter := range bpf.Counter(len(s.Live.Counters)) {
		n, most := s.Live.Counters[counter], uint64(0)
		switch counter {
		case bpf.AllocatedObjects, bpf.AllocatedBytes, bpf.FreedObjects, bpf.FreedBytes:
			continue
		case bpf.PageReturnUnknown: // refills of the caches of free pages
			continue
		case bpf.FreeUnknown:
			if most = constructorFrees; b.late {
				most = bufferFrees
			}
		case bpf.ReallocUnknown:
			if b.late {
				most = bufferFrees
			}
		}
		if n > most {
			v.wrong("%s: %d, want at most %d", counter, n, most)
		}
	}
}

// checkHeap wants all that is live to have a stack and, if it is BIRD's, a pool.
func (b *labBIRD) checkHeap(v *verdict, s *quiet.Snapshot, heap *attribution.Heap) {
	v.t.Helper()
	if heap.Unseen != 0 {
		v.wrong("%d slab objects were not seen when they were allocated", heap.Unseen)
	}
	if got, _ := heap.Totals(); got+heap.Control.Bytes != s.Live.Bytes() {
		v.wrong("%d bytes by stack and %d of our control connection, %d are live", got, heap.Control.Bytes, s.Live.Bytes())
	}
	var objects uint64
	listens, named := false, false
	for _, sample := range heap.Samples {
		named = b.checkNames(v, sample.Stack) || named
		listens = listens || sample.Pool == "Root/CLI" && sample.Class == "Socket"
		isBefore := sample.Stack.Key == uint64(bpf.StackBefore)
		if !sample.Stack.Complete && !(isBefore && b.late) {
			v.wrong("stack of %d bytes of %s in %s ends %q: %v", sample.Bytes, sample.Class, sample.Pool, sample.Stack.End, sample.Stack.Frames())
		}
		if sample.Class != "" && !strings.HasPrefix(sample.Pool, "Root") {
			v.wrong("%d bytes of %s are in pool %q", sample.Bytes, sample.Class, sample.Pool)
		}
		if sample.Allocator == attribution.AllocatorSlab {
			objects += sample.Objects
		}
	}
	if !named && !b.late {
		v.wrong("no stack has an allocator of BIRD's")
	}
	if !listens {
		v.wrong("the socket that listens for control connections is not in the heap")
	}
	var want uint64
	for p := range s.Tree.Pages() {
		if !slabClasses[p.Class] || isControl(p.Pool) {
			continue
		}
		if want++; b.options.Mode == plan.Exact {
			want += uint64(max(p.Used, 1)) - 1
		}
	}
	if objects != want {
		v.wrong("%d objects of slabs by stack, want %d", objects, want)
	}
}

// checkNames wants the allocators that the plan has found to have their names in a
// stack, also of a stripped BIRD, and says whether there is one.
func (b *labBIRD) checkNames(v *verdict, stack *attribution.Stack) (named bool) {
	v.t.Helper()
	for i, f := range stack.Frames() {
		if f.Module != "bird" || f.Inlined {
			continue
		}
		at := f.Address
		if i > 0 {
			at-- // within the call; the first is the allocator's entry
		}
		for _, fn := range b.prof.Plan.Functions {
			if at < fn.Address || at >= fn.Address+fn.Size {
				continue
			}
			if named = f.Function == fn.Name; !named {
				v.wrong("frame in %s is called %s", fn.Name, f.Function)
			}
		}
	}
	return named
}

var slabClasses = map[string]bool{"Slab": true, "mslab": true, "Islab": true}

// isControl says whether a pool is of our connection to BIRD's control socket,
// which is in no heap.
func isControl(pool *tree.Node) bool { return strings.HasPrefix(pool.Path(), "Root/CLI/") }

// checkLinpools wants each object in a linpool to have been seen: from the begin
// of each page, objects lie side by side, with nothing but alignment between
// them, up to where the next did not fit. Nothing but that is unrecorded, bytes.
func checkLinpools(v *verdict, s *quiet.Snapshot, unrecorded uint64) {
	v.t.Helper()
	const alignment = 16
	var used, tails uint64
	for p := range s.Tree.Pages() {
		if p.Class != "LinPool" {
			continue
		}
		at, end := p.Address+s.Tree.Layout.ChunkHeader, p.Address+birdPage-p.Free
		used += end - at
		for _, o := range liveObjects(s, at, end) {
			if gap := int64(o.Address - at); gap < 0 || gap >= alignment {
				v.wrong("%d bytes of a linpool in %s are of no object", gap, p.Pool.Path())
			}
			at = o.Address + uint64(o.Size)
		}
		if !isControl(p.Pool) {
			tails += end - min(at, end)
		}
	}
	for b := range s.Tree.Blocks() {
		if at := b.Address + s.Tree.Layout.ChunkHeader; b.Large && len(liveObjects(s, at, at+1)) != 1 {
			v.wrong("a large chunk of %d bytes in %s is of no object", b.Bytes, b.Pool.Path())
		}
	}
	if unrecorded != tails {
		v.wrong("%d bytes of linpools are unrecorded, want the %d behind the last object of each page", unrecorded, tails)
	}
	v.t.Logf("%-16s %7d bytes of linpools in use, of it %d behind the last object of a page", v.step, used, tails)
}

// checkForgotten wants no record to be left of what is in no linpool any more:
// the look has dropped them, and BIRD rests.
func (b *labBIRD) checkForgotten(v *verdict, s *quiet.Snapshot) {
	v.t.Helper()
	now, err := b.prof.Snapshot()
	if err != nil {
		v.t.Fatal(v.step, err)
	}
	left := 0
	for _, o := range now.LinpoolObjects {
		if _, ok := s.Tree.LinpoolLive(o.Address); !ok {
			left++
		}
	}
	// What asking for show memory has left behind the look.
	const few = 2000
	if left > few {
		v.wrong("%d of %d records of linpool objects are of no linpool any more", left, len(now.LinpoolObjects))
	}
}

// liveObjects are those that begin from at to end. What is older than an object
// before it is a remnant from before the linpool was restored, and so is what
// reaches into a younger one.
func liveObjects(s *quiet.Snapshot, at, end uint64) (objects []live.LinpoolObject) {
	all := s.Live.LinpoolObjects
	i, _ := slices.BinarySearchFunc(all, at, func(o live.LinpoolObject, a uint64) int { return cmp.Compare(o.Address, a) })
	for newest := uint64(0); i < len(all) && all[i].Address < end; i++ {
		if alive, ok := s.Tree.LinpoolLive(all[i].Address); !ok || !alive || all[i].Time < newest {
			continue
		}
		newest = all[i].Time
		for n := len(objects) - 1; n >= 0 && objects[n].Address+uint64(objects[n].Size) > all[i].Address; n-- {
			objects = objects[:n]
		}
		objects = append(objects, all[i])
	}
	return objects
}

// checkBefore wants nothing from before, or where leakprof came late all of it
// at first, and then never more.
func (b *labBIRD) checkBefore(v *verdict, s *quiet.Snapshot) {
	v.t.Helper()
	var before uint64
	for _, l := range s.Live.Blocks {
		if l.Stack == bpf.StackBefore {
			before += l.Size
		}
	}
	switch {
	case !b.late:
		if before != 0 {
			v.wrong("%d bytes are from before the start", before)
		}
		return
	case b.before == 0:
		// BIRD may have done something between.
		if all := treeBytes(s.Tree); before < all-all/50 {
			v.wrong("%d of %d bytes are from before", before, all)
		}
	case before > b.before:
		v.wrong("%d bytes are from before, more than the %d at the last look", before, b.before)
	}
	b.before = before
	v.t.Logf("%-16s %7d bytes are from before", v.step, before)
}

func treeBytes(t *tree.Tree) (sum uint64) {
	for b := range t.Blocks() {
		sum += b.Bytes
	}
	for range t.Pages() {
		sum += birdPage
	}
	return sum
}

const birdPage = 4096
