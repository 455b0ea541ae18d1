// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"slices"
	"testing"
)

func TestMerge(t *testing.T) {
	for _, c := range []struct {
		name string
		all  []Lengths
		most int
		want []Lengths
	}{
		{"none", nil, 4, nil},
		{"sorted", []Lengths{{9, 10}, {1, 2}}, 4, []Lengths{{1, 2}, {9, 10}}},
		{"the same twice", []Lengths{{8, 8}, {8, 8}}, 4, []Lengths{{8, 8}}},
		{"one in the other", []Lengths{{1, 9}, {3, 5}, {9, 12}}, 4, []Lengths{{1, 12}}},
		{"the nearest become one", []Lengths{{1, 2}, {100, 101}, {5, 6}, {500, 500}}, 3, []Lengths{{1, 6}, {100, 101}, {500, 500}}},
		{"all become one", []Lengths{{1, 2}, {100, 101}, {5, 6}}, 1, []Lengths{{1, 101}}},
		{"large", []Lengths{{1 << 63, 1 << 63}, {0, 1}}, 4, []Lengths{{0, 1}, {1 << 63, 1 << 63}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := slices.Clone(c.all)
			if got := Merge(c.all, c.most); !slices.Equal(got, c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
			if !slices.Equal(before, c.all) {
				t.Errorf("the argument has become %v", c.all)
			}
		})
	}
}

func TestOnly(t *testing.T) {
	for _, c := range []struct {
		only *Only
		text string
		want []Event
	}{
		{nil, "nothing", nil},
		{&Only{}, "nothing", nil},
		{&Only{Blocks: []Lengths{{4096, 4096}}}, "blocks of 4096 B", []Event{BlockAllocated, BlockResized}},
		{&Only{Pages: true}, "pages", []Event{PageTaken}},
		{&Only{Objects: []Lengths{{56, 71}}}, "objects of 56 to 71 B", []Event{PageTaken, SlabObjectAllocated}},
		{&Only{Blocks: []Lengths{{1, 2}, {8, 8}}, Objects: []Lengths{{56, 71}}, Pages: true}, "blocks of 1 to 2, 8 B, objects of 56 to 71 B and pages",
			[]Event{BlockAllocated, BlockResized, PageTaken, SlabObjectAllocated}},
	} {
		t.Run(c.text, func(t *testing.T) {
			if got := c.only.String(); got != c.text {
				t.Errorf("%q, want %q", got, c.text)
			}
			var followed []Event
			for _, e := range []Event{BlockAllocated, BlockResized, BlockFreed, PageTaken, PageReturned, SlabObjectAllocated, LinpoolObjectAllocated} {
				if (Options{Mode: Auto, Only: c.only}).Follows(e) {
					followed = append(followed, e)
				}
				if (Options{Mode: Walk, Only: c.only}).Follows(e) {
					t.Errorf("a walk follows %q", e)
				}
			}
			if !slices.Equal(followed, c.want) {
				t.Errorf("follows %q, want %q", followed, c.want)
			}
		})
	}
}
