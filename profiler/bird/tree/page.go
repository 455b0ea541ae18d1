// SPDX-License-Identifier: Apache-2.0

package tree

import (
	"encoding/binary"
	"fmt"
	"iter"
	"math/bits"
	"slices"
)

// page is a page of alloc_page's, 32 bytes for each of BIRD's hundreds of
// thousands.
type page struct {
	addr, owner uint64
	node        uint32
	bitmap      uint32 // where in Tree.bitmaps, if some objects are in use and some are not
	class       uint16
	shape       uint16 // index in Tree.shapes, 0 for a page without objects of one size
	used        uint16 // objects
	free        uint16 // bytes; pageSize for a linpool's chunk that nothing is in
}

// shape says where in a page objects of one size are, or how long an item of a
// journal is: then it has only that.
type shape struct {
	object, stride, head uint32 // bytes
	capacity             uint32 // objects
}

// Page is a page that BIRD had from alloc_page, and that a resource holds.
type Page struct {
	Address uint64
	// Owner is the resource that holds it, Class its class.
	Owner uint64
	Class string
	Pool  *Node
	// Used is how many objects are in use on a page of a slab, mslab or islab,
	// and Capacity how many there is room for. ObjectSize is what is asked for
	// with each, Stride the distance from one to the next, and HeadSize that of
	// the first from the page's start, bytes. All are 0 for other pages.
	Used, Capacity               int
	ObjectSize, Stride, HeadSize uint64
	// Free is the room on the page that is not in use, bytes: of a page with
	// objects all but those in use and the head, of a linpool's chunk what is
	// beyond the next free byte (0 for a chunk that the linpool has gone past,
	// for it does not keep how full that was), of a journal or a send queue what
	// is beyond its end. 0 where that is not known.
	Free uint64
	// Effective and Overhead are what BIRD counts for the page, bytes: 4096 and
	// what it adds for malloc with some in all.
	Effective, Overhead uint64

	bitmap []uint32
}

// Objects returns the addresses of the objects that are in use, in order.
func (p Page) Objects() iter.Seq[uint64] {
	return func(yield func(uint64) bool) {
		for i := range p.Capacity {
			if p.inUse(i) && !yield(p.Address+p.HeadSize+uint64(i)*p.Stride) {
				return
			}
		}
	}
}

// InUse says whether an object in use begins at the address.
func (p Page) InUse(address uint64) bool {
	first := p.Address + p.HeadSize
	if p.Stride == 0 || address < first || (address-first)%p.Stride != 0 {
		return false
	}
	i := (address - first) / p.Stride
	return i < uint64(p.Capacity) && p.inUse(int(i))
}

func (p Page) inUse(i int) bool {
	if p.Used == 0 || p.Used == p.Capacity {
		return p.Used > 0
	}
	return p.bitmap[i/32]>>(i%32)&1 != 0
}

// Pages returns the pages of slabs, linpools, journals and send queues.
func (t *Tree) Pages() iter.Seq[Page] {
	return func(yield func(Page) bool) {
		for _, p := range t.pages {
			if !yield(t.page(p)) {
				return
			}
		}
	}
}

// Page returns the page that the address is in. Like PoolOf it can be called by
// several goroutines at once.
func (t *Tree) Page(address uint64) (Page, bool) {
	p, ok := t.sorted().page(address)
	if !ok {
		return Page{}, false
	}
	return t.page(p), true
}

func (t *Tree) page(p page) Page {
	out := Page{Address: p.addr, Owner: p.owner, Class: t.class[p.class], Pool: t.nodes[p.node], Free: uint64(p.free)}
	s := t.shapes[p.shape]
	out.Effective = uint64(p.used) * uint64(s.object)
	out.Overhead = pageSize - out.Effective
	switch out.Class {
	case linPoolClass:
		out.Free = min(out.Free, pageSize-t.Layout.ChunkHeader)
		out.Effective, out.Overhead = pageSize-t.Layout.ChunkHeader, t.Layout.ChunkHeader+allocOverhead
	case bmpBuffersClass, cliBuffersClass:
		out.Effective, out.Overhead = pageSize, 0
	}
	if s.capacity == 0 {
		return out
	}
	out.Used, out.Capacity = int(p.used), int(s.capacity)
	out.ObjectSize, out.Stride, out.HeadSize = uint64(s.object), uint64(s.stride), uint64(s.head)
	if p.used > 0 && uint32(p.used) < s.capacity {
		out.bitmap = t.bitmaps[p.bitmap:][:bitmapSize(uint64(s.capacity))/4]
	}
	return out
}

