// SPDX-License-Identifier: Apache-2.0

package pagecache

import (
	"encoding/binary"
	"io"

	"leakprof/profiler/bird/structure"
)

// image is memory that a test writes. Its pages need not lie side by side.
type image struct {
	pages map[uint64]*[pageSize]byte
	// before is called with how often memory was read before.
	before func(reads int)
	reads  int
}

func newImage() *image { return &image{pages: make(map[uint64]*[pageSize]byte)} }

func (m *image) at(addr uint64) []byte {
	base := addr &^ (pageSize - 1)
	p := m.pages[base]
	if p == nil {
		p = new([pageSize]byte)
		m.pages[base] = p
	}
	return p[addr-base:]
}

func (m *image) put(addr, v uint64) { binary.LittleEndian.PutUint64(m.at(addr), v) }
func (m *image) put4(addr, v uint64) {
	binary.LittleEndian.PutUint32(m.at(addr), uint32(v))
}

func (m *image) ReadAt(b []byte, off int64) (int, error) {
	if m.before != nil {
		m.before(m.reads)
	}
	m.reads++
	for n := 0; n < len(b); {
		addr := uint64(off) + uint64(n)
		p := m.pages[addr&^(pageSize-1)]
		if p == nil {
			return n, io.ErrUnexpectedEOF
		}
		n += copy(b[n:], p[addr%pageSize:])
	}
	return len(b), nil
}

func (m *image) ReadBatch(addrs []uint64, size int) ([]byte, []bool, error) {
	data, ok := make([]byte, len(addrs)*size), make([]bool, len(addrs))
	for i, a := range addrs {
		n, _ := m.ReadAt(data[i*size:(i+1)*size], int64(a))
		ok[i] = n == size
	}
	return data, ok, nil
}

// Where the images have what.
const (
	data    = 0x5000_0000_0000 // the program's variables
	arena   = 0x7000_0000_0000 // its pages
	pointer = 0x7e00_0000_0000 // thread pointer of thread i: + i<<16
)

func pageAt(i int) uint64 { return arena + uint64(i)*pageSize }

// cacheAt is a Cache of an image of BIRD 2 or 3 with so many threads.
func cacheAt(m *image, generation, threads int) *Cache {
	c := &Cache{memory: m, at: structure.FreePages{
		Generation: generation, Cold: data + 0x200, Indexes: data + 0x204, Total: data + 0x208,
	}}
	if generation == 2 {
		c.at.Global = data
		for _, list := range []uint64{data + globalKept, data + globalIndex} {
			m.put(list, list+listNull)
			m.put(list+listTail, list)
		}
		return c
	}
	c.at.Stack, c.at.Cork, c.at.Index = data, data+pageSize, data+16
	m.put(c.at.Cork, 0)
	c.at.Kept, c.at.KeptLocally = data+0x210, data+0x214
	c.at.LocalStack, c.at.LocalCount = -0xb08, -0xb10
	var all []thread
	for i := range threads {
		all = append(all, thread{100 + i, pointer + uint64(i)<<16})
		m.put(all[i].pointer+uint64(c.at.LocalStack), 0)
	}
	c.threads = func() ([]thread, error) { return all, nil }
	m.put(data, 0)
	return c
}

// keep puts pages on the list of kept pages, on BIRD 3 on the shared stack.
func (c *Cache) keep(m *image, pages ...uint64) {
	if c.at.Generation == 3 {
		c.push(m, c.at.Stack, c.at.Kept, pages)
		return
	}
	list := c.at.Global + globalKept
	for _, p := range pages {
		c.link(m, list, p)
	}
	m.put4(c.at.Global+globalCount, uint64(binary.LittleEndian.Uint32(m.at(c.at.Global+globalCount)))+uint64(len(pages)))
}

// link puts a node at the end of a list of BIRD 2.
func (c *Cache) link(m *image, list, node uint64) {
	last := binary.LittleEndian.Uint64(m.at(list + listTail))
	m.put(node, list+listNull)
	m.put(node+8, last)
	m.put(last, node)
	m.put(list+listTail, node)
}

func (c *Cache) push(m *image, top, count uint64, pages []uint64) {
	for _, p := range pages {
		m.put(p, binary.LittleEndian.Uint64(m.at(top)))
		m.put(top, p)
	}
	m.put4(count, uint64(binary.LittleEndian.Uint32(m.at(count)))+uint64(len(pages)))
}

// keepLocally puts pages on the stack of a thread.
func (c *Cache) keepLocally(m *image, thread int, pages ...uint64) {
	all, _ := c.threads()
	tp := all[thread].pointer
	c.push(m, tp+uint64(c.at.LocalStack), tp+uint64(c.at.LocalCount), pages)
	m.put4(c.at.KeptLocally, uint64(binary.LittleEndian.Uint32(m.at(c.at.KeptLocally)))+uint64(len(pages)))
}

// cool makes index the last index page, with addresses of pages.
func (c *Cache) cool(m *image, index uint64, pages ...uint64) {
	l := c.indexLayout()
	if c.at.Generation == 2 {
		c.link(m, c.at.Global+globalIndex, index)
	} else {
		last := c.at.Index
		for next := last; next != 0; next = binary.LittleEndian.Uint64(m.at(next)) {
			last = next
		}
		m.put(last, index)
		m.put(index, 0)
	}
	m.put4(index+l.count, uint64(len(pages)))
	for i, p := range pages {
		m.put(index+l.pages+8*uint64(i), p)
	}
	m.put4(c.at.Indexes, uint64(binary.LittleEndian.Uint32(m.at(c.at.Indexes)))+1)
	m.put4(c.at.Cold, uint64(binary.LittleEndian.Uint32(m.at(c.at.Cold)))+uint64(len(pages)))
}

func pagesFrom(i, n int) (pages []uint64) {
	for ; n > 0; i, n = i+1, n-1 {
		pages = append(pages, pageAt(i))
	}
	return pages
}

// filled is an image with 20 kept pages, in BIRD 3 of which 12 are of threads,
// and two index pages, of which the second is full.
func filled(generation int) (*image, *Cache) {
	m := newImage()
	c := cacheAt(m, generation, 2)
	if generation == 3 {
		c.keep(m, pagesFrom(0, 8)...)
		c.keepLocally(m, 0, pagesFrom(8, 5)...)
		c.keepLocally(m, 1, pagesFrom(13, 7)...)
	} else {
		c.keep(m, pagesFrom(0, 20)...)
	}
	c.cool(m, pageAt(20), pagesFrom(30, 3)...)
	c.cool(m, pageAt(21), pagesFrom(40, c.full())...)
	m.put4(c.at.Total, 1000)
	return m, c
}

func (c *Cache) full() int { return int(pageSize-c.indexLayout().pages) / 8 }
