// SPDX-License-Identifier: Apache-2.0

package tree

import (
	"cmp"
	"iter"
	"slices"
	"sync"

	"leakprof/profiler/bird"
)

// block is a block of malloc's, 24 bytes for each of BIRD's millions.
type block struct {
	addr  uint64
	bytes uint32 // without the header of an mblock or a large chunk
	node  uint32
	class uint16
	large bool // a linpool's large chunk
}

// Block is a block that BIRD had from malloc, beginning with a resource's
// header, or a large chunk of a linpool.
type Block struct {
	Address uint64
	// Bytes is what malloc was asked for; 0 where that is not known: of a linpool
	// with several large chunks only their sum is.
	Bytes uint64
	// Payload is what mb_alloc was asked for; 0 for other classes.
	Payload uint64
	Class   string // of the resource; "LinPool" for a large chunk
	Large   bool   // it is a large chunk
	Pool    *Node  // that it is in; a pool's own block is in that pool

	measured bool
}

// Memsize returns what BIRD counts for the block alone, without its pages, if
// malloc was asked for so many bytes (the memsize functions, and rmemsize in
// lib/resource.c). The pages count for themselves.
func (t *Tree) Memsize(b Block, bytes uint64) (effective, overhead uint64) {
	l := t.Layout
	switch {
	case b.Large:
		return bytes - min(bytes, l.ChunkHeader), l.ChunkHeader + allocOverhead
	case b.Class == bird.MemoryClass:
		return bytes - min(bytes, l.MblockHeader), l.MblockHeader + allocOverhead
	case b.Class == bird.PoolClass:
		return 0, bytes + allocOverhead
	case !b.measured:
		return bytes - min(bytes, l.header), l.header + allocOverhead
	case b.Class == routingTableClass:
		return 0, 0
	case b.Class == bmpBuffersClass || b.Class == cliBuffersClass:
		return 0, bytes
	}
	return 0, bytes + allocOverhead
}

// RootOverhead is what BIRD counts for the pool Root, which is a variable and no
// block, bytes.
func (t *Tree) RootOverhead() uint64 { return t.Layout.poolSize + allocOverhead }

// Blocks returns the blocks of all resources except for root_pool, which is a
// variable of BIRD's.
func (t *Tree) Blocks() iter.Seq[Block] {
	return func(yield func(Block) bool) {
		for _, b := range t.blocks {
			if b.addr != t.Root.Address && !yield(t.block(b)) {
				return
			}
		}
	}
}

func (t *Tree) block(b block) Block {
	out := Block{Address: b.addr, Bytes: uint64(b.bytes), Class: t.class[b.class], Large: b.large, Pool: t.nodes[b.node], measured: t.measured[b.class]}
	switch {
	case b.large && b.bytes != 0:
		out.Bytes += t.Layout.ChunkHeader
	case out.Class == bird.MemoryClass:
		out.Payload = out.Bytes
		out.Bytes += t.Layout.MblockHeader
	}
	return out
}

// index finds blocks and pages by their addresses.
type index struct {
	once   sync.Once
	blocks []block
	pages  []page
}

func (t *Tree) sorted() *index {
	t.lookup.once.Do(func() {
		t.lookup.blocks = slices.Clone(t.blocks)
		slices.SortFunc(t.lookup.blocks, func(a, b block) int { return cmp.Compare(a.addr, b.addr) })
		t.lookup.pages = slices.Clone(t.pages)
		slices.SortFunc(t.lookup.pages, func(a, b page) int { return cmp.Compare(a.addr, b.addr) })
	})
	return &t.lookup
}

// PoolOf says in which pool the memory at address is, and of which class the
// resource is that holds it: a block by any address in it, a page by any
// address in it. It can be called by several goroutines at once; the first call
// sorts everything.
func (t *Tree) PoolOf(address uint64) (path, class string, ok bool) {
	x := t.sorted()
	if p, found := x.page(address); found {
		return t.nodes[p.node].path, t.class[p.class], true
	}
	stored, found := x.block(address)
	if !found {
		return "", "", false
	}
	b := t.block(stored)
	if address-b.Address >= max(b.Bytes, 1) {
		return "", "", false
	}
	return b.Pool.path, b.Class, true
}

// page returns the page that the address is in.
func (x *index) page(address uint64) (page, bool) {
	i, found := slices.BinarySearchFunc(x.pages, address&^(pageSize-1), func(p page, a uint64) int { return cmp.Compare(p.addr, a) })
	if !found {
		return page{}, false
	}
	return x.pages[i], true
}

// block returns the last block that begins at the address or before it.
func (x *index) block(address uint64) (block, bool) {
	i, found := slices.BinarySearchFunc(x.blocks, address, func(b block, a uint64) int { return cmp.Compare(b.addr, a) })
	if !found {
		if i--; i < 0 {
			return block{}, false
		}
	}
	return x.blocks[i], true
}
