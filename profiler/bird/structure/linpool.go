// SPDX-License-Identifier: Apache-2.0

package structure

import "slices"

// Fields of struct linpool, from K+8 on the same in both generations up to
// first_large; then BIRD 3 has initial, and both total and total_large.
func (f *finder) lpPtr() int64     { return f.k + 8 }
func (f *finder) lpFirst() int64   { return f.k + 24 }
func (f *finder) lpCurrent() int64 { return f.k + 32 }
func (f *finder) lpLarge() int64   { return f.k + 40 }
func (f *finder) lpInitial() int64 { return f.k + 48 } // BIRD 3
func (f *finder) lpTotalLarge() int64 {
	if f.third() {
		return f.k + 60
	}
	return f.k + 52
}

// Fields of struct lp_state, the same in both generations.
const (
	stateLarge      = 16 // BIRD 3; 8 in BIRD 2
	stateTotalLarge = 24
)

// findLinpools finds the functions of lib/mempool.c.
func (f *finder) findLinpools() {
	f.search("lp_new", false, f.referencing(classLinpool), func(b behavior) ([]string, bool) {
		return []string{"makes a resource of class LinPool in its first argument and returns it", "uses no second argument"},
			f.constructs(b, classLinpool) && !b.some(func(p path) bool { return p.usesArgument(1) })
	})
	aligning := f.using(f.aligning(), 1024, f.lpPtr())
	f.search("lp_alloc", false, aligning, f.isLpAlloc)
	if f.third() {
		f.search("lp_alloc_slow", false, f.callersOf(f.addresses("alloc_page")...), f.isLpAllocSlow)
	}
	slow := append(f.addresses("lp_alloc"), f.addresses("lp_alloc_slow")...)
	callers := f.using(unique(slices.Concat(f.callersOf(slow...), aligning, f.callersOf(f.addresses("alloc_page")...))), 512)
	f.search("lp_allocz", false, callers, f.isLpAllocz)
	f.search("lp_allocu", false, callers, f.isLpAllocu)
	f.search("lp_save", false, f.using(f.saveCandidates(), 512, f.lpTotalLarge()), f.isLpSave)
	freeing := f.using(f.callersOfHeap("free", f.freers), 1024, f.lpLarge(), f.lpTotalLarge())
	f.search("lp_restore", false, freeing, f.isLpRestore)
	if f.third() {
		freeing = append(freeing, f.callersOf(f.addresses("lp_restore")...)...)
		f.search("lp_flush", false, unique(freeing), f.isLpFlush3)
	} else {
		f.search("lp_flush", false, freeing, f.isLpFlush2)
	}
}

// aligning returns the functions that round up to 8 or 16.
func (f *finder) aligning() (list []uint64) {
	for _, e := range f.extents {
		if e.Called && f.aligns[e.Start] {
			list = append(list, e.Start)
		}
	}
	return list
}

// usesArgument says whether the path uses argument n in a call as the same
// argument, or anywhere else but there.
func (p path) usesArgument(n int64) bool {
	is := func(t *term) bool { return t.op == opArgument && t.n == n }
	return p.some(func(e *event) bool {
		return e.address.find(is) != nil || e.value.find(is) != nil || e.x.find(is) != nil || e.y.find(is) != nil
	})
}

// bumps says whether a path takes the next bytes of the linpool: ptr becomes p
// + size, p is returned.
func (f *finder) bumps(p path, from func(f *finder, p value) bool) bool {
	next, ok := p.stored(p.first(0).plus(f.lpPtr()))
	if !ok || !from(f, p.result) {
		return false
	}
	size, ok := difference(next, p.result)
	return ok && size.argument(1)
}

// difference returns what was added to b to make a.
func difference(a, b value) (value, bool) {
	if a.t == nil || a.t.op != opSum || a.c != b.c {
		return value{}, false
	}
	switch {
	case a.t.x.t == b.t:
		return a.t.y, true
	case a.t.y.t == b.t:
		return a.t.x, true
	}
	return value{}, false
}

