// SPDX-License-Identifier: Apache-2.0

package reachability

import "slices"

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
	for i := 0; i < len(t.units); {
		start := t.units[i].address() &^ (pageSize - 1)
		end, next := start, i
		for ; next < len(t.units) && t.units[next].address() < end+farApart; next++ {
			end = max(end, t.units[next].address()+t.shape(uint32(next)).bytes)
		}
		s := stretch{span: span{start, end}, first: make([]uint32, (end-start+pageSize-1)/pageSize+1)}
		at := i
		for p := range s.first {
			for at < next && t.units[at].address() < start+uint64(p)*pageSize {
				at++
			}
			s.first[p] = uint32(at)
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
			if middle := (low + high) / 2; t.units[middle].key < limit {
				low = middle + 1
			} else {
				high = middle
			}
		}
		if low == 0 {
			return 0, false
		}
		u := t.units[low-1]
		return low - 1, address-u.address() < t.shapes[u.number()].bytes
	}
	return 0, false
}

// without returns what of a range is in no unit, in order.
func (t *table) without(r span) []span {
	var out []span
	i, _ := slices.BinarySearchFunc(t.units, r.start, func(u unit, a uint64) int {
		if u.address()+t.shapes[u.number()].bytes <= a {
			return -1
		}
		return 1
	})
	for ; i < len(t.units) && t.units[i].address() < r.end; i++ {
		u := t.units[i]
		if u.address() > r.start {
			out = append(out, span{r.start, u.address()})
		}
		r.start = max(r.start, u.address()+t.shapes[u.number()].bytes)
	}
	if r.start < r.end {
		out = append(out, r)
	}
	return out
}
