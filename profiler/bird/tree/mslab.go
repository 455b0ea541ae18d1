// SPDX-License-Identifier: Apache-2.0

package tree

import (
	"errors"
	"fmt"
)

// mslab counts what threads have allocated from a slab of many threads, by
// BIRD's own counters (mslab_memsize, lib/mslab.c, since 3.3). They are at the
// end of struct mslab: the page of pointers to what each thread counts, freed
// pages, freed objects, pages, objects.
func (w *walker) mslab(c *class, addr uint64) (size, error) {
	// Behind the header: data_size, obj_size, head_size, objs_per_slab,
	// partial_heads, full_heads.
	const object, stride, head, perPage, partial, full = 0, 4, 8, 16, 24, 32
	if c.Size < w.l.header+80 {
		return size{}, errShape
	}
	buf := make(words, c.Size)
	if err := w.read(addr, buf); err != nil {
		return size{}, err
	}
	threads := buf.u64(c.Size - 40)
	if threads == 0 || threads%pageSize != 0 {
		return size{}, errShape
	}
	h := w.l.header
	data := buf.u32(h + object)
	shape, err := w.shape(data, buf.u32(h+stride), buf.u32(h+head), buf.u32(h+perPage))
	if err != nil {
		return size{}, err
	}
	pagesOf := page{owner: addr, class: c.index, shape: shape}
	if err := w.page(page{addr: threads, owner: addr, class: c.index}); err != nil {
		return size{}, err
	}
	pages, objects := buf.u64(c.Size-16)-buf.u64(c.Size-32), buf.u64(c.Size-8)-buf.u64(c.Size-24)
	infos := make(words, pageSize)
	if err := w.read(threads, infos); err != nil {
		return size{}, err
	}
	bitmap := bitmapSize(buf.u32(h + perPage))
	for i := uint64(0); i < pageSize; i += 8 {
		at := infos.u64(i)
		if at == 0 {
			continue
		}
		// struct msl_per_thread_info: two numbers, the page that the thread
		// allocates from, its pages, its objects, those it freed, a bitmap.
		info := make(words, 40+bitmap)
		if err := w.read(at, info); err != nil {
			return size{}, err
		}
		pages += info.u64(16)
		objects += info.u64(24) - info.u64(32)
		if head := info.u64(8); head != 0 {
			if err := w.mslabPages(pagesOf, head, info[40:]); err != nil {
				return size{}, err
			}
		}
	}
	for _, list := range []uint64{partial, full} {
		if err := w.mslabPages(pagesOf, buf.u64(h+list), nil); err != nil {
			return size{}, err
		}
	}
	eff := objects * data
	if pages > maxPages || eff > pages*pageSize {
		return size{}, fmt.Errorf("%d objects of %d bytes in %d pages: %w", objects, data, pages, ErrTorn)
	}
	return size{eff, allocOverhead + c.Size + pageSize + pages*pageSize - eff}, nil
}

var errDone = errors.New("done")

// mslabPages keeps the pages of a list that ends in a head of the program's
// own, or the one page that a thread with the bitmap local allocates from.
// struct msl_head: mslab, next, a number of objects (16 bits), a state, a
// bitmap.
//
// A thread marks all objects of its page as used in the page's bitmap, and as
// it hands them out in its own; who frees one clears the page's bit only. So
// those in use are in both (msl_alloc_from_page, msl_refresh_bitfield).
func (w *walker) mslabPages(p page, first uint64, local words) error {
	const end = 0xd0 // slh_dummy
	const bits = 20
	length := bits + bitmapSize(uint64(w.t.shapes[p.shape].capacity))
	err := w.chain(first, 8, int(length), func(at uint64, head words) error {
		if head[18] == end {
			return errDone
		}
		if at%pageSize != 0 || head.u64(0) != p.owner {
			return fmt.Errorf("page at 0x%x is none: %w", at, ErrTorn)
		}
		p.addr = at
		used := head.u16(16)
		if local == nil {
			return w.objects(p, used, head[bits:])
		}
		if n := w.popcount(p, head[bits:]); n != used {
			return fmt.Errorf("page at 0x%x has %d objects of %d: %w", at, n, used, ErrTorn)
		}
		for i := range local {
			head[bits+i] &= local[i]
		}
		if err := w.objects(p, w.popcount(p, head[bits:]), head[bits:]); err != nil {
			return err
		}
		return errDone
	})
	if errors.Is(err, errDone) {
		return nil
	}
	return err
}

// islab counts the objects of a slab that numbers them (islab_memsize,
// lib/islab.c, since 3.3).
func (w *walker) islab(c *class, addr uint64) (size, error) {
	buf := make(words, 80)
	if err := w.read(addr, buf); err != nil {
		return size{}, err
	}
	object, objects, pages := buf.u32(32), buf.u32(56), buf.u32(60)
	eff := objects * object
	if root := buf.u64(64); root != 0 {
		before := len(w.t.pages)
		shape, err := w.shape(object, buf.u32(36), buf.u16(54), buf.u32(40))
		if err != nil {
			return size{}, err
		}
		l := islab{page{owner: addr, class: c.index, shape: shape}, buf.u32(40), buf.u32(44), buf.u16(52), make(map[uint64]bool)}
		if err := w.islabPages(l, root, 0); err != nil {
			return size{}, err
		}
		if n := uint64(len(w.t.pages) - before); n != pages {
			return size{}, fmt.Errorf("%d pages, not %d: %w", n, pages, ErrTorn)
		}
	}
	if eff > pages*pageSize {
		return size{}, fmt.Errorf("%d objects of %d bytes in %d pages: %w", objects, object, pages, ErrTorn)
	}
	return size{eff, allocOverhead + c.Size + pages*pageSize - eff}, nil
}

// islab is what the pages of an islab have in common.
type islab struct {
	page     page   // a leaf, without its address
	objects  uint64 // that fit into a leaf
	pointers uint64 // that fit into a page
	offset   uint64 // of the first pointer, words behind the head
	seen     map[uint64]bool
}

// islabPages keeps the pages of an islab, a tree: objects in the leaves, and
// above them pages of pointers. struct islab_head: level, an index, free
// children, partial children (16 bits each), a number, the parent (at 16), a
// bitmap, and the pointers.
func (w *walker) islabPages(l islab, at, parent uint64) error {
	const head, deepest = 24, 8
	if !isPage(at) || l.seen[at] {
		return fmt.Errorf("page at 0x%x is none: %w", at, ErrTorn)
	}
	l.seen[at] = true
	s := make(words, pageSize)
	if err := w.read(at, s); err != nil {
		return err
	}
	level := s.u16(0)
	if level > deepest || s.u64(16) != parent || head+8*(l.offset+l.pointers) > pageSize {
		return fmt.Errorf("page at 0x%x is not linked where it should be: %w", at, ErrTorn)
	}
	if level == 0 {
		l.page.addr = at
		return w.objects(l.page, l.objects-min(l.objects, s.u16(4)), s[head:])
	}
	if err := w.page(page{addr: at, owner: l.page.owner, class: l.page.class}); err != nil {
		return err
	}
	for i := range l.pointers {
		child := s.u64(head + 8*(l.offset+i))
		if child == 0 {
			continue
		}
		if below, err := w.word(child); err != nil || below&0xffff >= level {
			return fmt.Errorf("page at 0x%x is not below 0x%x: %w", child, at, ErrTorn)
		}
		if err := w.islabPages(l, child, at); err != nil {
			return err
		}
	}
	return nil
}
