// SPDX-License-Identifier: Apache-2.0

package reachability

import (
	"golang.org/x/sys/unix"

	"leakprof/profiler/bird"
	"leakprof/profiler/bird/tree"
	"leakprof/profiler/snapshot"
	"leakprof/profiler/target"
)

// addLive lists the blocks of the live set, and the pages that no resource has.
func addLive(p *target.Process, s *snapshot.Snapshot, add func(uint64, shape, uint64)) error {
	var pages []uint64
	for _, b := range s.Live.Blocks {
		if !b.IsPage() {
			add(b.Address, shape{b.Size, 0, b.Size, foreignUnit}, 0)
			continue
		}
		if s.Tree != nil {
			if _, known := s.Tree.Page(b.Address); known {
				continue
			}
		}
		pages = append(pages, b.Address)
	}
	var empty map[uint64]bool
	if s.Tree != nil {
		var err error
		if empty, err = dropped(p, s.Tree, pages); err != nil {
			return err
		}
	}
	for _, at := range pages {
		sh := shape{pageSize, 0, pageSize, pageUnit}
		if empty[at] {
			sh.to = 0
		}
		add(at, sh, 0)
	}
	return nil
}

// headWords is how many words at the start of a page say whose it was.
const headWords = 5

// dropped returns which of some pages that no resource has were one's, and were
// empty or given up when it let go of them: what is in them still holds nothing.
// Without this one old address keeps all pages that were lost with it, for they
// are linked to one another as they were when they had objects.
//
//   - struct sl_head (lib/slab.c) begins with the slab and has the number of its
//     objects before its bitmap; struct msl_head (lib/mslab.c, since 3.3) has it
//     behind the slab and the next page. A slab lets go of pages without objects.
//   - struct lp_chunk of BIRD 3 (lib/mempool.c) has the linpool behind the next
//     chunk. A linpool lets go of those in which nothing is in use any more.
func dropped(p *target.Process, t *tree.Tree, pages []uint64) (map[uint64]bool, error) {
	classes := make(map[uint64]string)
	for b := range t.Blocks() {
		if b.Class == "Slab" || b.Class == "mslab" || b.Class == "LinPool" && !b.Large {
			classes[b.Address] = b.Class
		}
	}
	out := make(map[uint64]bool)
	heads := make([]uint64, mostVectors*headWords)
	for len(pages) > 0 {
		some := pages[:min(len(pages), mostVectors)]
		pages = pages[len(some):]
		var remote []unix.RemoteIovec
		for _, at := range some {
			remote = append(remote, unix.RemoteIovec{Base: uintptr(at), Len: 8 * headWords})
		}
		if _, err := readVectors(p, heads, remote); err != nil {
			return nil, err
		}
		for i, at := range some {
			if wasOf(t.Layout, classes, heads[i*headWords:][:headWords]) {
				out[at] = true
			}
		}
	}
	return out, nil
}

// wasOf says whether a page with this head was of one of some resources, given by
// their classes, and has nothing in use.
func wasOf(l tree.Layout, classes map[uint64]string, head []uint64) bool {
	number := func(at uint64) uint16 { return uint16(head[at/8] >> (at % 8 * 8)) }
	switch classes[head[0]] {
	case "Slab":
		return l.SlabHead != 0 && number(l.SlabHead-4) == 0
	case "mslab":
		return number(16) == 0
	}
	return l.Generation == bird.BIRD3 && classes[head[1]] == "LinPool"
}
