// SPDX-License-Identifier: Apache-2.0

package attribution

import (
	"slices"
	"testing"

	"leakprof/bpf"
	"leakprof/profiler/bird/tree"
	"leakprof/profiler/live"
)

// TestLiveLinpoolObjects: records of objects that a flush or a restore dropped
// are not live, although nothing ever said that they were freed.
func TestLiveLinpoolObjects(t *testing.T) {
	t.Parallel()
	const start, end = 0x1000, 0x2000
	object := func(address, time uint64, size uint32) live.LinpoolObject {
		return live.LinpoolObject{Address: address, Time: time, Size: size}
	}
	for _, c := range []struct {
		name string
		all  []live.LinpoolObject
		fill uint64 // memory from here on is not in use
		want []uint64
	}{
		{"in order", []live.LinpoolObject{object(0x1010, 1, 16), object(0x1020, 2, 32), object(0x1040, 3, 8)}, end, []uint64{0x1010, 0x1020, 0x1040}},
		{"other pages", []live.LinpoolObject{object(0xff0, 1, 16), object(0x1010, 2, 16), object(0x2000, 3, 16)}, 0x3000, []uint64{0x1010}},
		{"behind the fill mark", []live.LinpoolObject{object(0x1010, 1, 16), object(0x1020, 2, 16)}, 0x1020, []uint64{0x1010}},
		{"left of the last filling", []live.LinpoolObject{object(0x1010, 5, 16), object(0x1020, 6, 16), object(0x1030, 3, 16), object(0x1040, 4, 16)}, end, []uint64{0x1010, 0x1020}},
		{"below a younger object", []live.LinpoolObject{object(0x1010, 5, 64), object(0x1020, 2, 16), object(0x1050, 6, 16)}, end, []uint64{0x1010, 0x1050}},
		// The record of 0x1010 was made, and then the chunk filled anew from there
		// on by an allocation that was not seen.
		{"reaches into a younger one", []live.LinpoolObject{object(0x1010, 1, 64), object(0x1020, 2, 16)}, end, []uint64{0x1020}},
		{"none", nil, end, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []uint64
			for _, o := range liveLinpoolObjects(c.all, start, end, func(a uint64) bool { return a < c.fill }) {
				got = append(got, o.Address)
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("live at %#x, want %#x", got, c.want)
			}
		})
	}
}

// TestAddObjects charges pages to objects: in equal shares that make up the
// page, and under what says so where nobody saw them allocated.
func TestAddObjects(t *testing.T) {
	t.Parallel()
	const taken = bpf.StackBefore + 7
	full := tree.Page{Address: 0x1000, Class: "Slab", Used: 3, Capacity: 3, ObjectSize: 100, Stride: 112, HeadSize: 64, Free: 3696}
	torn := tree.Page{Address: 0x1000, Class: "Slab", Used: 3, Free: 100} // of which the bitmap shows nothing
	for _, c := range []struct {
		name   string
		page   tree.Page
		stack  uint32 // of who took the page
		want   uint32
		unseen uint64
	}{
		{"not seen", full, taken, bpf.StackNone, 3},
		{"from before", full, bpf.StackBefore, bpf.StackBefore, 0},
		{"bitmap of another moment", torn, taken, taken, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := New(nil, nil, Options{})
			snapshot := &live.Snapshot{Stacks: map[uint32]live.Stack{taken: {}}}
			sums, h := newSums(a, snapshot, nil), &Heap{}
			a.addObjects(sums, h, live.Block{Address: c.page.Address, Size: 4096, Stack: c.stack}, kind{page: &c.page})
			samples := sums.samples()
			if len(samples) != 1 {
				t.Fatalf("%d samples, want one: %+v", len(samples), samples)
			}
			s := samples[0]
			if s.Stack.Key != uint64(c.want) || s.Objects != 3 || s.Bytes != 4096 || s.Slack != c.page.Free || h.Unseen != c.unseen {
				t.Errorf("%d objects of %d bytes, %d of them free, by stack %d, %d unseen; want 3 of 4096, %d, %d, %d",
					s.Objects, s.Bytes, s.Slack, s.Stack.Key, h.Unseen, c.page.Free, c.want, c.unseen)
			}
		})
	}
}
