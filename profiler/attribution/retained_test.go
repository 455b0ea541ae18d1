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

// TestReplacements: what comes in the place of other memory of the same pool and
// class is no growth, whoever held that before, and what is lost is in nobody's.
func TestReplacements(t *testing.T) {
	const lost = reachability.Lost
	flood, churn, before := &Stack{Key: 11}, &Stack{Key: 12}, &Stack{Key: uint64(bpf.StackBefore)}
	route := func(s *Stack, pool string, objects uint64, class reachability.Class) Sample {
		return Sample{Stack: s, Allocator: AllocatorSlab, Class: "Slab", Pool: pool, Objects: objects, Bytes: 50 * objects, Reach: class}
	}
	for _, c := range []struct {
		name     string
		from, to []Sample
		byStack  bool
		want     int64 // bytes of churn
	}{
		{"another stack", []Sample{route(flood, "Root/t", 10, 0)}, []Sample{route(churn, "Root/t", 10, 0)}, true, 500},
		{"another stack, of sessions", []Sample{route(flood, "Root/t", 10, 0)}, []Sample{route(churn, "Root/t", 10, 0)}, false, 0},
		{"from before", []Sample{route(before, "Root/t", 10, 0)}, []Sample{route(churn, "Root/t", 10, 0)}, false, 500},
		{"half of it", []Sample{route(flood, "Root/t", 10, 0)}, []Sample{route(flood, "Root/t", 5, 0), route(churn, "Root/t", 10, 0)}, true, 250},
		{"of another pool", []Sample{route(flood, "Root/t", 10, 0)}, []Sample{route(churn, "Root/u", 10, 0)}, true, 0},
		{"in two pools", []Sample{route(flood, "Root/t", 10, 0), route(flood, "Root/u", 10, 0)}, []Sample{route(churn, "Root/t", 4, 0), route(churn, "Root/u", 10, 0)}, true, 700},
		{"of no pool", []Sample{route(flood, "", 10, 0)}, []Sample{route(churn, "", 10, 0)}, true, 0},
		{"lost", []Sample{route(flood, "Root/t", 10, 0)}, []Sample{route(churn, "Root/t", 6, lost), route(churn, "Root/t", 4, 0)}, true, 200},
		{"of another class", []Sample{{Stack: flood, Allocator: AllocatorMB, Class: "Memory", Pool: "Root/t", Objects: 1, Bytes: 500}}, []Sample{route(churn, "Root/t", 10, 0)}, true, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			from, to := &Heap{Samples: c.from, Reach: &Reach{}}, &Heap{Samples: c.to, Reach: &Reach{}}
			grown := Grown(from, to)
			by := Replacements(from, to, c.byStack)
			Replace(grown, by)
			if len(grown) != 1 || grown[0].Stack != churn || grown[0].Replaced != c.want || grown[0].Content() != grown[0].Bytes-c.want {
				t.Errorf("got %+v, want %d bytes replaced", grown, c.want)
			}
			var objects int64
			for _, r := range by {
				objects += r.Objects
			}
			if objects != c.want/50 {
				t.Errorf("%d objects replaced, want %d", objects, c.want/50)
			}
		})
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
