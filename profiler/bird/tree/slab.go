// SPDX-License-Identifier: Apache-2.0

package tree

import "fmt"

const (
	// shortSlabHead and longSlabHead are struct sl_head without its bitmap
	// before 2.16 and since: slab, next, prev, list (only since), a number of
	// objects (16 bits) and a state.
	shortSlabHead = 28
	longSlabHead  = 36
)

// slab counts a slab's pages and the objects in use (slab_memsize,
// lib/slab.c). Its pages are in three lists: empty, partial, full.
func (w *walker) slab(c *class, addr uint64) (size, error) {
	buf := make(words, w.l.slabLists+3*16)
	if err := w.read(addr, buf); err != nil {
		return size{}, err
	}
	perPage, object := buf.u32(w.l.objsPerSlab), buf.u32(w.l.dataSize)
	shape, err := w.shape(object, buf.u32(w.l.objSize), buf.u32(w.l.headSize), perPage)
	if err != nil {
		return size{}, err
	}
	var items, pages uint64
	const empty, full = 0, 2
	for i := range uint64(3) {
		list := w.l.slabLists + i*16
		n, err := w.slabPages(addr, perPage, addr+list, buf.u64(list), buf.u64(list+8), func(at uint64, head words) error {
			used := head.u16(w.l.SlabHead - 4)
			if i == empty && used != 0 || i == full && used != perPage {
				return fmt.Errorf("page at 0x%x has %d objects of %d: %w", at, used, perPage, ErrTorn)
			}
			items += used
			return w.objects(page{addr: at, owner: addr, class: c.index, shape: shape}, used, head[w.l.SlabHead:])
		})
		if err != nil {
			return size{}, err
		}
		if i == empty && n != buf.u32(w.l.emptyHeads) {
			return size{}, fmt.Errorf("%d empty pages, not %d: %w", n, buf.u32(w.l.emptyHeads), ErrTorn)
		}
		pages += n
	}
	eff := items * object
	return size{eff, allocOverhead + c.Size + pages*pageSize - eff}, nil
}

// slabPages walks one list of a slab's pages, a typed list (lib/tlists.h), and
// calls f with each page's address and head, its bitmap included.
func (w *walker) slabPages(slab, perPage, list, first, last uint64, f func(at uint64, head words) error) (n uint64, err error) {
	head := make(words, longSlabHead+bitmapSize(perPage))
	prev := uint64(0)
	for at := first; at != 0; prev, at = at, head.u64(8) {
		if at%pageSize != 0 {
			return 0, fmt.Errorf("page at 0x%x is none: %w", at, ErrTorn)
		}
		if err := w.readHead(at, head); err != nil {
			return 0, err
		}
		if head.u64(0) != slab || head.u64(16) != prev {
			return 0, fmt.Errorf("page at 0x%x is not linked where it should be: %w", at, ErrTorn)
		}
		hasList := head.u64(24) == list
		if w.l.SlabHead == 0 { // the first page of a BIRD 2
			w.l.SlabHead = shortSlabHead
			if hasList {
				w.l.SlabHead = longSlabHead
			}
		}
		if hasList != (w.l.SlabHead == longSlabHead) {
			return 0, fmt.Errorf("page at 0x%x is not in its list: %w", at, ErrTorn)
		}
		if n++; n > maxPages {
			return 0, fmt.Errorf("more than %d pages: %w", maxPages, ErrTorn)
		}
		if err := f(at, head); err != nil {
			return 0, err
		}
	}
	if last != prev {
		return 0, fmt.Errorf("its list of pages ends elsewhere: %w", ErrTorn)
	}
	return n, nil
}
