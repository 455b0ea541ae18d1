// SPDX-License-Identifier: Apache-2.0

package structure

import (
	"errors"
	"fmt"
	"io"
)

// FreePages is where a BIRD keeps its lists of free pages (sysdep/unix/alloc.c).
// Addresses are ELF virtual addresses; a counter is 4 bytes.
type FreePages struct {
	// Generation is 2 or 3.
	Generation int

	// Global is global_free_pages of BIRD 2 (struct free_pages).
	Global uint64

	// Stack is page_stack of BIRD 3, Cork page_stack_blocked, whose address
	// stands in Stack while a thread is at it, and Index empty_pages.
	Stack, Cork, Index uint64
	// LocalStack and LocalCount are local_page_stack and pages_kept_here of
	// BIRD 3, as offsets from the thread pointer, bytes: negative on x86-64.
	LocalStack, LocalCount int64

	// Kept and KeptLocally count the pages of BIRD 3 that are on Stack and on
	// the threads' own stacks.
	Kept, KeptLocally uint64
	// Cold counts the pages named in index pages, Indexes those, and Total
	// the pages that BIRD has from the system. 0 in a BIRD before 2.16.
	Cold, Indexes, Total uint64
}

// ErrNoFreePages says that a file's lists of free pages were not found.
var ErrNoFreePages = errors.New("not found")

// FindFreePages finds BIRD's lists of free pages in an x86-64 ELF file, by what
// alloc_page and free_page do, without symbols. The error wraps ErrNotBIRD
// where the file has no resource classes, and otherwise says what is missing
// and wraps ErrNoFreePages.
func FindFreePages(r io.ReaderAt) (*FreePages, error) {
	found, err := findFreePages(r)
	if err != nil {
		return nil, fmt.Errorf("find lists of free pages: %w", err)
	}
	return found, nil
}

func findFreePages(r io.ReaderAt) (*FreePages, error) {
	f, err := begin(r)
	if err != nil {
		return nil, err
	}
	f.findPages()
	if f.third() {
		return f.pageStacks()
	}
	return f.globalFreePages()
}

func noFreePages(what string) (*FreePages, error) {
	return nil, fmt.Errorf("%s: %w", what, ErrNoFreePages)
}

// pathsOf returns the paths of all functions found under a name.
func (f *finder) pathsOf(names ...string) (paths []path) {
	for _, name := range names {
		for _, at := range f.addresses(name) {
			paths = append(paths, f.behavior(at).paths...)
		}
	}
	return paths
}

// changes returns the fixed places whose 4 bytes a path changes by n.
func (p path) changes(n int64) (at []placeKey) {
	for _, e := range p.events {
		from, ok := e.value.plus(-n).load()
		if e.kind == eventStore && e.size == 4 && ok && from == e.address && place(from) != (placeKey{}) {
			at = append(at, place(from))
		}
	}
	return at
}

// changesOnly returns the one fixed place that all of several paths change by
// n, besides some others.
func changesOnly(paths []path, n int64, others ...uint64) (at uint64, ok bool) {
	for i, p := range paths {
		var own uint64
		for _, k := range p.changes(n) {
			if known := containsAddress(others, uint64(k.offset)); k.thread || known {
				continue
			}
			if own != 0 && own != uint64(k.offset) {
				return 0, false
			}
			own = uint64(k.offset)
		}
		if own == 0 || i > 0 && own != at {
			return 0, false
		}
		at = own
	}
	return at, at != 0
}

func containsAddress(list []uint64, at uint64) bool {
	for _, x := range list {
		if x == at {
			return true
		}
	}
	return false
}

// Offsets in struct free_pages of BIRD 2: the lists of lib/lists.h have head,
// null and tail.
const (
	freePagesNull  = 8
	freePagesTail  = 16
	freePagesEmpty = 24
	freePagesCount = 52
)

