// SPDX-License-Identifier: Apache-2.0

// Package walk tells what is live in a BIRD without a probe, by walking its
// memory: blocks are the chunks of the C library's heap that are in use, pages
// those of BIRD's mappings that are on none of its lists of free pages. Who
// allocated them nobody knows; what they are, and how long, the resource tree
// says of all that hangs on it.
//
// BIRD is not stopped, and takes no notice.
package walk

import (
	"cmp"
	"errors"
	"slices"
	"strings"
	"time"

	"leakprof/bpf"
	"leakprof/profiler/bird/pagecache"
	"leakprof/profiler/glibc"
	"leakprof/profiler/live"
	"leakprof/profiler/snapshot"
	"leakprof/profiler/target"
)

const pageSize = 4096

// FreePages reads BIRD's lists of free pages: *pagecache.Cache.
type FreePages interface {
	Read() (*pagecache.Pages, error)
}

// Walker walks one process, look by look.
type Walker struct {
	Process *target.Process
	// FreePages is nil where the lists were not found: then no pages are known but
	// those that resources have.
	FreePages FreePages

	// foreign are the pages that no resource had when they were first looked at;
	// nil before that. The dynamic linker and libraries map memory of their own,
	// which looks the same. What BIRD turns out to use, or to have free, is not.
	foreign map[uint64]bool
}

// Live walks the heap and the mappings. Sizes of blocks are what malloc gave
// (malloc_usable_size(3)); Refine knows better.
func (w *Walker) Live() (*live.Snapshot, error) {
	s := &live.Snapshot{Time: time.Now()}
	before, err := w.readFree()
	if err != nil {
		s.Torn = err.Error()
	}
	usage, err := w.Process.Usage()
	if err != nil {
		return nil, err
	}
	heap, err := glibc.Walk(w.Process, usage, glibc.Options{})
	switch {
	case errors.Is(err, glibc.ErrTorn):
		s.Torn = err.Error()
		return s, nil // the tree has most of it
	case err != nil:
		return nil, err
	case !heap.Consistent:
		s.Torn = "the C library's heap changed while it was read"
	}
	for c := range heap.Chunks() {
		if c.State() == glibc.InUse {
			s.Blocks = append(s.Blocks, live.Block{Address: c.Address(), Size: c.Usable(), Stack: bpf.StackNone})
		}
	}
	if before != nil {
		pages, err := pagesOf(w.Process, usage, heap, before)
		if err != nil {
			return nil, err
		}
		s.Blocks = append(s.Blocks, pages...)
		after, err := w.readFree()
		switch {
		case err != nil:
			s.Torn = err.Error()
		case !slices.Equal(before.Kept, after.Kept) || !slices.Equal(before.Cold, after.Cold):
			s.Torn = "BIRD took or returned pages while it was read"
		}
	}
	sortBlocks(s)
	return s, nil
}

func (w *Walker) readFree() (*pagecache.Pages, error) {
	if w.FreePages == nil {
		return nil, nil
	}
	return w.FreePages.Read()
}

func sortBlocks(s *live.Snapshot) {
	slices.SortFunc(s.Blocks, func(a, b live.Block) int { return cmp.Compare(a.Address, b.Address) })
}

func page(address uint64) live.Block {
	return live.Block{Address: address, Size: pageSize, Stack: bpf.StackNone, Function: bpf.FunctionAllocPage}
}

// Refine adds to a snapshot of Live what its resource tree knows: how much was
// asked for with each block, and all blocks and pages that resources have. What
// looks like a chunk of malloc's and is such a page is none. Without a tree
// nothing changes.
func (w *Walker) Refine(s *snapshot.Snapshot) {
	if s.Tree == nil {
		return
	}
	at := make(map[uint64]int, len(s.Live.Blocks))
	for i, b := range s.Live.Blocks {
		at[b.Address] = i
	}
	blocks := s.Live.Blocks
	for b := range s.Tree.Blocks() {
		switch i, ok := at[b.Address]; {
		case !ok:
			blocks = append(blocks, live.Block{Address: b.Address, Size: b.Bytes, Stack: bpf.StackNone})
		case b.Bytes != 0 && !blocks[i].IsPage():
			blocks[i].Size = b.Bytes
		}
	}
	known := make(map[uint64]bool)
	for p := range s.Tree.Pages() {
		known[p.Address] = true
		if i, ok := at[p.Address]; !ok || !blocks[i].IsPage() {
			blocks = append(blocks, page(p.Address))
		}
	}
	w.findForeign(s.FreePages, blocks, known)
	s.Live.Blocks = slices.DeleteFunc(blocks, func(b live.Block) bool {
		if b.IsPage() {
			return w.foreign[b.Address]
		}
		return known[b.Address&^(pageSize-1)]
	})
	sortBlocks(s.Live)
}

