// SPDX-License-Identifier: Apache-2.0

package reachability

import "sort"

// span is a range of addresses, end exclusive.
type span struct{ start, end uint64 }

// stretch is a range of addresses in which units lie close together.
type stretch struct {
	span
	// first has for each page the index of the first unit that begins on it or
	// behind it, and one more at its end.
	first []uint32
}

// index finds the unit that an address is in.
type index []stretch

// farApart is the distance at which units begin another stretch, bytes: a table
// of the pages between takes 64 kB.
const farApart = 64 << 20

func newIndex(t *table) index {
	var x index
	n := uint32(len(t.keys))
	for i := uint32(0); i < n; {
		start := t.address(i) &^ (pageSize - 1)
		end, next := start, i
		for ; next < n && t.address(next) < end+farApart; next++ {
			end = max(end, t.end(next))
		}
		s := stretch{span: span{start, end}, first: make([]uint32, (end-start+pageSize-1)/pageSize+1)}
		at := i
		for p := range s.first {
			for at < next && t.address(at) < start+uint64(p)*pageSize {
				at++
			}
			s.first[p] = at
		}
		x = append(x, s)
		i = next
	}
	return x
}

// find returns the unit that the address is in.
func (t *table) find(address uint64) (i uint32, ok bool) {
	for k := range t.index {
		s := &t.index[k]
		if address-s.start >= s.end-s.start {
			continue
		}
		p := (address - s.start) / pageSize
		// The unit is the last that begins at the address or before it.
		low, high := s.first[p], s.first[p+1]
		limit := (address>>3 + 1) << shapeBits
		for low < high {
			if middle := (low + high) / 2; t.keys[middle] < limit {
				low = middle + 1
			} else {
				high = middle
			}
		}
		if low == 0 {
			return 0, false
		}
		return low - 1, address < t.end(low-1)
	}
	return 0, false
}

// without returns what of a range is in no unit, in order.
func (t *table) without(r span) []span {
	var out []span
	for i := t.firstBehind(r.start); i < uint32(len(t.keys)) && t.address(i) < r.end; i++ {
		if at := t.address(i); at > r.start {
			out = append(out, span{r.start, at})
		}
		r.start = max(r.start, t.end(i))
	}
	if r.start < r.end {
		out = append(out, r)
	}
	return out
}

// firstBehind returns the first unit that ends behind an address.
func (t *table) firstBehind(address uint64) uint32 {
	return uint32(sort.Search(len(t.keys), func(i int) bool { return t.end(uint32(i)) > address }))
}
