// SPDX-License-Identifier: Apache-2.0

package tree

import (
	"encoding/binary"
	"io"
	"math/bits"
	"testing"
	"time"

	"leakprof/profiler/bird"
)

// image is a made-up process's memory, from base on.
type image struct {
	data []byte
	next uint64 // offset of what is free
	l    Layout
	bird bird.Bird
	root uint64
	// dummy is the head that ends an mslab's lists.
	dummy uint64
}

const base = 0x7f5500000000

func (m *image) ReadAt(b []byte, off int64) (int, error) {
	off -= base
	if off < 0 || off >= int64(len(m.data)) {
		return 0, io.EOF
	}
	n := copy(b, m.data[off:])
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

func (m *image) alloc(n, align uint64) uint64 {
	m.next = (m.next + align - 1) &^ (align - 1)
	at := m.next
	if m.next += n; m.next > uint64(len(m.data)) {
		panic("image too small")
	}
	return base + at
}

func (m *image) u64(at, v uint64) { binary.LittleEndian.PutUint64(m.data[at-base:], v) }
func (m *image) u32(at, v uint64) { binary.LittleEndian.PutUint32(m.data[at-base:], uint32(v)) }
func (m *image) u16(at, v uint64) { binary.LittleEndian.PutUint16(m.data[at-base:], uint16(v)) }
func (m *image) get(at uint64) uint64 {
	return binary.LittleEndian.Uint64(m.data[at-base:])
}

func (m *image) text(s string) uint64 {
	at := m.alloc(uint64(len(s))+1, 1)
	copy(m.data[at-base:], s)
	return at
}

// newImage makes the memory of a BIRD whose structures have the given lengths.
func newImage(g bird.Generation, pages int, mblock, chunk, slabHead uint64) *image {
	m := &image{data: make([]byte, pages*pageSize), next: 64, l: layoutOf(g), bird: bird.Bird{Generation: g, Classes: make(map[uint64]bird.Class)}}
	m.l.MblockHeader, m.l.ChunkHeader, m.l.SlabHead = mblock, chunk, slabHead
	m.dummy = m.alloc(24, 16)
	m.data[m.dummy-base+18] = 0xd0
	sizes := map[string]uint64{"Pool": 56, bird.MemoryClass: 0, "LinPool": 72, "Slab": 96, "Event": 56, "BMP TX buffers": 32}
	if g == bird.BIRD3 {
		sizes = map[string]uint64{"Pool": 64, bird.MemoryClass: 0, "LinPool": 88, "Slab": 104, "Event": 64, "BMP TX buffers": 40, "Routing table": 512, "mslab": 216, "Islab": 80}
	}
	for _, name := range []string{"Pool", bird.MemoryClass, "LinPool", "Slab", "Event", "BMP TX buffers", "Routing table", "mslab", "Islab"} {
		if n, ok := sizes[name]; ok {
			c := bird.Class{Name: name, Address: m.alloc(48, 16), Size: n, Memsize: 1}
			if name == "Event" {
				c.Memsize = 0
			}
			m.bird.Classes[c.Address] = c
		}
	}
	m.root = m.pool(0, "Root", false)
	return m
}

func (m *image) class(name string) bird.Class {
	for _, c := range m.bird.Classes {
		if c.Name == name {
			return c
		}
	}
	panic("no class " + name)
}

// resource puts a resource at the end of a pool.
func (m *image) resource(pool uint64, class string, n uint64) uint64 {
	at := m.alloc(n, 16)
	m.u64(at+m.l.class, m.class(class).Address)
	if pool == 0 {
		return at
	}
	list := pool + m.l.inside
	if m.l.Generation == bird.BIRD2 {
		last := m.get(list + 16)
		m.u64(at, list+8)
		m.u64(at+8, last)
		m.u64(last, at)
		m.u64(list+16, at)
		return at
	}
	m.u64(at+16, list)
	if last := m.get(list + 8); last != 0 {
		m.u64(last, at)
		m.u64(at+8, last)
	} else {
		m.u64(list, at)
	}
	m.u64(list+8, at)
	return at
}

// pool puts a pool into another; a formatted name is a block of the pool's own.
func (m *image) pool(parent uint64, name string, formatted bool) uint64 {
	at := m.resource(parent, "Pool", m.l.poolSize)
	if m.l.Generation == bird.BIRD2 {
		m.u64(at+24, at+32)
		m.u64(at+40, at+24)
	}
	if formatted {
		m.u64(at+m.l.poolName, m.memory(at, name+"\x00"))
	} else {
		m.u64(at+m.l.poolName, m.text(name))
	}
	return at
}

// memory makes an mblock and returns the address of its data.
func (m *image) memory(pool uint64, data string) uint64 {
	at := m.resource(pool, bird.MemoryClass, m.l.MblockHeader+uint64(len(data)))
	m.u32(at+m.l.mblockSize, uint64(len(data)))
	copy(m.data[at-base+m.l.MblockHeader:], data)
	return at + m.l.MblockHeader
}

// linpool makes a linpool with so many pages, of which used bytes of the last
// are taken, and large chunks of the given sizes.
func (m *image) linpool(pool uint64, pages int, used uint64, large ...uint64) uint64 {
	at := m.resource(pool, "LinPool", m.class("LinPool").Size)
	prev := at + m.l.first
	for range pages {
		p := m.alloc(pageSize, pageSize)
		m.u64(prev, p)
		if m.l.Generation == bird.BIRD3 {
			m.u64(p+8, at)
		}
		m.u64(at+m.l.current, p)
		m.u64(at+m.l.ptr, p+m.l.ChunkHeader+used)
		prev = p
	}
	prev = at + m.l.firstLarge
	total := uint64(0)
	for _, n := range large {
		c := m.alloc(m.l.ChunkHeader+n, 16)
		m.u64(prev, c)
		if m.l.Generation == bird.BIRD3 {
			m.u64(c+8, at)
		}
		prev, total = c, total+n
	}
	m.u32(at+m.l.totalLarge, total)
	return at
}

// slab makes a slab of objects, with pages that hold so many of them.
func (m *image) slab(pool, object, perPage uint64, pages ...uint64) uint64 {
	at := m.resource(pool, "Slab", m.class("Slab").Size)
	stride := (object + 7) &^ 7
	m.u32(at+m.l.objSize, stride)
	m.u32(at+m.l.headSize, (m.l.SlabHead+bitmapSize(perPage)+15)&^15)
	m.u32(at+m.l.objsPerSlab, perPage)
	m.u32(at+m.l.dataSize, object)
	for _, used := range pages {
		list := at + m.l.slabLists + 16
		switch used {
		case 0:
			list -= 16
			m.u32(at+m.l.emptyHeads, m.get(at+m.l.emptyHeads)&0xffffffff+1)
		case perPage:
			list += 16
		}
		p := m.alloc(pageSize, pageSize)
		m.u64(p, at)
		if m.l.SlabHead == longSlabHead {
			m.u64(p+24, list)
		}
		m.u16(p+m.l.SlabHead-4, used)
		m.bits(p+m.l.SlabHead, used)
		if last := m.get(list + 8); last != 0 {
			m.u64(last+8, p)
			m.u64(p+16, last)
		} else {
			m.u64(list, p)
		}
		m.u64(list+8, p)
	}
	return at
}

// bits sets the first n bits of a bitmap.
func (m *image) bits(at, n uint64) {
	for i := range n {
		m.data[at-base+i/8] |= 1 << (i % 8)
	}
}

// bmp makes a BMP instance with pages that wait.
func (m *image) bmp(pool uint64, pages uint64) {
	owner := m.memory(pool, string(make([]byte, 5000)))
	owner += -owner % 8
	m.u64(m.resource(pool, "BMP TX buffers", m.l.header+8)+m.l.header, owner)
	prev := owner + 512
	for range pages {
		p := m.alloc(pageSize, pageSize)
		m.u64(prev, p)
		m.u64(p+8, p+pageSize)
		m.u64(owner+520, p)
		prev = p
	}
	m.u32(owner+528, pages)
	m.u32(owner+532, 1000)
}

// table makes a routing table of BIRD 3 with a journal of so many pages.
func (m *image) table(pool uint64, item, items, pages uint64) {
	at := m.resource(pool, "Routing table", 512)
	for i := range uint64(2) {
		j := at + 64 + i*200
		m.u64(j+8, m.root)
		m.u32(j+16, item)
		m.u32(j+20, (pageSize-journalHead)/item)
		m.u64(j+56, 1)
		if i > 0 {
			continue
		}
		m.u64(j+56, 100+items)
		prev := uint64(0)
		for range pages {
			p := m.alloc(pageSize, pageSize)
			m.u64(p+8, prev)
			m.u64(p+16, j+24)
			end := min(items, (pageSize-journalHead)/item)
			m.u32(p+24, end)
			items -= end
			if prev == 0 {
				m.u64(j+24, p)
				m.u64(p+journalHead, 100)
				m.u64(j+40, p+journalHead)
			} else {
				m.u64(prev, p)
			}
			m.u64(j+32, p)
			prev = p
		}
	}
}

// islab makes an islab of objects in leaves below one page of pointers.
func (m *image) islab(pool, object uint64, leaves int) {
	at := m.resource(pool, "Islab", 80)
	const perPage, pointers, offset = 10, 100, 2
	m.u32(at+32, object)
	m.u32(at+36, (object+15)&^15)
	m.u16(at+54, 32)
	m.u32(at+40, perPage)
	m.u32(at+44, pointers)
	m.u16(at+52, offset)
	m.u32(at+56, uint64(leaves)*perPage)
	m.u32(at+60, uint64(leaves)+1)
	top := m.alloc(pageSize, pageSize)
	m.u64(at+64, top)
	m.u16(top, 1)
	for i := range leaves {
		p := m.alloc(pageSize, pageSize)
		m.u64(p+16, top)
		m.bits(p+24, perPage)
		m.u64(top+24+8*uint64(offset+3*i), p)
	}
}

// mslab makes a slab for threads, of 40 objects of 90 bytes in a page: one page
// is full, one has some, and one is a thread's, with the bits given in its head
// and in the thread's own bitmap.
func (m *image) mslab(pool uint64, head, local uint64) (full, partial, thread uint64) {
	const object, stride, headSize, perPage = 90, 96, 32, 40
	at := m.resource(pool, "mslab", 216)
	for i, v := range []uint64{object, stride, headSize, 2, perPage} {
		m.u32(at+32+4*uint64(i), v)
	}
	page := func(list, next, bits uint64) uint64 {
		p := m.alloc(pageSize, pageSize)
		m.u64(p, at)
		m.u64(p+8, next)
		used := uint64(0)
		for i := range uint64(perPage) {
			if bits>>i&1 != 0 {
				m.data[p-base+20+i/8] |= 1 << (i % 8)
				used++
			}
		}
		m.u16(p+16, used)
		if list != 0 {
			m.u64(list, p)
		}
		return p
	}
	const all = 1<<perPage - 1
	full, partial, thread = page(at+64, m.dummy, all), page(at+56, m.dummy, 1<<39|5), page(0, 0, head)
	info := m.alloc(48, 16)
	m.u64(info+8, thread)
	m.u64(info+40, local)
	infos := m.alloc(pageSize, pageSize)
	m.u64(infos+24, info)
	m.u64(at+176, infos)
	m.u64(at+200, 3)                                              // pages
	m.u64(at+208, uint64(perPage+3+bits.OnesCount64(head&local))) // objects
	return full, partial, thread
}

// reader reads the image.
func (m *image) reader() *Reader {
	r := &Reader{bird: &m.bird, root: m.root, variable: func(a uint64) bool { return a >= base && a < base+64 }}
	r.source, r.deadline = m, time.Now().Add(time.Minute)
	return r
}

func (m *image) walk(t testing.TB) *Tree {
	t.Helper()
	tree, err := m.reader().walk()
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

// sample makes a tree with something of everything.
func sample(g bird.Generation, mblock, chunk, slabHead uint64) *image {
	m := newImage(g, 128, mblock, chunk, slabHead)
	m.linpool(m.root, 1, 0)
	protocols := m.pool(m.root, protocolsPool, false)
	bmp := m.pool(protocols, "BMP", true)
	m.bmp(bmp, 3)
	for _, s := range []string{"a", "bb", "ccc"} {
		m.memory(m.pool(bmp, "BMP Buffer", true), s)
	}
	attributes := m.pool(m.root, "Attributes", false)
	m.slab(attributes, 40, 100, 100, 7, 0, 100, 8)
	m.slab(attributes, 16, 200)
	m.linpool(attributes, 2, 24, 5000)
	m.linpool(attributes, 0, 0, 5000, 6000)
	m.resource(attributes, "Event", m.class("Event").Size)
	if g == bird.BIRD3 {
		m.table(attributes, 24, 200, 2)
		m.islab(attributes, 100, 4)
	}
	return m
}
