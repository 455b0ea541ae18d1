// SPDX-License-Identifier: Apache-2.0

package tree

import (
	"fmt"

	"leakprof/profiler/bird"
)

// header finds sizeof(struct mblock), and adds what mblocks have as overhead.
func (w *walker) header() error {
	if w.l.MblockHeader == 0 {
		if err := w.measureMblock(); err != nil {
			return err
		}
	}
	for _, n := range w.t.nodes {
		if s := n.class(bird.MemoryClass); s != nil {
			s.Overhead += uint64(s.Count) * (w.l.MblockHeader + allocOverhead)
		}
	}
	return nil
}

// measureMblock takes the header's length from blocks whose data is known to
// be data: BIRD 3 writes the formatted name of a pool into a block that is the
// pool's first (rp_vnewf, mb_vsprintf), as long as the name and its zero.
func (w *walker) measureMblock() error {
	votes := make(map[uint64]int)
	head := make(words, w.l.mblockSize+4)
	for _, n := range w.t.nodes {
		name, err := w.word(n.Address + w.l.poolName)
		if err != nil {
			return err
		}
		first, err := w.word(n.Address + w.l.inside)
		if err != nil {
			return err
		}
		// At least the header up to its size, at most with an alignment of 16.
		if first == 0 || name < first+w.l.mblockSize+4 || name > first+w.l.mblockSize+16 {
			continue
		}
		if err := w.read(first, head); err != nil {
			return err
		}
		c := w.classes[head.u64(w.l.class)]
		if c != nil && c.Name == bird.MemoryClass && head.u32(w.l.mblockSize) == uint64(len(n.PoolName))+1 {
			votes[name-first]++
		}
	}
	if len(votes) != 1 {
		return fmt.Errorf("tell the length of a block's header: %d different by the names of pools: %w", len(votes), ErrTorn)
	}
	for h := range votes {
		w.l.MblockHeader = h
	}
	return nil
}

// chunks are the chunks of a linpool.
type chunks struct {
	node         *Node
	pages, large uint64
}

// chunkHeader finds sizeof(struct lp_chunk), and takes it from what linpools
// have as effective. In BIRD 2 the header is 8 or 16 bytes long: a flushed
// linpool, such as the one that BIRD flushes whenever it has nothing to do, has
// its next free byte right behind it.
func (w *walker) chunkHeader() {
	if w.l.ChunkHeader == 0 {
		// Before 2.16 a slab page's head is short, and chunks have 8 bytes.
		w.l.ChunkHeader = 16
		if w.narrowest < 16 || w.l.SlabHead == shortSlabHead {
			w.l.ChunkHeader = 8
		}
	}
	for _, c := range w.chunks {
		s := c.node.class(linPoolClass)
		s.Effective -= c.pages * w.l.ChunkHeader
		s.Overhead += (c.pages + c.large) * w.l.ChunkHeader
	}
}

// class returns the sum of the class's resources in the pool, or nil.
func (n *Node) class(name string) *ClassSum {
	for i := range n.Classes {
		if n.Classes[i].Class == name {
			return &n.Classes[i]
		}
	}
	return nil
}
