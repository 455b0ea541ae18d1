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
	ptr, current := buf.u64(w.l.ptr), buf.u64(w.l.current)
	// Chunks behind the current one wait for its being full (BIRD 2 keeps them
	// in lp_restore); how full those before it were is not kept.
	behind := current == 0
	err := w.chain(buf.u64(w.l.first), 0, 16, func(at uint64, chunk words) error {
		if at%pageSize != 0 || !back(chunk) {
			return fmt.Errorf("chunk at 0x%x is none: %w", at, ErrTorn)
		}
		p := page{addr: at, owner: addr, class: c.index}
		switch {
		case behind:
			p.free = pageSize
		case at == current:
			if ptr < at || ptr > at+pageSize {
				return fmt.Errorf("next free byte 0x%x is not in chunk 0x%x: %w", ptr, at, ErrTorn)
			}
			behind, p.free = true, uint16(at+pageSize-ptr)
		}
		n.pages++
		return w.page(p)
	})
	if err == nil && !behind {
		err = fmt.Errorf("chunk at 0x%x is not in its list: %w", current, ErrTorn)
	}
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
		w.mix(at)
	}
	if current != 0 && ptr > current && ptr-current < w.narrowest {
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