// globalFreePages finds BIRD 2's struct free_pages. alloc_page returns the head
// of the list, and takes one off the count behind it; free_page sets its tail.
func (f *finder) globalFreePages() (*FreePages, error) {
	l := &FreePages{Generation: 2}
	for _, p := range f.pathsOf("alloc_page") {
		at, ok := p.result.load()
		if !ok || !at.isConstant() {
			continue
		}
		count := at.plus(freePagesCount)
		left, counted := p.stored(count)
		if from, ok := left.plus(1).load(); !counted || !ok || from != count {
			continue
		}
		if l.Global != 0 && l.Global != uint64(at.c) {
			return noFreePages("alloc_page takes pages from two lists")
		}
		l.Global = uint64(at.c)
	}
	if l.Global == 0 {
		return noFreePages("alloc_page takes no page from a list that it counts")
	}
	if !f.appends(l.Global) {
		return noFreePages("no function puts a page at the end of alloc_page's list")
	}
	f.globalCounters(l)
	return l, nil
}

// appends says whether a function puts a node at the tail of a list.
func (f *finder) appends(list uint64) bool {
	for _, fn := range f.functionsAt(f.referencesTo(list + freePagesTail)) {
		fl := f.flow(fn)
		if fl.some(func(e *event) bool {
			return e.kind == eventStore && e.address == constant(int64(list+freePagesTail)) && !e.value.isConstant() &&
				fl.some(func(o *event) bool {
					return o.kind == eventStore && o.address == e.value && o.value == constant(int64(list+freePagesNull))
				})
		}) {
			return true
		}
	}
	return false
}

// globalCounters finds the counters of BIRD since 2.16 by the paths on which
// an index page, a page named in one, and a new page are taken.
func (f *finder) globalCounters(l *FreePages) {
	var index, cold []path
	head := constant(int64(l.Global + freePagesEmpty))
	for _, p := range f.pathsOf("alloc_page", "alloc_cold_page") {
		at, ok := p.result.load()
		switch {
		case !ok:
		case at == head:
			index = append(index, p)
		case at.find(func(t *term) bool { return t.op == opLoad && t.x == head }) != nil:
			cold = append(cold, p)
		}
	}
	l.Indexes, _ = changesOnly(index, -1, l.Global+freePagesCount)
	l.Cold, _ = changesOnly(cold, -1, l.Global+freePagesCount)
	l.Total = f.totalPages()
}

// totalPages finds the counter that alloc_page adds to where a page comes from
// posix_memalign.
func (f *finder) totalPages() uint64 {
	var faked []path
	for _, p := range f.pathsOf("alloc_page") {
		if _, ok := f.memalignFlag(p); ok {
			faked = append(faked, p)
		}
	}
	total, _ := changesOnly(faked, 1)
	return total
}

// pageStacks finds BIRD 3's stacks of free pages.
func (f *finder) pageStacks() (*FreePages, error) {
	l := &FreePages{Generation: 3}
	if len(f.addresses("free_page")) != 1 {
		return noFreePages("function free_page")
	}
	pops, pushes := f.localStack("alloc_page", -1, popped), f.localStack("free_page", 1, pushed)
	switch {
	case pops == nil:
		return noFreePages("alloc_page takes no page from a stack of the thread's own")
	case pushes == nil:
		return noFreePages("free_page puts no page on a stack of the thread's own")
	case *pops != *pushes:
		return noFreePages("alloc_page and free_page use different stacks of the thread's own")
	}
	l.LocalStack, l.LocalCount, l.KeptLocally = pops.stack, pops.count, pops.total
	if !f.sharedStack(l) {
		return noFreePages("free_page puts no page on a stack that all threads share")
	}
	if !f.indexList(l) {
		return noFreePages("the list of index pages")
	}
	l.Total = f.totalPages()
	return l, nil
}

// localStack is a thread's own stack of pages: offsets from the thread pointer
// of its top and of its count, and the address of the count of all threads.
type localStack struct {
	stack, count int64
	total        uint64
}

// popped returns the place that the path takes a page from: it returns what is
// there, and leaves there what stands at the page's beginning.
func popped(p path) (value, bool) {
	at, ok := p.result.load()
	if !ok {
		return value{}, false
	}
	next, stored := p.stored(at)
	from, isLoad := next.load()
	return at, stored && isLoad && from == p.result
}

