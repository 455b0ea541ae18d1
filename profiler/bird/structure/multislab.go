// SPDX-License-Identifier: Apache-2.0

package structure

import "slices"

// findMultislabs finds the allocators that only BIRD 3 has: stonehenges (3.1,
// 3.2), mslabs and islabs (from 3.3).
func (f *finder) findMultislabs() {
	if !f.third() {
		return
	}
	f.search("sth_alloc", false, unique(append(f.callersOf(f.addresses("sl_new")...), f.referencing(classSlab)...)), f.isSthAlloc)
	if len(f.addresses("sth_alloc")) > 0 {
		f.search("sth_free", false, f.callersOf(f.addresses("sl_free")...), f.isSthFree)
	}
	if _, ok := f.class[classMslab]; ok {
		f.findMslab()
	}
	if _, ok := f.class[classIslab]; ok {
		f.findIslab()
	}
}

// isSthAlloc: from the slab of the stonehenge for the size, made if need be;
// from mb_alloc where none is large enough. Arguments: stonehenge, size.
func (f *finder) isSthAlloc(b behavior) ([]string, bool) {
	// A loop over the sizes has more rounds than paths go.
	fl := f.flow(b.start)
	pool := func(v value) bool { at, ok := v.load(); return ok && at.argument(0) }
	return []string{"mb_allocs its second argument in the pool that its first begins with", "otherwise makes slabs in it and calls sl_alloc"},
		fl.some(func(e *event) bool {
			return f.calls(e, "mb_alloc") && pool(e.call.args[0]) && e.call.args[1].argument(1)
		}) &&
			fl.some(func(e *event) bool {
				made := f.calls(e, "sl_new") || f.calls(e, "ralloc") && e.call.args[1] == f.classConstant(classSlab)
				return made && pool(e.call.args[0])
			}) &&
			fl.some(func(e *event) bool { return f.calls(e, "sl_alloc") })
}

// isSthFree: mb_free or sl_free, by the second word of the block. Arguments: the
// block's two words.
func (f *finder) isSthFree(b behavior) ([]string, bool) {
	return []string{"calls sl_free with its first argument", "or frees it as mb_free does"},
		b.some(func(p path) bool {
			return p.some(func(e *event) bool { return f.calls(e, "sl_free") && e.call.args[0].argument(0) })
		}) && b.some(func(p path) bool {
			return f.destroys(p, p.first(0).plus(-f.h)) || p.some(func(e *event) bool {
				return f.calls(e, "mb_free") && e.call.args[0].argument(0) ||
					f.calls(e, "rfree") && e.call.args[0].plus(f.h).argument(0)
			})
		})
}

// findMslab finds the functions of lib/mslab.c.
func (f *finder) findMslab() {
	f.search("msl_alloc", false, f.callersOf(f.addresses("alloc_page")...), f.isMslAlloc)
	f.search("msl_free", false, f.using(f.dividing(), 1024), f.isMslFree)
	candidates := append(f.nearFunction(f.class[classMslab].Free), f.calleesOf(f.addresses("msl_alloc"))...)
	for _, at := range f.addresses("msl_free") {
		candidates = append(candidates, f.nearFunction(at)...)
	}
	candidates = f.using(unique(candidates), 1024, f.mslabObjectSize(), f.mslabHeadSize())
	f.search("msl_alloc_from_page", false, candidates, f.isMslAllocFromPage)
}

// calleesOf returns the functions that some functions call.
func (f *finder) calleesOf(callers []uint64) (list []uint64) {
	for to, from := range f.callers {
		for _, pc := range from {
			if f.starts[to] && slices.Contains(callers, f.functionOf(pc)) {
				list = append(list, to)
			}
		}
	}
	slices.Sort(list)
	return unique(list)
}

// Fields of struct mslab behind the object size that was asked for.
func (f *finder) mslabObjectSize() int64 { return f.k + 12 }
func (f *finder) mslabHeadSize() int64   { return f.k + 16 }

