// SPDX-License-Identifier: Apache-2.0

package structure

// findMultislabs finds the allocators that only BIRD 3 has: stonehenges (3.1,
// 3.2), mslabs and islabs (from 3.3).
func (f *finder) findMultislabs() {
	if !f.third() {
		return
	}
	f.search("sth_alloc", false, f.callersOf(f.addresses("sl_new")...), f.isSthAlloc)
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
			fl.some(func(e *event) bool { return f.calls(e, "sl_new") && pool(e.call.args[0]) }) &&
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
	at, ok := f.search("msl_alloc", false, f.callersOf(f.addresses("alloc_page")...), f.isMslAlloc)
	if ok {
		f.search("msl_alloc_from_page", false, f.calleesOf(at), func(b behavior) ([]string, bool) {
			return []string{"msl_alloc returns its result, given the slab", "calls alloc_page nowhere and computes an object's address from fields of its first argument"},
				f.returnsFrom(at, b.start) && b.some(func(p path) bool {
					return p.result.find(func(t *term) bool { return t.op == opArgument && t.n == 1 }) != nil && p.usesFieldOf(0)
				})
		})
	}
	f.search("msl_free", false, f.dividing(), f.isMslFree)
}

func (p path) usesFieldOf(n int64) bool {
	return p.result.find(func(t *term) bool { return value{t: t}.fieldOf(n) }) != nil
}

// returnsFrom says whether caller passes its argument 0 to callee as such and
// returns the result.
func (f *finder) returnsFrom(caller, callee uint64) bool {
	return f.behavior(caller).some(func(p path) bool {
		return p.some(func(e *event) bool {
			return e.kind == eventCall && e.call.target == constant(int64(callee)) && e.call.args[0].argument(0) && e.result == p.result
		})
	})
}

// calleesOf returns the functions that a function calls.
func (f *finder) calleesOf(caller uint64) (list []uint64) {
	for to, from := range f.callers {
		for _, pc := range from {
			if f.starts[to] && f.functionOf(pc) == caller {
				list = append(list, to)
			}
		}
	}
	return unique(list)
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
			return f.dividesBySlab(p, f.k+12) && p.some(func(e *event) bool {
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
	f.search("isl_alloc", false, near, f.isIslAlloc)
	f.search("isl_free_ptr", false, near, f.isIslFreePtr)
	f.search("isl_free_id", false, near, f.isIslFreeID)
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
	return []string{"counts one object more in its argument, an islab", "looks at its last page and its root, and takes no second argument"},
		b.some(func(p path) bool {
			last, ok := p.stored(p.first(0).plus(f.islabLast()))
			return ok && !last.isConstant() && f.counts(p, 1)
		}) &&
			!b.some(func(p path) bool { return p.usesArgument(1) }) &&
			b.some(func(p path) bool {
				return p.some(func(e *event) bool {
					return e.kind == eventBranch && (f.isField(e.x, f.islabRoot()) || f.isField(e.x, f.islabLast()))
				})
			})
}

// isIslFreePtr: the page of the object is the object's address masked.
// Arguments: islab, object.
func (f *finder) isIslFreePtr(b behavior) ([]string, bool) {
	return []string{"finds the page of its second argument by masking it", "divides by the size of the objects of its first, an islab, and frees one"},
		b.some(func(p path) bool {
			divides := p.some(func(e *event) bool { return e.kind == eventDivide && e.value.fieldOf(0) })
			masked := p.some(func(e *event) bool {
				return e.x.find(func(t *term) bool { return value{t: t}.isPageOf(1) }) != nil
			})
			return divides && masked && (f.counts(p, -1) || f.passesOn(p))
		})
}

// isIslFreeID: the page of the object is found from the root by its number.
// Arguments: islab, number.
func (f *finder) isIslFreeID(b behavior) ([]string, bool) {
	return []string{"descends from the root of its first argument, an islab", "frees the object of the number that its second argument is"},
		b.some(func(p path) bool {
			number := p.some(func(e *event) bool {
				return e.kind == eventBranch && e.x.argument(1) && e.y == constant(0)
			})
			root := p.some(func(e *event) bool {
				return e.x.find(func(t *term) bool { return f.isField(value{t: t}, f.islabRoot()) }) != nil
			})
			return number && root && (f.counts(p, -1) || f.passesOn(p))
		})
}

// passesOn says whether the path passes the islab on to a function that frees
// an object of it.
func (f *finder) passesOn(p path) bool {
	return p.some(func(e *event) bool {
		if e.kind != eventCall || !e.call.target.isConstant() || !e.call.args[0].argument(0) {
			return false
		}
		to := uint64(e.call.target.c)
		return f.starts[to] && f.behavior(to).some(func(q path) bool { return f.counts(q, -1) })
	})
}
