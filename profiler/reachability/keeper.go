// SPDX-License-Identifier: Apache-2.0

package reachability

// ClassOf returns the class that Of returns, and does not look for the holder.
func (r *Result) ClassOf(address uint64) Class {
	if i, ok := r.table.find(address); ok {
		return r.class(i)
	}
	c, _ := r.ofPage(address)
	return c
}

// keeperSteps bounds how many holders Keepers goes past in all: among some
// millions of elements of one list they would be as many for each.
const keeperSteps = 1 << 22

// Keepers finds who keeps memory from without. It is not to be used by several
// goroutines at once.
type Keepers struct {
	r *Result
	// next has for a unit that was gone past the last one known of its own kind.
	next  map[uint32]uint32
	steps int
}

// Keepers returns a finder of keepers.
func (r *Result) Keepers() *Keepers {
	return &Keepers{r: r, next: make(map[uint32]uint32)}
}

// Of returns the class of the live memory at an address as Result.Of does, but
// as its holder the first one, on the way to the root, that another stack has
// allocated or that is of another pool or class: for an element of a list not
// the element before it but who has the list.
func (k *Keepers) Of(address uint64) (Class, Holder) {
	r := k.r
	first, ok := r.table.find(address)
	if !ok {
		return r.ofPage(address)
	}
	c := r.class(first)
	if c != Held {
		return c, r.holder(first, c)
	}
	i := first
	var passed []uint32
	entered := make(map[uint32]bool) // where something else points into the list
	for k.steps < keeperSteps {
		if n, known := k.next[i]; known {
			i = n
			continue
		}
		next, ok := k.within(i)
		if !ok {
			if entered[i] {
				break // the list is a ring
			}
			entered[i] = true
			if next, ok = r.reach.before[i]; !ok || !k.alike(i, next) {
				break
			}
		}
		passed = append(passed, i)
		i = next
		k.steps++
	}
	for _, p := range passed {
		if p != i {
			k.next[p] = i
		}
	}
	return c, r.holder(i, c)
}

// within returns the holder of a unit if it is alike.
func (k *Keepers) within(i uint32) (holder uint32, ok bool) {
	by := k.r.reach.holder[i]
	if by == unreached || by&fromRoot != 0 {
		return 0, false
	}
	holder = by&^doubtful - 1
	return holder, k.alike(i, holder)
}

// alike says whether two units are of one stack, one pool and one class.
func (k *Keepers) alike(a, b uint32) bool {
	r := k.r
	if r.stack(a) != r.stack(b) {
		return false
	}
	poolA, classA := r.place(a)
	poolB, classB := r.place(b)
	return poolA == poolB && classA == classB
}
