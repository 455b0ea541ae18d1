// SPDX-License-Identifier: Apache-2.0

package structure

// findInlined accounts for copies of functions: each does a step of the
// original that nothing else does.
func (f *finder) findInlined() {
	f.inlinedBlocks()
	f.inlinedDestruction()
	f.inlinedRealloc()
	f.inlinedFreePage()
	f.inlinedAllocPage()
	f.inlinedLinpool()
}

func (f *finder) site(function string, e *event, within uint64, what string) {
	name := f.nameAt(within)
	if name == function {
		return
	}
	f.inlined = append(f.inlined, InlineSite{Function: function, Address: e.pc, Within: within, WithinName: name, What: what})
}

// inlinedBlocks finds copies of mb_alloc and ralloc by their store of a class.
func (f *finder) inlinedBlocks() {
	for _, s := range f.classStores(classMemory) {
		f.site("mb_alloc", s.store, s.function, "stores the address of class Memory in a block from malloc")
	}
	for name := range f.class {
		if name == classMemory {
			continue
		}
		for _, s := range f.classStores(name) {
			f.site("ralloc", s.store, s.function, "stores the address of class "+name+" in a block from malloc")
		}
	}
}

// inlinedDestruction finds copies of rfree: a call of class->free(r).
func (f *finder) inlinedDestruction() {
	for _, fn := range f.functionsAt(f.hookCalls) {
		if fn == f.class[classPool].Free {
			continue // frees the children one by one, without rfree
		}
		fl := f.flow(fn)
		for _, e := range fl.events {
			if r, ok := f.classFree(e); ok && f.freed(fl, r) {
				f.site("rfree", e, fn, "calls class->free with the resource in rdi")
			}
		}
	}
}

// freed says whether a function gives r to free.
func (f *finder) freed(fl flow, r value) bool {
	for _, e := range fl.events {
		if block, ok := f.frees(e); ok && block == r {
			return true
		}
	}
	return false
}

// setsSize says whether an event stores in the header of a block how much of
// what it was allocated with is not the header.
func (f *finder) setsSize(e *event, block, size value) bool {
	return e.kind == eventStore && e.size == 4 && e.address == block.plus(f.k+8) && e.value == size.plus(-f.h)
}

// inlinedRealloc finds copies of mb_realloc: realloc, then the size less H is
// stored in the header.
func (f *finder) inlinedRealloc() {
	for _, fn := range f.callersOfHeap("realloc", f.reallocs) {
		fl := f.flow(fn)
		for _, e := range fl.events {
			_, size, ok := f.reallocates(e)
			if ok && fl.some(func(o *event) bool { return f.setsSize(o, e.result, size) }) {
				f.site("mb_realloc", e, fn, "calls realloc for a block and its header")
			}
		}
	}
}

// inlinedFreePage finds copies of free_page: the store that makes a page the
// first or last of a list of free pages at a fixed place.
func (f *finder) inlinedFreePage() {
	at := f.addresses("free_page")
	if len(at) != 1 {
		f.inlinedFallback()
		return
	}
	lists := f.pageLists(at[0])
	for _, fn := range f.functionsAt(f.referencesTo(f.useFake)) {
		fl := f.flow(fn)
		// flush_local_pages of BIRD 3 hands a thread's whole list to the common
		// one, and leaves its own empty: those pages are free already.
		if fl.some(func(o *event) bool {
			return o.kind == eventStore && lists[place(o.address)] && o.value.isConstant() && o.value.c == 0
		}) {
			continue
		}
		for _, e := range fl.events {
			if e.kind == eventStore && lists[place(e.address)] && !e.value.isConstant() && f.linked(fl, e.value) {
				f.site("free_page", e, fn, "makes a page the first or last of the list of free pages")
			}
		}
	}
}

// inlinedFallback finds copies of free_page where there is no original to learn
// from: each frees the page where pages come from posix_memalign.
func (f *finder) inlinedFallback() {
	for _, fn := range f.functionsAt(f.referencesTo(f.useFake)) {
		for _, e := range f.flow(fn).events {
			if _, ok := f.frees(e); ok && f.useFake != 0 {
				f.site("free_page", e, fn, "frees a page from posix_memalign; shows a copy, but runs only with odd page sizes")
			}
		}
	}
}

// place is an address that is fixed in the process or in each thread.
func place(address value) placeKey {
	switch {
	case address.isConstant():
		return placeKey{offset: address.c}
	case address.t.op == opThread:
		return placeKey{thread: true, offset: address.c}
	}
	return placeKey{}
}

type placeKey struct {
	thread bool
	offset int64
}

// pageLists returns the fixed places to which free_page stores its argument.
func (f *finder) pageLists(freePage uint64) map[placeKey]bool {
	lists := make(map[placeKey]bool)
	for _, p := range f.behavior(freePage).paths {
		p.storesAt(func(address, v value) bool {
			if v.argument(0) && place(address) != (placeKey{}) {
				lists[place(address)] = true
			}
			return false
		})
	}
	return lists
}

// linked says whether a function stores at the beginning of a page, as linking
// it does.
func (f *finder) linked(fl flow, page value) bool {
	for _, e := range fl.events {
		if e.kind == eventStore && e.address == page {
			return true
		}
	}
	return false
}

func (f *finder) inlinedAllocPage() {
	for _, fn := range f.callersOfImport("posix_memalign") {
		for _, e := range f.flow(fn).events {
			if e.kind == eventCall && e.call.name == "posix_memalign" && e.call.args[1] == e.call.args[2] {
				f.site("alloc_page", e, fn, "calls posix_memalign for a page")
			}
		}
	}
}

// inlinedLinpool finds copies of lp_alloc. In BIRD 3 each calls lp_alloc_slow
// once. In BIRD 2 each holds all of it: it calls alloc_page, and moves a
// linpool's pointer on.
func (f *finder) inlinedLinpool() {
	for _, slow := range f.addresses("lp_alloc_slow") {
		for _, pc := range f.callers[slow] {
			fn := f.functionOf(pc)
			if name := f.nameAt(fn); name == "lp_alloc" || name == "lp_allocu" {
				continue
			}
			f.site("lp_alloc", &event{pc: pc}, fn, "calls lp_alloc_slow; reached only when the linpool's chunk is full")
		}
	}
	for _, fn := range both(f.aligning(), f.callersOf(f.addresses("alloc_page")...)) {
		for _, e := range f.flow(fn).events {
			if e.kind == eventStore && e.address.t != nil && f.bumped(e.value, e.address.plus(-f.lpPtr())) {
				f.site("lp_alloc", e, fn, "moves a linpool's pointer on")
			}
		}
	}
}

// bumped says whether v is the linpool m's pointer, rounded up, plus a size.
func (f *finder) bumped(v, m value) bool {
	if v.t != nil && v.t.op == opAnd {
		at, ok := alignedPointer(f, value{t: v.t})
		return ok && at == m && v.c > 0
	}
	if v.t == nil || v.t.op != opSum {
		return false
	}
	for _, half := range []value{v.t.x, v.t.y} {
		if at, ok := alignedPointer(f, half); ok && at == m {
			return true
		}
	}
	return false
}