// isMslAllocFromPage: the next object of the page, head + head_size + n *
// obj_size, or NULL; counts are atomic. Arguments: mslab, page.
func (f *finder) isMslAllocFromPage(b behavior) ([]string, bool) {
	object := func(p path) bool {
		has := func(want func(v value) bool) bool {
			return p.result.find(func(t *term) bool { return want(value{t: t}) }) != nil
		}
		return has(func(v value) bool { return v.argument(1) }) &&
			has(func(v value) bool { return f.isField(v, f.mslabObjectSize()) }) &&
			has(func(v value) bool { return f.isField(v, f.mslabHeadSize()) })
	}
	return []string{"returns its second argument plus the head's and a multiple of the objects' size of its first, an mslab", "returns NULL otherwise, and counts atomically"},
		b.some(object) && b.some(func(p path) bool { return p.result == constant(0) }) &&
			b.all(func(p path) bool { return object(p) || p.result == constant(0) }) &&
			b.some(func(p path) bool { return p.some(func(e *event) bool { return e.kind == eventAtomic }) })
}

// isMslAlloc: a page from alloc_page gets the slab at its beginning, and its
// bits behind the head are cleared. Argument: the mslab.
func (f *finder) isMslAlloc(b behavior) ([]string, bool) {
	return []string{"stores its argument at the beginning of a page from alloc_page", "clears bits behind the page's head, not the head"},
		b.some(func(p path) bool {
			for _, e := range p.events {
				if !f.calls(e, "alloc_page") {
					continue
				}
				slab, ok := p.stored(e.result)
				return ok && slab.argument(0) && p.some(func(o *event) bool {
					return o.kind == eventCall && o.call.name == "memset" && o.call.args[0].t == e.result.t && o.call.args[0].c > 0
				})
			}
			return false
		})
}

// dividing returns the functions that divide by something in memory or not, and
// are small enough to be an allocator's.
func (f *finder) dividing() (list []uint64) {
	for _, e := range f.extents {
		if e.Called && f.divides[e.Start] {
			list = append(list, e.Start)
		}
	}
	return list
}

// isMslFree: as sl_free, but the object size is the slab's second field, counts
// are atomic, and pages are given back elsewhere. Argument: the object.
func (f *finder) isMslFree(b behavior) ([]string, bool) {
	return []string{"divides by the second field of the mslab that the page of its argument begins with", "changes memory of that page atomically"},
		b.some(func(p path) bool {
			return f.dividesBySlab(p, f.mslabObjectSize()) && p.some(func(e *event) bool {
				return e.kind == eventAtomic && e.address.find(func(t *term) bool { return value{t: t}.isPageOf(0) }) != nil
			})
		})
}

// Fields of struct islab, from its end: objects stored, pages stored, root,
// last page used.
func (f *finder) islabStored() int64 { return int64(f.class[classIslab].Size) - 24 }
func (f *finder) islabRoot() int64   { return int64(f.class[classIslab].Size) - 16 }
func (f *finder) islabLast() int64   { return int64(f.class[classIslab].Size) - 8 }

// findIslab finds the functions of lib/islab.c.
func (f *finder) findIslab() {
	near := f.nearFunction(f.class[classIslab].Free)
	pages := f.callersOf(f.callersOf(f.addresses("alloc_page")...)...)
	f.search("isl_alloc", false, f.using(unique(append(pages, near...)), 1024, f.islabRoot(), f.islabLast()), f.isIslAlloc)
	f.search("isl_free_ptr", false, f.using(unique(append(f.dividing(), near...)), 512), f.isIslFreePtr)
	freers := f.calleesOf(f.addresses("isl_free_ptr"))
	f.search("isl_free_id", false, f.using(unique(append(f.callersOf(freers...), near...)), 512), f.isIslFreeID)
}

// nearFunction returns the functions around an address.
func (f *finder) nearFunction(at uint64) (list []uint64) {
	const span = 0x2000
	for _, e := range f.extents {
		if e.Called && e.Start+span > at && at+span > e.Start {
			list = append(list, e.Start)
		}
	}
	return list
}

