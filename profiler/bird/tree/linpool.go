// SPDX-License-Identifier: Apache-2.0

package tree

import (
	"fmt"

	"leakprof/profiler/bird"
)

const linPoolClass = "LinPool"

// linpool counts chunks: pages, and larger ones from malloc (lp_memsize,
// lib/mempool.c). What depends on the length of a chunk's header comes later.
func (w *walker) linpool(c *class, addr uint64) (size, error) {
	buf := make(words, w.l.totalLarge+4)
	if err := w.read(addr, buf); err != nil {
		return size{}, err
	}
	n := chunks{node: w.at}
	// next(0); BIRD 3 has the linpool's address behind it.
	back := func(chunk words) bool {
		return w.l.Generation != bird.BIRD3 || chunk.u64(8) == addr
	}
	err := w.chain(buf.u64(w.l.first), 0, 16, func(at uint64, chunk words) error {
		if at%pageSize != 0 || !back(chunk) {
			return fmt.Errorf("chunk at 0x%x is none: %w", at, ErrTorn)
		}
		n.pages++
		return w.page(at, c, addr, 0, 0)
	})
	if err != nil {
		return size{}, err
	}
	total := buf.u32(w.l.totalLarge)
	var large []uint64
	err = w.chain(buf.u64(w.l.firstLarge), 0, 16, func(at uint64, chunk words) error {
		if !back(chunk) {
			return fmt.Errorf("large chunk at 0x%x is none: %w", at, ErrTorn)
		}
		n.large++
		large = append(large, at)
		return nil
	})
	if err != nil {
		return size{}, err
	}
	for _, at := range large {
		// Only the sum of their sizes is known.
		b := block{addr: at, class: c.index, node: w.at.index, large: true}
		if len(large) == 1 {
			b.bytes = uint32(total)
		}
		w.t.blocks = append(w.t.blocks, b)
	}
	if ptr, current := buf.u64(w.l.ptr), buf.u64(w.l.current); current != 0 && ptr > current && ptr-current < w.narrowest {
		w.narrowest = ptr - current
	}
	w.chunks = append(w.chunks, n)
	return size{
		effective: total + n.pages*pageSize,
		overhead:  c.Size + allocOverhead + (n.pages+n.large)*allocOverhead,
	}, nil
}

// chain follows a list that has only next pointers, at byte next of each
// element, and calls f with each element's address and first length bytes. A
// circle is found by Brent's method.
func (w *walker) chain(first, next uint64, length int, f func(at uint64, element words) error) error {
	buf := make(words, length)
	milestone, steps, lap := uint64(0), 0, 1
	for at := first; at != 0; at = buf.u64(next) {
		if at == milestone {
			return fmt.Errorf("list runs in a circle: %w", ErrTorn)
		}
		if steps++; steps == lap {
			milestone, steps, lap = at, 0, lap*2
		}
		if lap > maxPages {
			return fmt.Errorf("list of more than %d: %w", maxPages, ErrTorn)
		}
		if err := w.readHead(at, buf); err != nil {
			return err
		}
		if err := f(at, buf); err != nil {
			return err
		}
	}
	return nil
}

// page keeps a page of the resource owner, with used objects of the given
// size in it, or 0 where there are none to count.
func (w *walker) page(at uint64, c *class, owner, used, object uint64) error {
	if len(w.t.pages) == maxPages {
		return fmt.Errorf("more than %d pages: %w", maxPages, ErrTorn)
	}
	w.t.pages = append(w.t.pages, page{addr: at, owner: owner, class: c.index, node: w.at.index, used: uint16(used), object: uint32(object)})
	w.mix(at)
	return nil
}
