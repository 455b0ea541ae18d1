// SPDX-License-Identifier: Apache-2.0

package reachability

import (
	"maps"
	"slices"

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
	if s.Tree != nil && len(pages) > 0 {
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
//   - A page to send to a BMP station (see queueClass) has the next one and where
//     it is filled to, and then bytes. Of those that wait the tree knows. What of
//     one is sent is the socket's.
func dropped(p *target.Process, t *tree.Tree, pages []uint64) (map[uint64]bool, error) {
	classes := make(map[uint64]string)
	var queues []uint64
	for b := range t.Blocks() {
		switch {
		case b.Class == "Slab", b.Class == "mslab", b.Class == "LinPool" && !b.Large:
			classes[b.Address] = b.Class
		case b.Class == queueClass:
			queues = append(queues, b.Address)
		}
	}
	out := make(map[uint64]bool)
	sent := make(map[uint64]bool)
	heads := make([]uint64, mostVectors*headWords)
	for rest := pages; len(rest) > 0; {
		some := rest[:min(len(rest), mostVectors)]
		rest = rest[len(some):]
		var remote []unix.RemoteIovec
		for _, at := range some {
			remote = append(remote, unix.RemoteIovec{Base: uintptr(at), Len: 8 * headWords})
		}
		if _, err := readVectors(p, heads, remote); err != nil {
			return nil, err
		}
		for i, at := range some {
			switch head := heads[i*headWords:][:headWords]; {
			case wasOf(t.Layout, classes, head):
				out[at] = true
			case len(queues) > 0 && wasSent(at, head):
				sent[at] = true
			}
		}
	}
	if len(sent) > 0 {
		waits, err := queued(p, headersOf(t.Layout.Generation).resource, queues, sent)
		if err != nil {
			return nil, err
		}
		if !waits {
			maps.Copy(out, sent)
		}
	}
	return out, nil
}

// wasSent says whether a page with this head is one to send.
func wasSent(page uint64, head []uint64) bool {
	const header = 16
	return head[0]%pageSize == 0 && head[1] >= page+header && head[1] <= page+pageSize
}

// queued says whether any of some pages begins a queue that the tree does not
// know: whether the owner of a queue, which its resource names, points at one.
func queued(p *target.Process, header uint64, queues []uint64, pages map[uint64]bool) (bool, error) {
	words := make([]uint64, pageSize/8) // the queue is near its owner's begin
	read := func(at, length uint64) error {
		_, err := readVectors(p, words, []unix.RemoteIovec{{Base: uintptr(at), Len: int(length)}})
		return err
	}
	for _, q := range queues {
		if err := read(q+header, 8); err != nil {
			return false, err
		}
		if err := read(words[0], pageSize); err != nil {
			return false, err
		}
		if slices.ContainsFunc(words, func(w uint64) bool { return pages[w] }) {
			return true, nil
		}
	}
	return false, nil
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
