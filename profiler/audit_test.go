// SPDX-License-Identifier: Apache-2.0

package profiler_test

import (
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"leakprof/bpf"
	"leakprof/profiler"
	"leakprof/profiler/bird/pagecache"
	"leakprof/profiler/bird/tree"
	"leakprof/profiler/internal/fixture"
	"leakprof/profiler/live"
	"leakprof/profiler/plan"
	quiet "leakprof/profiler/snapshot"
)

// auditor compares what leakprof says of a process with the process's books.
type auditor struct {
	prof  *profiler.Profiler
	p     *fixture.Process
	names *symbols
	calls map[uint32][]string // by number of the stack
	// pages, objects, lines: this layer is followed.
	pages, objects, lines bool
	wrong                 int
}

// newAuditor names functions by the symbols of the file at path, from which the
// process's own may have been stripped.
func newAuditor(t *testing.T, prof *profiler.Profiler, p *fixture.Process, path string) *auditor {
	t.Helper()
	a := &auditor{prof: prof, p: p, names: newSymbols(prof), calls: make(map[uint32][]string)}
	file, err := elf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	exe := prof.Modules()[0]
	if a.names.tables[exe], err = file.Symbols(); err != nil {
		t.Fatal(err)
	}
	a.names.own[exe.Path] = true
	a.pages = slices.ContainsFunc(prof.Plan.Sites, func(s plan.Site) bool { return s.Event == plan.PageTaken })
	a.objects, a.lines = prof.ObjectClasses()["Slab"], prof.FollowsLinpoolObjects()
	a.auditPlan(t)
	return a
}

// auditPlan compares the functions that were found with the symbols.
func (a *auditor) auditPlan(t *testing.T) {
	t.Helper()
	// Functions of the same code may be one.
	names := make(map[uint64][]string)
	for _, sym := range a.names.tables[a.prof.Modules()[0]] {
		name, _, _ := strings.Cut(sym.Name, ".")
		names[sym.Value] = append(names[sym.Value], name)
	}
	for _, f := range a.prof.Plan.Functions {
		if !slices.Contains(names[f.Address], f.Name) {
			t.Errorf("0x%x is taken for %s by %s, and is %v", f.Address, f.Name, f.FoundBy, names[f.Address])
		}
	}
}

// fail reports what is wrong, the first few times.
func (a *auditor) fail(t *testing.T, format string, args ...any) {
	t.Helper()
	const most = 8
	if a.wrong++; a.wrong <= most {
		t.Errorf(format, args...)
	}
}