// alignedPointer says whether p is m->ptr rounded up, (m->ptr + 15) & ~15, of a
// linpool m.
func alignedPointer(f *finder, p value) (m value, ok bool) {
	if !p.is(opAnd) || !p.t.y.isConstant() {
		return value{}, false
	}
	align := -p.t.y.c // 16; 8 in 3.0.0
	if align != 8 && align != 16 || p.t.x.c != align-1 {
		return value{}, false
	}
	at, ok := p.t.x.plus(1 - align).load()
	return at.plus(-f.lpPtr()), ok
}

func isAlignedPointer(f *finder, p value) bool {
	m, ok := alignedPointer(f, p)
	return ok && m.argument(0)
}

func isBarePointer(f *finder, p value) bool {
	at, ok := p.load()
	return ok && at.plus(-f.lpPtr()).argument(0)
}

// isLpAlloc: the linpool's pointer rounded up to 16, if there is room behind it
// for size bytes. Arguments: linpool, size.
func (f *finder) isLpAlloc(b behavior) ([]string, bool) {
	bumps := func(p path) bool { return f.bumps(p, isAlignedPointer) }
	return []string{
		"returns the pointer at K+8 of its first argument, rounded up to 16",
		"stores the sum of that and its second argument there",
	}, b.some(bumps) && !b.some(func(p path) bool { return bumps(p) && p.clears(p.result) || f.bumps(p, isBarePointer) })
}

// isLpAllocu: lp_alloc without rounding up.
func (f *finder) isLpAllocu(b behavior) ([]string, bool) {
	return []string{
			"returns the pointer at K+8 of its first argument as it is, and stores the sum of that and its second argument there",
			"otherwise does what lp_alloc or lp_alloc_slow does with its arguments, or calls it",
		}, b.some(func(p path) bool { return f.bumps(p, isBarePointer) }) &&
			b.some(func(p path) bool {
				return f.callsLpAlloc(p, p.result) || f.bumps(p, isAlignedPointer) || f.addsChunk(p)
			})
}

// callsLpAlloc says whether a path gets the block from lp_alloc or
// lp_alloc_slow with its own arguments.
func (f *finder) callsLpAlloc(p path, block value) bool {
	return p.some(func(e *event) bool {
		return (f.calls(e, "lp_alloc") || f.calls(e, "lp_alloc_slow")) &&
			e.call.args[0].argument(0) && e.call.args[1].argument(1) && e.result == block
	})
}

// isLpAllocz: lp_alloc, called or copied, then memset to 0.
func (f *finder) isLpAllocz(b behavior) ([]string, bool) {
	return []string{"returns what lp_alloc gives for its arguments", "clears as many bytes of it as its second argument says"},
		b.all(func(p path) bool {
			return p.clearsExactly(p.result, func(size value) bool { return size.argument(1) })
		}) && b.some(func(p path) bool { return f.callsLpAlloc(p, p.result) || f.bumps(p, isAlignedPointer) })
}

// isLpAllocSlow (BIRD 3): a new chunk. Arguments: linpool, size.
func (f *finder) isLpAllocSlow(b behavior) ([]string, bool) {
	return []string{"makes a page from alloc_page the current chunk of its first argument", "mallocs a large chunk for its second argument"},
		b.some(f.addsChunk) && b.some(func(p path) bool {
			return p.some(func(e *event) bool { size, ok := f.allocates(e); return ok && size.plus(-size.c).argument(1) })
		}) && !b.some(func(p path) bool { return f.bumps(p, isAlignedPointer) || f.bumps(p, isBarePointer) })
}

// addsChunk says whether a page from alloc_page becomes the current chunk.
func (f *finder) addsChunk(p path) bool {
	current, ok := p.stored(p.first(0).plus(f.lpCurrent()))
	return ok && p.some(func(e *event) bool { return f.calls(e, "alloc_page") && e.result == current })
}

