// SPDX-License-Identifier: Apache-2.0

package glibc

import (
	"fmt"
	"slices"
)

// cacheLayout is struct tcache_perthread_struct: 16-bit numbers, then the heads
// of as many lists of user memory. List i of the first 64 has chunks of
// 32 + 16i bytes.
type cacheLayout struct {
	chunk uint64 // size of the chunk that holds it, bytes
	lists int
	// counts says that the numbers are the lengths of the lists; otherwise they
	// are how much room each list has.
	counts bool
}

var cacheLayouts = []cacheLayout{
	{chunk: 0x290, lists: 64, counts: true}, // glibc 2.30 to 2.41
	{chunk: 0x300, lists: 76},               // since 2.42
}

const exactLists = 64 // the rest have chunks of many sizes

// caches finds the threads' caches among the chunks, and what is in them.
//
// A chunk in a cache carries a key in its second word, which malloc clears when
// it gives the chunk out: a random number (since 2.34), or the address of the
// cache. It is learned from the heads of a cache's lists.
func (w *walker) caches(h *Heap, first uint64) error {
	candidates, found := 0, 0
	for i := range w.chunks {
		c := w.chunks[i]
		if c.State() != InUse {
			continue
		}
		for _, l := range cacheLayouts {
			if c.bytes() != l.chunk {
				continue
			}
			candidates++
			s, err := words(w.source, c.user, l.lists/4+l.lists)
			if err != nil {
				return err
			}
			empty := l.counts && c.user == first && !slices.ContainsFunc(s, func(v uint64) bool { return v != 0 })
			if empty || w.isCache(s, l) {
				found++
				w.set(i, Own)
			}
		}
	}
	for i, link := range w.links {
		if w.keys[link[1]] && w.chunks[i].State() == InUse {
			w.set(i, Cached)
		}
	}
	if candidates > 0 && found == 0 {
		h.Doubts = append(h.Doubts, "no thread's cache was recognised: chunks in one count as in use")
	}
	return nil
}

// isCache says whether the words s are a cache, and notes its key.
func (w *walker) isCache(s []uint64, l cacheLayout) bool {
	number := func(i int) uint64 { return s[i/4] >> (i % 4 * 16) & 0xffff }
	heads := s[l.lists/4:]
	var key uint64
	even := number(0) != 0
	for i, head := range heads {
		if l.counts && (head == 0) != (number(i) == 0) {
			return false
		}
		even = even && number(i) == number(0)
		if head == 0 {
			continue
		}
		at, ok := w.find(head)
		if !ok || w.chunks[at].State() != InUse || i < exactLists && w.chunks[at].bytes() != uint64(minChunk+16*i) {
			return false
		}
		if key == 0 {
			key = w.links[at][1]
		}
		if key == 0 || w.links[at][1] != key {
			return false
		}
		// The list goes on with one of the same kind, or ends.
		next := reveal(w.links[at][0], head)
		if plain := w.links[at][0]; plain == 0 || plain%16 == 0 && w.hasKey(plain, key) {
			next = plain // before 2.32
		}
		if next != 0 && !w.hasKey(next, key) {
			return false
		}
	}
	if key != 0 {
		w.keys[key] = true
		return true
	}
	// All lists of an empty cache have the same room. One with counts looks like
	// any empty block.
	return !l.counts && even
}

func (w *walker) hasKey(addr, key uint64) bool {
	i, ok := w.find(addr)
	return ok && w.links[i][1] == key
}

// reveal undoes PROTECT_PTR of glibc 2.32 and later: a link is mixed with the
// address where it is stored.
func reveal(link, at uint64) uint64 { return link ^ at>>12 }

// fastbins marks the chunks that are in an arena's fastbins: lists of chunks of
// one size, linked like those of a cache.
func (w *walker) fastbins(a arena) error {
	if a.layout.fast == 0 {
		return nil
	}
	heads, err := words(w.source, a.addr+a.layout.top-uint64(a.layout.fast)*8, a.layout.fast)
	if err != nil {
		return err
	}
	var members []int
	for bin, head := range heads {
		if members, err = w.list(bin, head, true); err != nil {
			// glibc before 2.32 stores links as they are.
			var plain error
			if members, plain = w.list(bin, head, false); plain != nil {
				return err
			}
		}
		for _, i := range members {
			w.set(i, Cached)
		}
	}
	return nil
}

// list returns the chunks in a fastbin. How its links are stored is not guessed
// one by one: where a heap lies at a low address, one that is mixed can
// look like one that is not.
func (w *walker) list(bin int, head uint64, mixed bool) (members []int, err error) {
	for at := head; at != 0; {
		i, ok := w.find(at + userOffset)
		if !ok || w.chunks[i].State() != InUse || w.chunks[i].bytes() != uint64(minChunk+16*bin) || len(members) == len(w.chunks) {
			return nil, fmt.Errorf("fastbin %d links to 0x%x: %w", bin, at, ErrTorn)
		}
		members = append(members, i)
		link := w.links[i][0]
		if at += userOffset; mixed {
			link = reveal(link, at)
		}
		at = link
	}
	return members, nil
}
