// SPDX-License-Identifier: Apache-2.0

package attribution

import (
	"reflect"
	"testing"

	"leakprof/bpf"
	"leakprof/profiler/reachability"
)

func TestGrown(t *testing.T) {
	a, b, c := &Stack{Key: 1}, &Stack{Key: 2}, &Stack{Key: 3}
	d := &Stack{Key: 4}
	from := &Heap{Samples: []Sample{
		// Before, the tree could not be read: page, and no pool.
		{Stack: a, Allocator: AllocatorPage, Objects: 5, Bytes: 500, Empty: 100},
		{Stack: b, Allocator: "mb", Objects: 2, Bytes: 20},
		{Stack: c, Allocator: "mb", Objects: 1, Bytes: 10},
	}}
	to := &Heap{Samples: []Sample{
		{Stack: a, Allocator: AllocatorSlab, Class: "Slab", Pool: "Root/x", Mark: 1, Objects: 5, Bytes: 500, Empty: 80},
		{Stack: a, Allocator: AllocatorSlab, Class: "Slab", Pool: "Root/y", Mark: 2, Objects: 3, Bytes: 300, Empty: 80},
		{Stack: b, Allocator: "mb", Objects: 1, Bytes: 10},
		{Stack: c, Allocator: "mb", Mark: 3, Objects: 1, Bytes: 10},
		// So many blocks are no arrays, empty or not.
		{Stack: d, Allocator: "mb", Mark: 3, Objects: arrayBlocks + 1, Bytes: 200, Empty: 150},
	}}
	got := Grown(from, to)
	want := []Retained{
		{Stack: a, Allocator: AllocatorSlab, Class: "Slab", Pool: "Root/x", Objects: 3, Bytes: 300, Empty: 60, Unknown: 300},
		{Stack: d, Allocator: "mb", Objects: arrayBlocks + 1, Bytes: 200, Unknown: 200},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v: net per stack", got, want)
	}
}

func TestGrownByClass(t *testing.T) {
	list, gone, queue, before := &Stack{Key: 7}, &Stack{Key: 8}, &Stack{Key: 9}, &Stack{Key: uint64(bpf.StackBefore)}
	head := &Stack{Key: 10}
	held, lost, unknown := reachability.Held, reachability.Lost, reachability.Unknown
	from := &Heap{Reach: &Reach{}, Samples: []Sample{
		{Stack: list, Allocator: "mb", Objects: 10, Bytes: 1000, Reach: held},
		{Stack: gone, Allocator: "mb", Objects: 5, Bytes: 500, Reach: held},
		{Stack: before, Allocator: "mb", Pool: "Root/a", Objects: 4, Bytes: 400, Reach: held},
		{Stack: before, Allocator: "mb", Pool: "Root/b", Objects: 4, Bytes: 400, Reach: lost},
	}}
	to := &Heap{Reach: &Reach{}, Samples: []Sample{
		// More than half of what came is lost.
		{Stack: list, Allocator: "mb", Mark: 2, Objects: 6, Bytes: 600, Reach: lost},
		{Stack: list, Allocator: "mb", Mark: 2, Objects: 14, Bytes: 1400, Reach: held, Holders: []Holder{{Class: "Memory", Pool: "Root/x", Stack: head, Objects: 3}}},
		// Fewer than before, but they are lost.
		{Stack: gone, Allocator: "mb", Objects: 2, Bytes: 200, Reach: lost},
		{Stack: queue, Allocator: "page", Mark: 2, Objects: 1, Bytes: 4096, Reach: held, Holders: []Holder{{Root: "queue of bird", Objects: 1}}},
		{Stack: queue, Allocator: "page", Mark: 3, Objects: 2, Bytes: 8192, Reach: held, Holders: []Holder{{Class: "Memory", Pool: "Root/y", Stack: head, Objects: 2}}},
		{Stack: queue, Allocator: "page", Mark: 3, Objects: 1, Bytes: 4096, Reach: unknown, Holders: []Holder{{Why: "two looks in a row disagree", Objects: 1}}},
		// What was lost before is no more than it was; of Root/a something is now.
		{Stack: before, Allocator: "mb", Pool: "Root/a", Objects: 3, Bytes: 300, Reach: held},
		{Stack: before, Allocator: "mb", Pool: "Root/a", Objects: 1, Bytes: 100, Reach: lost},
		{Stack: before, Allocator: "mb", Pool: "Root/b", Objects: 4, Bytes: 400, Reach: lost},
	}}
	got := Grown(from, to)
	want := []Retained{
		{Stack: queue, Allocator: "page", Objects: 4, Bytes: 16384, Held: 12288, Unknown: 4096, Holders: []Holder{
			{Class: "Memory", Pool: "Root/y", Stack: head, Objects: 2}, {Root: "queue of bird", Objects: 1}, {Why: "two looks in a row disagree", Objects: 1},
		}},
		{Stack: list, Allocator: "mb", Objects: 10, Bytes: 1000, Lost: 600, LostObjects: 6, Held: 400, Holders: []Holder{{Class: "Memory", Pool: "Root/x", Stack: head, Objects: 3}}},
		{Stack: gone, Allocator: "mb", Objects: 2, Bytes: 200, Lost: 200, LostObjects: 2},
		{Stack: before, Allocator: "mb", Pool: "Root/a", Objects: 1, Bytes: 100, Lost: 100, LostObjects: 1},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	for i, class := range []reachability.Class{held, lost, lost, lost} {
		if got[i].Reach() != class {
			t.Errorf("%d is %v, want %v", i, got[i].Reach(), class)
		}
	}
	// Those whose class nobody looked for.
	to.Reach = nil
	for _, r := range Grown(from, to)[:1] {
		if r.Unknown != r.Bytes || r.Reach() != unknown {
			t.Errorf("without a look %+v is known", r)
		}
	}

	lostNow := LostIn(to)
	if len(lostNow) != 4 || lostNow[0].Bytes != 600 || lostNow[1].Bytes != 400 || lostNow[1].Pool != "Root/b" || lostNow[0].Reach() != lost {
		t.Errorf("lost are %+v", lostNow)
	}
}
