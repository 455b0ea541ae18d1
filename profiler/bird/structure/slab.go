// SPDX-License-Identifier: Apache-2.0

package structure

// findSlabs finds the functions of lib/slab.c.
func (f *finder) findSlabs() {
	f.search("sl_new", false, f.referencing(classSlab), func(b behavior) ([]string, bool) {
		return []string{"makes a resource of class Slab in its first argument and returns it", "stores its second argument in it"},
			f.constructs(b, classSlab) && b.all(func(p path) bool {
				return p.storesAt(func(at, v value) bool { return v.argument(1) && at.t == p.result.t })
			})
	})
	f.findSlAlloc()
	f.search("sl_allocz", false, f.callersOf(f.addresses("sl_alloc")...), f.isSlAllocz)
	f.search("sl_free", false, both(f.dividing(), f.callersOf(f.addresses("free_page")...)), f.isSlFree)
	if len(f.addresses("sl_free")) == 0 {
		f.search("sl_free", false, both(f.dividing(), f.functionsAt(f.referencesTo(f.useFake))), f.isSlFree)
	}
}

// findSlAlloc finds sl_alloc, which from BIRD 3 on begins with an assertion
// that the compiler may split off.
func (f *finder) findSlAlloc() {
	candidates := f.callersOf(f.addresses("alloc_page")...)
	at, ok := f.search("sl_alloc", false, candidates, f.isSlAlloc)
	if !ok || !f.third() || f.asserts(f.behavior(at)) {
		return
	}
	for i := range f.found {
		if f.found[i].Address == at {
			f.found[i].Part = true
		}
	}
	f.search("sl_alloc", false, f.callersOf(at), func(b behavior) ([]string, bool) {
		return []string{"passes its argument to sl_alloc's part and returns the result", "asserts a lock and does nothing else"},
			b.all(func(p path) bool {
				calls := p.calls() // before the part, what tells the lock's order
				last := len(calls) - 1
				return last >= 0 && last <= 1 && calls[last].call.target == constant(int64(at)) &&
					calls[last].call.args[0].argument(0) && p.result == calls[last].result && p.writes() == 0
			}) && f.asserts(b)
	})
}

// asserts says whether a function begins with BIRD 3's assertion that a
// resource's pool is locked by this thread: every path compares with a thread
// local.
func (f *finder) asserts(b behavior) bool {
	return b.all(func(p path) bool {
		return p.some(func(e *event) bool {
			isThread := func(t *term) bool { return t.op == opThread }
			return e.kind == eventBranch && (e.x.find(isThread) != nil || e.y.find(isThread) != nil)
		})
	})
}

// isSlAlloc: from a page of the slab that has room, else a new one: h =
// alloc_page(); memset(h, 0, head_size); h->slab = s. Argument: the slab.
func (f *finder) isSlAlloc(b behavior) ([]string, bool) {
	return []string{
			"calls alloc_page and clears as much of the page's head as a field of its argument says",
			"stores its argument at the page's beginning",
		}, b.some(func(p path) bool {
			for _, e := range p.events {
				if !f.calls(e, "alloc_page") {
					continue
				}
				slab, ok := p.stored(e.result)
				return ok && slab.argument(0) && p.clearsExactly(e.result, func(size value) bool { return size.fieldOf(0) })
			}
			return false
		})
}

// fieldOf says whether v was read from the object that argument n points to.
func (v value) fieldOf(n int64) bool {
	at, ok := v.load()
	return ok && at.plus(-at.c).argument(n)
}

// isSlAllocz: memset(sl_alloc(s), 0, s->data_size). Argument: the slab.
func (f *finder) isSlAllocz(b behavior) ([]string, bool) {
	return []string{"calls sl_alloc with its argument and returns the result", "clears as many bytes of it as a field of its argument says"},
		b.all(func(p path) bool {
			return p.clearsExactly(p.result, func(size value) bool { return size.fieldOf(0) }) &&
				p.some(func(e *event) bool {
					return f.calls(e, "sl_alloc") && e.call.args[0].argument(0) && e.result == p.result
				})
		})
}

// isSlFree: h = the object's page; the object's number is its offset divided by
// h->slab->obj_size; a page that becomes empty is given back. Argument: the
// object.
func (f *finder) isSlFree(b behavior) ([]string, bool) {
	return []string{"divides by a field of the slab that the page of its argument begins with", "gives that page back with free_page"},
		b.some(func(p path) bool { return f.dividesBySlab(p, f.k+8) && f.freesOwnPage(p) })
}

// dividesBySlab says whether a path divides by the field at an offset of the
// object that the first word of the page of argument 0 points to.
func (f *finder) dividesBySlab(p path, field int64) bool {
	return p.some(func(e *event) bool {
		at, ok := e.value.load()
		if e.kind != eventDivide || !ok {
			return false
		}
		head, ok := at.plus(-field).load()
		return ok && head.isPageOf(0)
	})
}

func (f *finder) freesOwnPage(p path) bool {
	return p.some(func(e *event) bool {
		page, ok := f.freesPage(p, e)
		return ok && page.isPageOf(0)
	})
}

// isPageOf says whether v is argument n with its low bits masked off.
func (v value) isPageOf(n int64) bool {
	return v.is(opAnd) && (v.t.x.argument(n) || v.t.y.argument(n))
}
