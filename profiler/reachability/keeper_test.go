// SPDX-License-Identifier: Apache-2.0

package reachability

import (
	"testing"

	"leakprof/profiler/live"
)

// TestKeepers: an element of a list is kept by who has the list, not by the
// element before it.
func TestKeepers(t *testing.T) {
	const elements, elementStack, headStack, otherStack = 5000, 11, 12, 13
	a := newArena(t, 1<<20)
	s := new(live.Snapshot)
	block := func(offset uint64, stack uint32, to ...uint64) {
		a.unit(offset, shape{64, 0, 64, foreignUnit}, 0, to...)
		s.Blocks = append(s.Blocks, live.Block{Address: a.base + offset, Size: 64, Stack: stack})
	}
	at := func(i int) uint64 { return uint64(i+10) * 64 }
	const head, other, alone, lostHead = 64, 128, 192, 256
	block(0, headStack, head, other)
	block(head, headStack, at(0))
	block(other, otherStack, alone)
	block(alone, elementStack)
	block(lostHead, elementStack)
	for i := range elements {
		next := at(i + 1)
		if i == elements-1 {
			next = at(0)
		}
		block(at(i), elementStack, next)
	}
	r := a.result(0)
	r.live = s
	k := r.Keepers()
	// From the end on, so that the others are known already.
	for i := elements - 1; i >= 0; i-- {
		if c, by := k.Of(a.base + at(i)); c != Held || by.Address != a.base+head || by.Stack != headStack {
			t.Fatalf("element %d is %v by %+v, want by the head at 0x%x", i, c, by, a.base+head)
		}
	}
	if k.steps > elements {
		t.Errorf("%d steps for %d elements: what is known is looked for again", k.steps, elements)
	}
	if c, by := k.Of(a.base + alone); c != Held || by.Stack != otherStack {
		t.Errorf("a block beside the list is %v by %+v", c, by)
	}
	// The head and what holds it are of one stack, and that is held by a root.
	if c, by := k.Of(a.base + head); c != Held || by.Root == "" {
		t.Errorf("the head is %v by %+v, want by a root", c, by)
	}
	if c, by := k.Of(a.base + lostHead); c != Lost || by.Root != "" || by.Address != 0 {
		t.Errorf("what is lost is %v by %+v", c, by)
	}
	for offset := range uint64(1 << 19 / 64) {
		address := a.base + offset*64
		if got, want := r.ClassOf(address), func() Class { c, _ := r.Of(address); return c }(); got != want {
			t.Fatalf("class of %d is %v, want %v", offset, got, want)
		}
	}
	// With no steps left it is at least the next one.
	k = r.Keepers()
	k.steps = keeperSteps
	if c, by := k.Of(a.base + at(100)); c != Held || by.Stack != elementStack {
		t.Errorf("element 100 is %v by %+v, want by the one before", c, by)
	}
}

// TestKeepersAstray: what points into the middle of a list and is nearer to the
// roots, as words left in memory that was taken anew, does not have the list. Of
// one that is linked both ways nobody can tell who has it.
func TestKeepersAstray(t *testing.T) {
	const elements, listStack, headStack, strayStack = 5000, 11, 12, 13
	for _, ring := range []bool{false, true} {
		a := newArena(t, 1<<20)
		s := new(live.Snapshot)
		block := func(offset, size uint64, stack uint32, to ...uint64) {
			a.unit(offset, shape{size, 0, size, foreignUnit}, 0, to...)
			s.Blocks = append(s.Blocks, live.Block{Address: a.base + offset, Size: size, Stack: stack})
		}
		at := func(i int) uint64 { return uint64(i+10) * 64 }
		const owner, head, stray = 64, 256, 192
		block(0, 24, headStack, owner, stray)
		block(owner, 32, headStack, head)
		block(stray, 40, strayStack, at(elements/3), at(elements/2))
		block(head, 48, headStack, at(0))
		for i := range elements {
			to := []uint64{at(min(i+1, elements-1))}
			if ring {
				to = append(to, at(max(i-1, 0)))
			}
			block(at(i), 64, listStack, to...)
		}
		r := a.result(0)
		r.live = s
		k := r.Keepers()
		for _, i := range []int{elements - 1, elements / 2, elements/2 - 1, elements / 3, 0, 1, elements/3 + 1} {
			c, by := k.Of(a.base + at(i))
			if want := a.base + head; c != Held || by.Address != want && !(ring && by.Address == a.base+stray) {
				t.Errorf("linked both ways: %v: element %d is %v by %+v, want by the head at 0x%x", ring, i, c, by, want)
			}
		}
	}
}
