// SPDX-License-Identifier: Apache-2.0

package reachability

import (
	"testing"

	"leakprof/profiler/bird"
	"leakprof/profiler/bird/tree"
)

func TestWasOf(t *testing.T) {
	const slab, mslab, linpool, block = 0x1000, 0x2000, 0x3000, 0x4000
	classes := map[uint64]string{slab: "Slab", mslab: "mslab", linpool: "LinPool"}
	old := tree.Layout{Generation: bird.BIRD2, SlabHead: 28}
	newer := tree.Layout{Generation: bird.BIRD2, SlabHead: 36}
	three := tree.Layout{Generation: bird.BIRD3, SlabHead: 36}
	for _, c := range []struct {
		name   string
		layout tree.Layout
		head   []uint64
		want   bool
	}{
		{"empty page of a slab", newer, []uint64{slab, 1, 2, 3, 0xffffffff_0001_0000}, true},
		{"page of a slab with an object", newer, []uint64{slab, 1, 2, 3, 1}, false},
		{"empty page before 2.16", old, []uint64{slab, 1, 2, 0x0001_0000, 1}, true},
		{"page with an object before 2.16", old, []uint64{slab, 1, 2, 1, 0}, false},
		{"page of a slab whose head is not known", tree.Layout{}, []uint64{slab, 0, 0, 0, 0}, false},
		{"empty page of an mslab", three, []uint64{mslab, 1, 0x0001_0000, 3, 4}, true},
		{"page of an mslab with objects", three, []uint64{mslab, 0, 0x0001_0002, 0, 0}, false},
		{"chunk of a linpool", three, []uint64{7, linpool, 2, 3, 4}, true},
		{"in BIRD 2 something that begins with objects", newer, []uint64{7, linpool, 2, 3, 4}, false},
		{"of nobody", three, []uint64{block, 1, 2, 3, 0}, false},
	} {
		if got := wasOf(c.layout, classes, c.head); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}
