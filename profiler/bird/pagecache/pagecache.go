// SPDX-License-Identifier: Apache-2.0

// Package pagecache reads BIRD's own lists of free pages from its memory.
//
// BIRD never returns pages to the system (sysdep/unix/alloc.c). A page that
// free_page got is kept as it is; when there are many, some become cold: the
// kernel may take their memory (madvise), and their addresses stand in other
// free pages, the index pages.
//
// BIRD 2 has one doubly linked list of kept pages. BIRD 3 has a stack that all
// threads share, and one of each thread's own, in thread-local storage.
//
// Nothing is stopped while the lists are read. A reading counts only if all
// that it was made of was the same when looked at a second time.
package pagecache

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"leakprof/profiler/bird"
	"leakprof/profiler/bird/structure"
	"leakprof/profiler/target"
)

const (
	// pageSize is what alloc_page gives, bytes: the system's page on x86-64.
	pageSize = 4096
	// lowest and highest bound user space: below, nothing is mapped
	// (vm.mmap_min_addr), and above, with four levels of page tables.
	lowest  = 64 << 10
	highest = 1 << 47
	// maxPages bounds each list: 64 GiB.
	maxPages = 1 << 24
)

// ErrBusy says that BIRD changed its lists each time they were read. Reading
// them a little later may do.
var ErrBusy = errors.New("BIRD changes its lists of free pages meanwhile")

// errTorn says that what was read is of no one time.
var errTorn = errors.New("lists changed")

// Pages is what BIRD has of free pages at one time. A page is named by its
// address, and is in one list only.
type Pages struct {
	Kept  []uint64 // still in memory, ready to be used again
	Cold  []uint64 // given back to the kernel, but for their addresses
	Index []uint64 // pages that hold the addresses of the cold ones

	// Lost is how many pages BIRD 3 counts as kept but has on no list: they
	// are free and never come back. flush_local_pages, which each thread runs
	// when it ends, and the main thread once at the start, saves only the last
	// page of the thread's stack (3.0.0 to 3.4.0). A thread that is taking a
	// page this moment may make it one more.
	Lost uint64
	// Unread is how many pages are kept by threads of BIRD 3 whose stacks
	// could not be found.
	Unread uint64
	// Total is how many pages BIRD has from the system, free and used; 0 in a
	// BIRD before 2.16, which does not count them.
	Total uint64
}

// KeptCount returns how many pages BIRD counts as kept. "show memory" has them
// in "Kept free pages", where BIRD 3 adds the index pages.
func (p *Pages) KeptCount() uint64 { return uint64(len(p.Kept)) + p.Lost + p.Unread }

// memory is a process's memory, as target.Process gives it.
type memory interface {
	ReadAt(b []byte, off int64) (int, error)
	ReadBatch(addrs []uint64, size int) (data []byte, ok []bool, err error)
}

// Cache is where a BIRD has its lists of free pages. It may be used by several
// goroutines.
type Cache struct {
	memory
	mu sync.Mutex          // held while reading
	at structure.FreePages // in the process, no longer in the file
	// threads returns the process's threads (BIRD 3).
	threads func() ([]thread, error)
}

// Find finds the lists of a BIRD process, by what its program's code does; where
// the program has symbols, these must agree. The error says what was not found
// (structure.ErrNoFreePages).
func Find(p *target.Process, b *bird.Bird, exe *target.Module) (*Cache, error) {
	at, err := structure.FindFreePages(exe.Reader)
	if err != nil {
		return nil, err
	}
	if at.Generation != int(b.Generation) {
		return nil, fmt.Errorf("find lists of free pages: code is of BIRD %d, memory of BIRD %d", at.Generation, b.Generation)
	}
	if err := compareSymbols(exe.ELF, at); err != nil {
		return nil, fmt.Errorf("find lists of free pages: %w", err)
	}
	for _, a := range []*uint64{
		&at.Global, &at.Stack, &at.Cork, &at.Index, &at.Kept, &at.KeptLocally, &at.Cold, &at.Indexes, &at.Total,
	} {
		if *a == 0 {
			continue
		}
		if *a += exe.Bias; !b.Variable(*a) {
			return nil, fmt.Errorf("find lists of free pages: 0x%x is no variable of the program", *a)
		}
	}
	c := &Cache{memory: p, at: *at}
	if b.Generation == bird.BIRD2 {
		if err := c.checkGlobal(exe); err != nil {
			return nil, fmt.Errorf("find lists of free pages: %w", err)
		}
		return c, nil
	}
	t, err := newThreads(p)
	if err != nil {
		return nil, fmt.Errorf("find lists of free pages: %w", err)
	}
	c.threads = t.list
	return c, nil
}

// attempts is how often the lists are read before BIRD is said to be busy; the
// pause between them begins with one millisecond and doubles.
const attempts = 8

// Read reads the lists. BIRD goes on meanwhile. If it changes them while they
// are read, time and again, the error wraps ErrBusy.
func (c *Cache) Read() (*Pages, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	pause := time.Millisecond
	for attempt := 1; ; attempt++ {
		p, err := c.read()
		switch {
		case err == nil:
			return p, nil
		case !errors.Is(err, errTorn):
			return nil, fmt.Errorf("read free pages: %w", err)
		case attempt == attempts:
			return nil, fmt.Errorf("read free pages: %w: %w", ErrBusy, err)
		}
		time.Sleep(pause)
		pause *= 2
	}
}

// read reads the lists once.
func (c *Cache) read() (*Pages, error) {
	before, err := c.head()
	if err != nil {
		return nil, err
	}
	p := &Pages{Total: before.total}
	if c.at.Generation == 2 {
		err = c.readGlobal(before, p)
	} else {
		err = c.readStacks(before, p)
	}
	if err != nil {
		return nil, err
	}
	if err := c.readIndex(before, p); err != nil {
		return nil, err
	}
	after, err := c.head()
	if err != nil {
		return nil, err
	}
	if !before.equal(after) {
		return nil, fmt.Errorf("heads of the lists: %w", errTorn)
	}
	if err := p.check(); err != nil {
		return nil, err
	}
	return p, nil
}

// check looks for what cannot be: a page twice, or more pages than there are.
func (p *Pages) check() error {
	all := slices.Concat(p.Kept, p.Cold, p.Index)
	slices.Sort(all)
	for i, a := range all {
		if i > 0 && a == all[i-1] {
			return fmt.Errorf("page 0x%x is free twice: %w", a, errTorn)
		}
	}
	if n := uint64(len(all)) + p.Lost + p.Unread; p.Total > 0 && n > p.Total {
		return fmt.Errorf("%d pages of %d are free: %w", n, p.Total, errTorn)
	}
	return nil
}

// isPage says whether an address can be that of a page.
func isPage(a uint64) bool { return a >= lowest && a%pageSize == 0 && a < highest }
