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
