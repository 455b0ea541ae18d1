// SPDX-License-Identifier: Apache-2.0

package live

import (
	"cmp"
	"math/bits"
	"slices"
)

// sortByAddress sorts blocks in place, by the digits of their addresses from the first
// one in which they differ on (the American flag sort of McIlroy, Bostic and McIlroy,
// Computing Systems 6(1), 1993): to compare five million of them takes seconds.
func sortByAddress(blocks []Block) {
	const (
		digit = 8   // bits
		few   = 256 // that are sorted faster by comparing them
	)
	if len(blocks) <= few {
		slices.SortFunc(blocks, func(a, b Block) int { return cmp.Compare(a.Address, b.Address) })
		return
	}
	var differ uint64
	for i := range blocks {
		differ |= blocks[i].Address ^ blocks[0].Address
	}
	if differ == 0 {
		return
	}
	shift := max(bits.Len64(differ), digit) - digit
	digitOf := func(b *Block) uint8 { return uint8(b.Address >> shift) }
	var next, end [1 << digit]int
	for i := range blocks {
		end[digitOf(&blocks[i])]++
	}
	for d := 1; d < len(end); d++ {
		next[d] = end[d-1]
		end[d] += end[d-1]
	}
	for d := range end {
		for next[d] < end[d] {
			b := &blocks[next[d]]
			to := digitOf(b)
			if int(to) != d {
				*b, blocks[next[to]] = blocks[next[to]], *b
			}
			next[to]++
		}
	}
	from := 0
	for _, to := range end {
		sortByAddress(blocks[from:to])
		from = to
	}
}