// counts says whether a path adds delta to the number of objects stored in the
// islab that argument 0 is.
func (f *finder) counts(p path, delta int64) bool {
	n, ok := p.stored(p.first(0).plus(f.islabStored()))
	if !ok {
		return false
	}
	return f.isField(value{t: n.t}, f.islabStored()) && int64(int32(n.c)) == delta
}

// isIslAlloc: an object of the page last used, or of one found from the root.
// Argument: the islab.
func (f *finder) isIslAlloc(b behavior) ([]string, bool) {
	takes := func(p path) bool {
		last, ok := p.stored(p.first(0).plus(f.islabLast()))
		return ok && !last.isConstant() && f.counts(p, 1)
	}
	return []string{"takes an object of its argument, an islab, and makes its page the last used", "looks at its last page and its root, and takes no second argument"},
		b.some(func(p path) bool { return takes(p) || f.passesOn(p, takes) }) &&
			!b.some(func(p path) bool { return p.usesArgument(1) }) &&
			b.some(func(p path) bool { return f.branchesOnField(p, f.islabLast()) }) &&
			b.some(func(p path) bool { return f.branchesOnField(p, f.islabRoot()) })
}

func (f *finder) branchesOnField(p path, offset int64) bool {
	return p.some(func(e *event) bool { return e.kind == eventBranch && f.isField(e.x, offset) })
}

// drops says whether a path counts one object less.
func (f *finder) drops(p path) bool { return f.counts(p, -1) }

// isIslFreePtr: the page of the object is the object's address masked, by a
// function of its own or not. Arguments: islab, object.
func (f *finder) isIslFreePtr(b behavior) ([]string, bool) {
	return []string{"divides by the size of the objects of its first argument, an islab, or calls what does", "masks its second argument to find the page, and frees one object"},
		b.some(func(p path) bool {
			here := p.some(func(e *event) bool { return e.kind == eventDivide && e.value.fieldOf(0) }) &&
				p.some(func(e *event) bool { return e.x.find(func(t *term) bool { return value{t: t}.isPageOf(1) }) != nil })
			return (here || f.looksUp(p, true)) && (f.drops(p) || f.passesOn(p, f.drops))
		})
}

// isIslFreeID: the page of the object is found from the root by its number, by
// a function of its own or not. Arguments: islab, number.
func (f *finder) isIslFreeID(b behavior) ([]string, bool) {
	return []string{"finds the object of the number that its second argument is from the root of its first, an islab", "frees that object"},
		b.some(func(p path) bool {
			number := p.some(func(e *event) bool {
				return e.kind == eventBranch && e.x.argument(1) && e.y == constant(0)
			})
			root := p.some(func(e *event) bool {
				return e.x.find(func(t *term) bool { return f.isField(value{t: t}, f.islabRoot()) }) != nil
			})
			return (number && root || f.looksUp(p, false)) && (f.drops(p) || f.passesOn(p, f.drops))
		})
}

// looksUp says whether a path passes the islab and its second argument on to a
// function that fills a struct in the frame, and that divides or does not.
func (f *finder) looksUp(p path, divides bool) bool {
	return p.some(func(e *event) bool {
		if e.kind != eventCall || !e.call.target.isConstant() {
			return false
		}
		a := e.call.args
		return onFrame(a[0]) && a[1].argument(0) && a[2].argument(1) && f.divides[uint64(e.call.target.c)] == divides
	})
}

// passesOn says whether the path passes the islab on to a function of which
// something holds.
func (f *finder) passesOn(p path, holds func(path) bool) bool {
	return p.some(func(e *event) bool {
		if e.kind != eventCall || !e.call.target.isConstant() || !e.call.args[0].argument(0) {
			return false
		}
		to := uint64(e.call.target.c)
		return f.starts[to] && f.length[to] <= largestFunction && f.behavior(to).some(holds)
	})
}