// pushed returns the place that the path puts its argument to, having stored at
// the argument's beginning what was there.
func pushed(p path) (at value, ok bool) {
	for _, e := range p.events {
		if e.kind != eventStore || !e.value.argument(0) {
			continue
		}
		next, stored := p.stored(e.value)
		if from, isLoad := next.load(); stored && isLoad && from == e.address {
			at, ok = e.address, true
		}
	}
	return at, ok
}

// localStack finds the stack that a function takes pages from or puts them to,
// and that has its counters changed by n. It is nil if there are several.
func (f *finder) localStack(function string, n int64, uses func(path) (value, bool)) *localStack {
	var found *localStack
	for _, p := range f.pathsOf(function) {
		at, ok := uses(p)
		if !ok || !place(at).thread {
			continue
		}
		s := localStack{stack: at.c}
		for _, k := range p.changes(n) {
			if k.thread {
				s.count = k.offset
			} else {
				s.total = uint64(k.offset)
			}
		}
		if len(p.changes(n)) != 2 || s.count == 0 || s.total == 0 || found != nil && *found != s {
			return nil
		}
		found = &s
	}
	return found
}

// sharedStack finds the stack to which free_page gives what a thread does not
// keep: a cork is exchanged for the top, and the page for the cork. The counter
// that is changed next is that of the stack.
func (f *finder) sharedStack(l *FreePages) bool {
	for _, p := range f.pathsOf("free_page") {
		var stack, cork, kept uint64
		for i, e := range p.events {
			if e.kind == eventStore && e.size == 8 && e.address.isConstant() && e.value.isConstant() && e.value.c != 0 &&
				i > 0 && p.events[i-1].kind == eventAtomic && p.events[i-1].address == e.address {
				stack, cork = uint64(e.address.c), uint64(e.value.c)
			}
			if stack == 0 || e.kind != eventStore || e.address != constant(int64(stack)) || !e.value.argument(0) {
				continue
			}
			for _, next := range p.events[i+1:] {
				if next.kind == eventAtomic && next.address.isConstant() {
					kept = uint64(next.address.c)
					break
				}
			}
			break
		}
		if kept == 0 {
			continue
		}
		if l.Stack != 0 && (l.Stack != stack || l.Cork != cork || l.Kept != kept) {
			return false
		}
		l.Stack, l.Cork, l.Kept = stack, cork, kept
	}
	return l.Stack != 0 && l.Kept != l.KeptLocally && l.Kept != l.Stack
}

// indexList finds the list of index pages: alloc_page, or what it calls, gives
// out the first of them, and the function that gives memory back to the system
// by madvise uses the same list.
func (f *finder) indexList(l *FreePages) bool {
	var taken, warmed []path
	for _, p := range f.pathsOf("alloc_page", "alloc_page_global") {
		at, ok := popped(p)
		if !ok || !at.isConstant() {
			continue
		}
		if l.Index != 0 && l.Index != uint64(at.c) {
			return false
		}
		l.Index = uint64(at.c)
		taken = append(taken, p)
		if p.counts(l) != 0 {
			warmed = append(warmed, p)
		}
	}
	if l.Index == 0 || len(both(f.functionsAt(f.referencesTo(l.Index)), f.callersOfImport("madvise"))) == 0 {
		return false
	}
	l.Indexes, _ = changesOnly(taken, -1, l.Kept, l.KeptLocally)
	for _, p := range warmed {
		if c := p.counts(l); l.Cold != 0 && l.Cold != c {
			l.Cold = 0
			break
		} else {
			l.Cold = c
		}
	}
	return true
}

// counts returns the counter from which a path subtracts how many pages the
// first index page names.
func (p path) counts(l *FreePages) (counter uint64) {
	for _, e := range p.events {
		if e.kind != eventStore || e.size != 4 || !e.address.isConstant() || e.value.t == nil || e.value.t.op != opSum {
			continue
		}
		x, y := e.value.t.x, e.value.t.y
		if x.t != nil && x.t.op == opNegative {
			x, y = y, x
		}
		if from, ok := x.load(); !ok || from != e.address || y.t == nil || y.t.op != opNegative {
			continue
		}
		position, ok := y.t.x.load()
		if !ok {
			continue
		}
		if page, ok := position.plus(-position.c).load(); ok && page == constant(int64(l.Index)) {
			counter = uint64(e.address.c)
		}
	}
	return counter
}
