// SPDX-License-Identifier: Apache-2.0

package tree

import "leakprof/profiler/bird"

// allocOverhead is BIRD's estimate of what malloc adds to a block, bytes
// (ALLOC_OVERHEAD, lib/resource.h; 16 since 2.0.9).
const allocOverhead = 16

// pageSize is what alloc_page hands out: sysconf(_SC_PAGESIZE) on x86-64.
const pageSize = 4096

// Layout says where BIRD's structures have what, in bytes (x86-64).
//
// Those of one generation are the same in all its versions except for three,
// which the process itself tells: max_align_t at the end of struct mblock and
// of struct lp_chunk came with 2.16.1 and 3.0.1, a third pointer in a slab
// page's list node with 2.16.
type Layout struct {
	Generation bird.Generation
	// MblockHeader is sizeof(struct mblock): 32 in BIRD 2, 40 in 3.0.0, 48 since
	// 3.0.1.
	MblockHeader uint64
	// ChunkHeader is sizeof(struct lp_chunk): 8 up to 2.16.0, 16 later.
	ChunkHeader uint64
	// SlabHead is the size of struct sl_head without its bitmap: 28 up to 2.15,
	// 36 since 2.16. 0 if there was no slab page to tell it.
	SlabHead uint64

	header uint64 // sizeof(resource)
	class  uint64 // of the class pointer in it

	// struct pool
	inside, poolName, poolSize uint64
	// struct mblock
	mblockSize uint64
	// struct linpool (lib/mempool.c)
	ptr, first, current, firstLarge, totalLarge uint64
	// struct slab (lib/slab.c)
	objSize, headSize, objsPerSlab, emptyHeads, dataSize, slabLists uint64
}

// layoutOf returns what all versions of the generation have in common.
func layoutOf(g bird.Generation) Layout {
	l := Layout{
		Generation: g, MblockHeader: 32,
		header: 24, class: 16,
		inside: 24, poolName: 48, poolSize: 56,
		mblockSize: 24,
		ptr:        24, first: 40, current: 48, firstLarge: 56, totalLarge: 68,
		objSize: 24, headSize: 28, objsPerSlab: 36, emptyHeads: 40, dataSize: 44, slabLists: 48,
	}
	if g == bird.BIRD3 {
		l.MblockHeader, l.ChunkHeader, l.SlabHead = 0, 16, 36
		l.header, l.class = 32, 24
		l.inside, l.poolName, l.poolSize = 32, 56, 64
		l.mblockSize = 32
		l.ptr, l.first, l.current, l.firstLarge, l.totalLarge = 32, 48, 56, 64, 84
		l.objSize, l.headSize, l.objsPerSlab, l.emptyHeads, l.dataSize, l.slabLists = 32, 36, 44, 48, 52, 56
	}
	return l
}
