// SPDX-License-Identifier: Apache-2.0

package symbol

import (
	"cmp"
	"container/heap"
	"slices"
	"sort"
)

// span says that the addresses in [lo, hi) belong to id, unless a span of
// higher rank covers them too.
type span struct {
	lo, hi uint64
	rank   uint64
	id     int32
}

// segment is a piece of the address space that belongs to one id.
type segment struct {
	lo, hi uint64
	id     int32
}

// spanTable holds disjoint segments, sorted by address.
type spanTable []segment

// newSpanTable resolves overlaps in O(n log n): the rank decides, so an inner
// scope cuts its range out of an outer one. It reorders spans.
func newSpanTable(spans []span) spanTable {
	slices.SortFunc(spans, func(a, b span) int { return cmp.Compare(a.lo, b.lo) })
	table := make(spanTable, 0, len(spans))
	var open spanHeap // spans with lo <= pos, the highest rank first
	var pos uint64
	for i := 0; i < len(spans) || len(open) > 0; {
		if len(open) == 0 {
			pos = spans[i].lo
		}
		for ; i < len(spans) && spans[i].lo <= pos; i++ {
			if spans[i].lo < spans[i].hi {
				heap.Push(&open, spans[i])
			}
		}
		for len(open) > 0 && open[0].hi <= pos {
			heap.Pop(&open)
		}
		if len(open) == 0 {
			continue
		}
		end := open[0].hi
		if i < len(spans) {
			end = min(end, spans[i].lo)
		}
		if n := len(table); n > 0 && table[n-1].hi == pos && table[n-1].id == open[0].id {
			table[n-1].hi = end
		} else {
			table = append(table, segment{pos, end, open[0].id})
		}
		pos = end
	}
	return slices.Clip(table)
}

// find returns the id that addr belongs to.
func (t spanTable) find(addr uint64) (id int32, ok bool) {
	i := sort.Search(len(t), func(i int) bool { return t[i].hi > addr })
	if i == len(t) || addr < t[i].lo {
		return 0, false
	}
	return t[i].id, true
}

type spanHeap []span

func (h spanHeap) Len() int           { return len(h) }
func (h spanHeap) Less(i, j int) bool { return h[i].rank > h[j].rank }
func (h spanHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *spanHeap) Push(x any)        { *h = append(*h, x.(span)) }
func (h *spanHeap) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}
