// SPDX-License-Identifier: Apache-2.0

package reachability

import (
	"encoding/binary"
	"os"
	"testing"

	"leakprof/profiler/bird"
	"leakprof/profiler/bird/tree"
	"leakprof/profiler/target"
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

func TestWasSent(t *testing.T) {
	const page = 0x7000_0000
	for _, c := range []struct {
		name string
		head []uint64
		want bool
	}{
		{"last", []uint64{0, page + 100}, true},
		{"followed by another", []uint64{page + 5*pageSize, page + 16}, true},
		{"full", []uint64{0, page + pageSize}, true},
		{"not begun", []uint64{0, page}, false},
		{"filled to elsewhere", []uint64{0, page + pageSize + 1}, false},
		{"followed by no page", []uint64{page + 8, page + 100}, false},
	} {
		if got := wasSent(page, c.head); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

// TestQueued lays out the resource of a queue, its owner, and pages.
func TestQueued(t *testing.T) {
	const header = 24
	for _, waits := range []bool{false, true} {
		a := newArena(t, 4*pageSize)
		binary.LittleEndian.PutUint64(a.data[header:], a.base+pageSize)
		if waits {
			binary.LittleEndian.PutUint64(a.data[pageSize+200:], a.base+3*pageSize)
		}
		p, err := target.Open(os.Getpid())
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		got, err := queued(p, header, []uint64{a.base}, map[uint64]bool{a.base + 2*pageSize: true, a.base + 3*pageSize: true})
		if got != waits || err != nil {
			t.Errorf("%v, %v, want %v", got, err, waits)
		}
	}
}