// findForeign notes at the first look which pages are not BIRD's, and later which
// are after all; known are those that resources have.
func (w *Walker) findForeign(free *pagecache.Pages, blocks []live.Block, known map[uint64]bool) {
	if free == nil {
		return
	}
	lists := [][]uint64{free.Kept, free.Cold, free.Index}
	if w.foreign == nil {
		w.foreign = make(map[uint64]bool)
		used := 0
		for _, b := range blocks {
			if b.IsPage() {
				used++
				w.foreign[b.Address] = !known[b.Address]
			}
		}
		// Since 2.16 BIRD counts all that it has: there may be none.
		if n := uint64(used) + free.KeptCount() + uint64(len(free.Cold)+len(free.Index)); n == free.Total {
			clear(w.foreign)
		}
	}
	for a := range w.foreign {
		if known[a] {
			delete(w.foreign, a)
		}
	}
	for _, list := range lists {
		for _, a := range list {
			delete(w.foreign, a)
		}
	}
}

// span is memory from start to before end.
type span struct{ start, end uint64 }

// pagesOf returns the pages with content in mappings such as alloc_page makes
// (anonymous, private, to be written: alloc_sys_page in sysdep/unix/alloc.c, 2.0
// to 3.4) that are not free, nor malloc's, nor of threads.
func pagesOf(p *target.Process, usage []target.Usage, heap *glibc.Heap, free *pagecache.Pages) ([]live.Block, error) {
	others, err := threads(p, usage)
	if err != nil {
		return nil, err
	}
	for start, end := range heap.Regions() {
		others = append(others, span{start &^ (pageSize - 1), end})
	}
	for c := range heap.Chunks() {
		if c.Mapped() {
			start, end := c.Extent()
			others = append(others, span{start &^ (pageSize - 1), end})
		}
	}
	slices.SortFunc(others, func(a, b span) int { return cmp.Compare(a.start, b.start) })
	isFree := make(map[uint64]bool)
	for _, list := range [][]uint64{free.Kept, free.Cold, free.Index} {
		for _, a := range list {
			isFree[a] = true
		}
	}
	var pages []live.Block
	for i, u := range usage {
		if !isAnonymous(u) || u.RSS+u.Swap == 0 || isZeroed(usage, i) {
			continue
		}
		content, err := p.Residence(u)
		if err != nil {
			return nil, err
		}
		for at := u.Start; at < u.End; at += pageSize {
			for len(others) > 0 && others[0].end <= at {
				others = others[1:]
			}
			switch {
			case len(others) > 0 && others[0].start <= at:
			case isFree[at], content.Held(at, at+pageSize) == at:
			default:
				pages = append(pages, page(at))
			}
		}
	}
	return pages, nil
}

// isAnonymous says whether a mapping is one as mmap(2) makes without a file.
func isAnonymous(u target.Usage) bool {
	return u.Inode == 0 && u.Write && !u.Exec && (u.Path == "" || strings.HasPrefix(u.Path, "[anon:"))
}

// isZeroed says whether a mapping is the zeroed variables (.bss) behind a file's
// data.
func isZeroed(usage []target.Usage, i int) bool {
	return i > 0 && usage[i-1].Inode != 0 && usage[i-1].Write && usage[i-1].End == usage[i].Start
}

// Of what the C library maps for a thread: its descriptor at the thread pointer,
// and before it thread-local storage and the stack (struct pthread, nptl of glibc
// 2.31 to 2.43). Of the main thread's the dynamic linker has made the first two.
const (
	descriptorBytes = 2 * pageSize
	localBytes      = 16 * pageSize
	mostStack       = 8 << 20 // the usual limit (RLIMIT_STACK)
)

// threads returns what the threads have for themselves, also those that have
// ended, of which the C library keeps it for others.
func threads(p *target.Process, usage []target.Usage) (all []span, err error) {
	running, ended, err := pagecache.ThreadPointers(p)
	if err != nil {
		return nil, err
	}
	add := func(pointer, before uint64) {
		i := slices.IndexFunc(usage, func(u target.Usage) bool { return pointer >= u.Start && pointer < u.End })
		if pointer == 0 || i < 0 {
			return
		}
		start := max(usage[i].Start, pointer-min(before, pointer))
		all = append(all, span{start &^ (pageSize - 1), (pointer + descriptorBytes) &^ (pageSize - 1)})
	}
	for id, pointer := range running {
		if id == p.PID {
			add(pointer, localBytes)
		} else {
			add(pointer, mostStack)
		}
	}
	for _, pointer := range ended {
		add(pointer, mostStack)
	}
	return all, nil
}
