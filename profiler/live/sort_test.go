// SPDX-License-Identifier: Apache-2.0

package live

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestSortByAddress(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, c := range []struct {
		what    string
		n       int
		address func(i int) uint64
	}{
		{"none", 0, nil},
		{"few", 100, func(int) uint64 { return random.Uint64() }},
		{"anywhere", 5000, func(int) uint64 { return random.Uint64() }},
		{"a heap, and maps", 5000, func(i int) uint64 {
			return []uint64{0x55d0_0000_0000, 0x7f12_0000_0000}[i%2] + 16*random.Uint64N(1<<20)
		}},
		{"in the last bits", 5000, func(int) uint64 { return 0x1000 + random.Uint64N(16) }},
		{"one", 5000, func(int) uint64 { return 0x1000 }},
		{"in order", 5000, func(i int) uint64 { return uint64(16 * i) }},
		{"backwards", 5000, func(i int) uint64 { return uint64(16 * (5000 - i)) }},
	} {
		blocks := make([]Block, c.n)
		for i := range blocks {
			a := c.address(i)
			blocks[i] = Block{Address: a, Size: ^a}
		}
		want := slices.SortedFunc(slices.Values(blocks), func(a, b Block) int { return cmp.Compare(a.Address, b.Address) })
		if sortByAddress(blocks); !slices.Equal(blocks, want) {
			t.Errorf("%s: not sorted, or not the same", c.what)
		}
	}
}