// LinpoolLive says whether the memory at address, which lp_alloc returned, is
// still in use: ok that it is in a chunk of a linpool, live that it is below the
// next free byte, or that the chunk is a large one, made for it alone. An
// address in no chunk is of one that was given back.
//
// Behind the last object of a chunk that the linpool has gone past there may be
// the remains of one that was in use before a restore: objects in a chunk are
// younger from one to the next, so what is older than one before it is gone. It
// can be called by several goroutines at once.
func (t *Tree) LinpoolLive(address uint64) (live, ok bool) {
	x := t.sorted()
	if p, found := x.page(address); found {
		if t.class[p.class] != linPoolClass {
			return false, false
		}
		c := t.page(p)
		return address >= c.Address+t.Layout.ChunkHeader && address < c.Address+pageSize-c.Free, true
	}
	b, found := x.block(address)
	if !found || !b.large || address != b.addr+t.Layout.ChunkHeader {
		return false, false
	}
	return true, true
}

// bitmapSize is the length of a bitmap of n objects, bytes: in words of 32
// bits.
func bitmapSize(n uint64) uint64 { return (n + 31) / 32 * 4 }

// shape returns the index of the shape of a slab's pages.
func (w *walker) shape(object, stride, head, capacity uint64) (uint16, error) {
	if capacity == 0 || capacity > pageSize || stride == 0 || object > stride || head+capacity*stride > pageSize || bitmapSize(capacity) > head {
		return 0, fmt.Errorf("%d objects of %d bytes in %d behind a head of %d: %w", capacity, object, stride, head, ErrTorn)
	}
	return w.addShape(shape{uint32(object), uint32(stride), uint32(head), uint32(capacity)})
}

func (w *walker) addShape(s shape) (uint16, error) {
	i := slices.Index(w.t.shapes, s)
	if i < 0 {
		if i = len(w.t.shapes); i > maxShapes {
			return 0, fmt.Errorf("more than %d sizes of objects: %w", maxShapes, ErrTorn)
		}
		w.t.shapes = append(w.t.shapes, s)
	}
	return uint16(i), nil
}

// page keeps a page of the pool that is being walked.
func (w *walker) page(p page) error {
	if len(w.t.pages) == maxPages {
		return fmt.Errorf("more than %d pages: %w", maxPages, ErrTorn)
	}
	p.node = w.at.index
	w.t.pages = append(w.t.pages, p)
	w.mix(p.addr)
	w.mix(uint64(p.used)<<16 | uint64(p.free))
	return nil
}

// objects keeps a page on which used objects are in use, those whose bits in
// the bitmap are set.
func (w *walker) objects(p page, used uint64, bitmap words) error {
	s := w.t.shapes[p.shape]
	if n := w.popcount(p, bitmap); n != used {
		return fmt.Errorf("page at 0x%x has %d objects, not %d: %w", p.addr, n, used, ErrTorn)
	}
	p.used = uint16(used)
	p.free = uint16(pageSize - uint64(s.head) - used*uint64(s.stride))
	if used > 0 && used < uint64(s.capacity) {
		p.bitmap = uint32(len(w.t.bitmaps))
		for i := uint64(0); i < bitmapSize(uint64(s.capacity)); i += 4 {
			w.t.bitmaps = append(w.t.bitmaps, binary.LittleEndian.Uint32(bitmap[i:]))
			w.mix(bitmap.u32(i))
		}
	}
	return w.page(p)
}

// popcount counts the objects in use by a page's bitmap.
func (w *walker) popcount(p page, bitmap words) (n uint64) {
	capacity := uint64(w.t.shapes[p.shape].capacity)
	for i := uint64(0); i*32 < capacity; i++ {
		v := uint32(bitmap.u32(i * 4))
		if left := capacity - i*32; left < 32 {
			v &= 1<<left - 1
		}
		n += uint64(bits.OnesCount32(v))
	}
	return n
}