// audit compares everything while the process waits.
func (a *auditor) audit(t *testing.T) {
	t.Helper()
	truth := a.p.Memory(t)
	s, err := a.prof.Look(context.Background(), quiet.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if !s.Quiet {
		t.Fatalf("the snapshot is not quiet: %s", s.Why)
	}
	if n := len(s.MissedReturns); n > 0 {
		a.fail(t, "the returns of %d pages were missed", n)
	}
	if d, err := a.prof.Dropped(), a.prof.Trouble(); len(d) > 0 || err != nil {
		a.fail(t, "dropped %v, trouble %v", d, err)
	}
	a.auditLive(t, s.Live, truth)
	a.auditTree(t, s.Tree, truth)
	if a.objects {
		a.auditObjects(t, s, truth)
	}
	if a.lines {
		a.auditLines(t, s, truth)
	}
	if s.FreePagesErr == nil {
		a.auditSpares(t, s.FreePages, truth)
	} else if errors.Is(s.FreePagesErr, pagecache.ErrBusy) {
		a.fail(t, "%v", s.FreePagesErr)
	}
}

// auditLive compares the live set: every block and page, with its size and the
// stack that allocated it.
func (a *auditor) auditLive(t *testing.T, s *live.Snapshot, truth *fixture.Memory) {
	t.Helper()
	seen := map[string]int{}
	for _, b := range s.Blocks {
		of, kind := truth.Blocks, "block"
		if b.IsPage() {
			of, kind = truth.Pages, "page"
		}
		want, ok := of[b.Address]
		if !ok {
			if calls := a.stack(s, b.Stack); kind == "block" && len(calls) > 0 && calls[0] == "~" {
				continue // libc's own, for a thread
			}
			a.fail(t, "%s at 0x%x of %d bytes is not live: %s, %v", kind, b.Address, b.Size, b.Function, a.stack(s, b.Stack))
			continue
		}
		seen[kind]++
		// Of several large chunks of a linpool from before only libc knows the
		// sizes, to 16 bytes.
		room := uint64(0)
		if want.Old && want.Class == "LinPool" && b.Stack == bpf.StackBefore {
			room = 23
		}
		if b.Size < want.Bytes || b.Size > want.Bytes+room {
			a.fail(t, "%s at 0x%x of %s has %d bytes, want %d", kind, b.Address, want.Class, b.Size, want.Bytes)
		}
		if err := a.signedBy(s, b.Stack, want.Signature); err != nil {
			a.fail(t, "%s at 0x%x of %s: %v", kind, b.Address, want.Class, err)
		}
	}
	if want := expectLive(truth.Blocks); seen["block"] != want {
		a.fail(t, "%d blocks are live, want %d of %d", seen["block"], want, len(truth.Blocks))
	}
	if want := expectLive(truth.Pages); a.pages && seen["page"] != want {
		a.fail(t, "%d pages are live, want %d of %d", seen["page"], want, len(truth.Pages))
	}
	for c := range s.Counters {
		switch c := bpf.Counter(c); c {
		case bpf.AllocatedObjects, bpf.AllocatedBytes, bpf.FreedObjects, bpf.FreedBytes:
		case bpf.PageReturnUnknown: // refills of the cache of free pages
		case bpf.FreeUnknown, bpf.ReallocUnknown, bpf.ObjectNoPage: // from before
		default:
			if s.Counters[c] != 0 {
				a.fail(t, "counter %q is %d", c, s.Counters[c])
			}
		}
	}
}

// expectLive counts what the live set should have: all but what was there
// before and is in no pool.
func expectLive(all map[uint64]fixture.Held) (n int) {
	for _, h := range all {
		if !h.Old || h.Pool != 0 {
			n++
		}
	}
	return n
}

// auditObjects compares who allocated each object of the slabs.
func (a *auditor) auditObjects(t *testing.T, s *quiet.Snapshot, truth *fixture.Memory) {
	t.Helper()
	for address, want := range truth.Objects {
		page, _ := s.Tree.Page(address)
		stack, _ := s.Live.Slots.Of(page.Address).At(address - page.Address)
		if want.Old && stack == bpf.StackNone {
			continue
		}
		if err := a.signedBy(s.Live, stack, want.Signature); err != nil {
			a.fail(t, "object at 0x%x of %d bytes: %v", address, want.Bytes, err)
		}
	}
	for page := range s.Live.Slots.Pages() {
		if _, ok := truth.Pages[page]; !ok {
			a.fail(t, "page at 0x%x is free and has a table of objects", page)
		}
	}
}

// auditLines compares who allocated what in linpools.
func (a *auditor) auditLines(t *testing.T, s *quiet.Snapshot, truth *fixture.Memory) {
	t.Helper()
	records := make(map[uint64]live.LinpoolObject)
	for _, o := range s.Live.LinpoolObjects {
		records[o.Address] = o
	}
	for address, want := range truth.Lines {
		o, ok := records[address]
		if want.Old && !ok || isState(want) {
			continue
		}
		if uint64(o.Size) != want.Bytes {
			a.fail(t, "line at 0x%x has %d bytes, want %d", address, o.Size, want.Bytes)
		}
		if err := a.signedBy(s.Live, o.Stack, want.Signature); err != nil {
			a.fail(t, "line at 0x%x of %d bytes: %v", address, want.Bytes, err)
		}
	}
	a.auditRemnants(t, s, truth)
}

// isState says whether it is a state that a linpool keeps in itself (BIRD 3).
// Its own functions may have copies of lp_alloc in them, which are not probed.
func isState(line fixture.Held) bool {
	return slices.Contains([]string{"new_linpool", "save_lines", "flush_lines"}, line.Calls[0])
}

// auditRemnants looks at records that are not of lines in use, though they lie
// in a linpool. They are of before a restore, and known by younger ones below
// them or in their place, but for two kinds: where the linpool was restored and
// then went on to another chunk, since the next line did not fit, what is behind
// its last line in the chunk cannot be told from lines in use; neither can what
// lies in a gap that a younger line has before it for its alignment.
func (a *auditor) auditRemnants(t *testing.T, s *quiet.Snapshot, truth *fixture.Memory) {
	t.Helper()
	const alignment = 16
	var chunk, youngest uint64
	var remnant *live.LinpoolObject
	for i := range s.Live.LinpoolObjects {
		o := &s.Live.LinpoolObjects[i]
		if alive, ok := s.Tree.LinpoolLive(o.Address); !ok || !alive {
			continue
		}
		if page := o.Address &^ 4095; page != chunk {
			chunk, youngest, remnant = page, 0, nil
		}
		_, inUse := truth.Lines[o.Address]
		if remnant != nil && o.Time > remnant.Time && (o.Address < remnant.Address+uint64(remnant.Size) || o.Address < remnant.Address+alignment) {
			remnant = nil // told by o, which lies in its place
		}
		switch {
		case inUse && remnant != nil:
			a.fail(t, "line at 0x%x is in use, and the one below it, at 0x%x, is not", o.Address, remnant.Address)
		case !inUse && o.Time > youngest && remnant == nil:
			remnant = o
		}
		youngest = max(youngest, o.Time)
	}
}

// allocators are what functions of the allocators begin with. They may stand
// before the first function that the books name, where they are not inlined.
var allocators = []string{"mb_", "lp_", "sl_", "rp_", "sk_", "ev_", "tx_", "ralloc", "xmalloc", "xrealloc", "bird_xmalloc", "bird_xrealloc", "alloc_", "print_name", "large", "new_chunk"}

func isAllocator(name string) bool {
	for _, prefix := range allocators {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

// stack returns the calls of a stack.
func (a *auditor) stack(s *live.Snapshot, number uint32) []string {
	calls, ok := a.calls[number]
	if !ok {
		calls = a.names.calls(s.Stacks[number])
		a.calls[number] = calls
	}
	return calls
}

// signedBy compares a stack with the calls of the books.
func (a *auditor) signedBy(s *live.Snapshot, number uint32, by fixture.Signature) error {
	if by.Old || number == bpf.StackBefore {
		if !by.Old || number != bpf.StackBefore {
			return fmt.Errorf("stack %d, want %v, old %v", number, by.Calls, by.Old)
		}
		return nil
	}
	st, ok := s.Stacks[number]
	if !ok || st.End != bpf.StackComplete {
		return fmt.Errorf("stack %d ends %q", number, st.End)
	}
	all := a.stack(s, number)
	got := all
	for len(got) > 0 && isAllocator(got[0]) {
		got = got[1:]
	}
	for _, end := range start {
		if matches(got, append(by.Calls[:len(by.Calls):len(by.Calls)], end...)) {
			return nil
		}
	}
	return fmt.Errorf("stack is %v, want %v", all, by.Calls)
}

// auditTree compares the resource tree: every pool, block, page and object.
func (a *auditor) auditTree(t *testing.T, tr *tree.Tree, truth *fixture.Memory) {
	t.Helper()
	if !tr.Consistent || len(tr.Warnings) > 0 {
		a.fail(t, "tree: consistent %v, %q", tr.Consistent, tr.Warnings)
	}
	pools := 0
	var compare func(n *tree.Node)
	compare = func(n *tree.Node) {
		pools++
		want := truth.Pools[n.Address]
		if n.Path() != want.Path || n.Effective != want.Effective || n.Overhead != want.Overhead {
			a.fail(t, "pool at 0x%x is %s, %d + %d bytes; want %s, %d + %d", n.Address, n.Path(), n.Effective, n.Overhead, want.Path, want.Effective, want.Overhead)
		}
		for _, c := range n.Children {
			compare(c)
		}
	}
	compare(tr.Root)
	if pools != len(truth.Pools) {
		a.fail(t, "the tree has %d pools, want %d", pools, len(truth.Pools))
	}
	a.auditTreeBlocks(t, tr, truth)
	a.auditTreePages(t, tr, truth)
}

func (a *auditor) auditTreeBlocks(t *testing.T, tr *tree.Tree, truth *fixture.Memory) {
	t.Helper()
	blocks := 0
	for b := range tr.Blocks() {
		blocks++
		want := truth.Blocks[b.Address]
		// Of several large chunks the tree knows only the sum.
		if b.Bytes != want.Bytes && !(b.Bytes == 0 && b.Class == "LinPool") || b.Payload != want.Payload || b.Class != want.Class || b.Pool.Address != want.Pool {
			a.fail(t, "tree's block at 0x%x is %s of %d, %d bytes in 0x%x, want %+v", b.Address, b.Class, b.Bytes, b.Payload, b.Pool.Address, want)
		}
	}
	for _, b := range truth.Blocks {
		if b.Class != "" {
			blocks--
		}
	}
	if blocks != 0 {
		a.fail(t, "the tree has %d blocks too many", blocks)
	}
}

func (a *auditor) auditTreePages(t *testing.T, tr *tree.Tree, truth *fixture.Memory) {
	t.Helper()
	pages, objects := 0, 0
	for p := range tr.Pages() {
		pages++
		want := truth.Pages[p.Address]
		if p.Class != want.Class || p.Owner != want.Owner || p.Pool.Address != want.Pool {
			a.fail(t, "tree's page at 0x%x is %s of 0x%x in 0x%x, want %+v", p.Address, p.Class, p.Owner, p.Pool.Address, want)
		}
		for o := range p.Objects() {
			objects++
			if want := truth.Objects[o]; want.Owner != p.Owner || want.Bytes != p.ObjectSize {
				a.fail(t, "tree's object at 0x%x is of %d bytes in 0x%x, want %+v", o, p.ObjectSize, p.Owner, want)
			}
		}
	}
	for _, p := range truth.Pages {
		if p.Class != "" {
			pages--
		}
	}
	if pages != 0 || objects != len(truth.Objects) {
		a.fail(t, "the tree has %d pages too many, and %d objects, want %d", pages, objects, len(truth.Objects))
	}
	for address, l := range truth.Lines {
		if live, ok := tr.LinpoolLive(address); !live || !ok {
			a.fail(t, "%d bytes at 0x%x in a linpool are not live (%v)", l.Bytes, address, ok)
		}
	}
}

// auditSpares compares the lists of free pages.
func (a *auditor) auditSpares(t *testing.T, free *pagecache.Pages, truth *fixture.Memory) {
	t.Helper()
	if free.Unread != 0 || free.Lost != truth.Lost {
		a.fail(t, "%d free pages are not read, %d lost, want %d", free.Unread, free.Lost, truth.Lost)
	}
	all := 0
	for _, l := range []struct {
		pages []uint64
		kinds []string
	}{{free.Kept, []string{"local", "hot"}}, {free.Cold, []string{"cold"}}, {free.Index, []string{"index"}}} {
		for _, page := range l.pages {
			all++
			if kind := truth.Spares[page]; kind != l.kinds[0] && kind != l.kinds[len(l.kinds)-1] {
				a.fail(t, "free page at 0x%x is %q, want %q", page, l.kinds, kind)
			}
		}
	}
	if all != len(truth.Spares) {
		a.fail(t, "%d free pages, want %d", all, len(truth.Spares))
	}
}
