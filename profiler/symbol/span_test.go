// SPDX-License-Identifier: Apache-2.0

package symbol

import (
	"math/rand/v2"
	"testing"
)

// TestSpanTable compares with asking every span.
func TestSpanTable(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		var spans []span
		for i := range rng.IntN(12) {
			lo := rng.Uint64N(40)
			spans = append(spans, span{lo, lo + rng.Uint64N(20), uint64(rng.IntN(4))<<32 | uint64(i), int32(i)})
		}
		want := func(addr uint64) (id int32, ok bool) {
			var best span
			for _, s := range spans {
				if s.lo <= addr && addr < s.hi && (!ok || s.rank > best.rank) {
					best, ok = s, true
				}
			}
			return best.id, ok
		}
		table := newSpanTable(spans)
		for addr := range uint64(64) {
			id, ok := table.find(addr)
			if wantID, wantOK := want(addr); id != wantID || ok != wantOK {
				t.Fatalf("find(%d) = %d, %v, want %d, %v in %v", addr, id, ok, wantID, wantOK, spans)
			}
		}
		for i := range table {
			if table[i].lo >= table[i].hi || i > 0 && table[i-1].hi > table[i].lo {
				t.Fatalf("segments overlap or are empty: %v", table)
			}
		}
	}
}