// saveCandidates are functions near the other linpool functions, which are
// small and call at most lp_alloc.
func (f *finder) saveCandidates() (list []uint64) {
	const span, largest = 0x1000, 512
	near := append(f.addresses("lp_alloc"), f.addresses("lp_free")...)
	for _, e := range f.extents {
		for _, a := range near {
			if e.Called && e.End-e.Start <= largest && e.Start+span > a && a+span > e.Start {
				list = append(list, e.Start)
				break
			}
		}
	}
	return unique(append(list, f.callersOf(append(f.addresses("lp_alloc"), f.addresses("lp_alloc_slow")...)...)...))
}

// isLpSave: the state has the current chunk, the first large one and the bytes
// in large ones. In BIRD 2 it is argument 1, in BIRD 3 it is taken from the
// linpool and returned.
func (f *finder) isLpSave(b behavior) ([]string, bool) {
	large := int64(8)
	if f.third() {
		large = stateLarge
	}
	return []string{"copies the bytes in large chunks of its first argument to offset 24 of a state", "copies the first large chunk and the current one to it"},
		b.all(func(p path) bool {
			state := p.first(1)
			if f.third() {
				state = p.result
			}
			total, ok1 := p.stored(state.plus(stateTotalLarge))
			first, ok2 := p.stored(state.plus(large))
			_, flushed := p.stored(p.first(0).plus(f.lpInitial()))
			return ok1 && ok2 && !(flushed && f.third()) && f.isField(total, f.lpTotalLarge()) && f.isField(first, f.lpLarge())
		})
}

// isField says whether v was read from argument 0 at an offset.
func (f *finder) isField(v value, offset int64) bool {
	at, ok := v.load()
	return ok && at.plus(-offset).argument(0)
}

// freesLarge says whether a path frees the linpool's first large chunk.
func (f *finder) freesLarge(p path) bool {
	return p.some(func(e *event) bool { block, ok := f.frees(e); return ok && f.isField(block, f.lpLarge()) })
}

// isLpRestore: the linpool goes back to the state, large chunks made since are
// freed. Arguments: linpool, state.
func (f *finder) isLpRestore(b behavior) ([]string, bool) {
	return []string{"frees the large chunks of its first argument", "takes the bytes in large chunks back from offset 24 of its second argument"},
		b.some(f.freesLarge) && b.all(func(p path) bool {
			total, ok := p.stored(p.first(0).plus(f.lpTotalLarge()))
			at, isLoad := total.load()
			return ok && isLoad && at.plus(-stateTotalLarge).argument(1)
		})
}

// isLpFlush2 (BIRD 2): back to the first chunk, all large ones are freed.
// Argument: linpool.
func (f *finder) isLpFlush2(b behavior) ([]string, bool) {
	return []string{"frees the large chunks of its argument and sets their bytes to 0", "makes the first chunk the current one"},
		b.some(f.freesLarge) && b.all(func(p path) bool {
			total, ok1 := p.stored(p.first(0).plus(f.lpTotalLarge()))
			current, ok2 := p.stored(p.first(0).plus(f.lpCurrent()))
			_, isLoad := current.load()
			return ok1 && total == constant(0) && ok2 && (f.isField(current, f.lpFirst()) || current == constant(0) || isLoad)
		}) && b.some(func(p path) bool {
			current, _ := p.stored(p.first(0).plus(f.lpCurrent()))
			return f.isField(current, f.lpFirst())
		})
}

// isLpFlush3 (BIRD 3): lp_restore to the initial state, called or copied, which
// is then saved anew. Argument: linpool.
func (f *finder) isLpFlush3(b behavior) ([]string, bool) {
	restores := func(p path) bool {
		return f.freesLarge(p) || p.some(func(e *event) bool {
			return f.calls(e, "lp_restore") && e.call.args[0].argument(0) && f.isField(e.call.args[1], f.lpInitial())
		})
	}
	return []string{"restores its argument to the state that it holds itself", "stores a new state in its place"},
		b.some(restores) && b.all(func(p path) bool {
			initial, ok := p.stored(p.first(0).plus(f.lpInitial()))
			return ok && !initial.isConstant()
		})
}
