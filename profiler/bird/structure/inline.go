// SPDX-License-Identifier: Apache-2.0

package structure

import "golang.org/x/arch/x86/x86asm"

// findInlined accounts for copies of functions: each does a step of the
// original that nothing else does.
func (f *finder) findInlined() {
	f.inlinedBlocks()
	f.inlinedDestruction()
	f.inlinedRealloc()
	f.inlinedFreePage()
	f.inlinedAllocPage()
	f.inlinedLinpool()
	f.inlinedSlabs()
}

func (f *finder) site(function string, e *event, within uint64, what string) {
	name := f.nameAt(within)
	if name == function {
		return
	}
	f.inlined = append(f.inlined, InlineSite{Function: function, Address: e.pc, Within: within, WithinName: name, What: what, Register: -1})
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
		// one, and leaves its own empty: those pages are free already. Where it
		// is inlined with free_page, a page is put on the list that it empties.
		emptied := make(map[placeKey]bool)
		for _, e := range fl.events {
			if at := place(e.address); e.kind == eventStore && lists[at] && e.value == constant(0) {
				emptied[at] = true
			}
		}
		for _, e := range fl.events {
			at := place(e.address)
			if e.kind != eventStore || !lists[at] || len(emptied) > 0 && !emptied[at] || e.value.isConstant() || !f.linked(fl, e.value) {
				continue
			}
			f.site("free_page", e, fn, "makes a page the first or last of the list of free pages")
			if last := len(f.inlined) - 1; last >= 0 && f.inlined[last].Address == e.pc {
				f.inlined[last].Register = f.storedRegister(e.pc)
			}
		}
	}
}

// storedRegister returns DWARF's number of the register that a mov of 8 bytes
// to memory stores, or an xchg, -1 for any other instruction.
func (f *finder) storedRegister(pc uint64) int {
	in := f.decode(pc)
	if in == nil || in.Op != x86asm.MOV && in.Op != x86asm.XCHG {
		return -1
	}
	_, isMem := in.Args[0].(x86asm.Mem)
	r, isReg := in.Args[1].(x86asm.Reg)
	if !isMem || !isReg {
		return -1
	}
	return dwarfRegister(r)
}

// dwarfRegister returns DWARF's number of a register of 8 bytes, else -1.
func dwarfRegister(r x86asm.Reg) int {
	if r < x86asm.RAX || r > x86asm.R15 {
		return -1
	}
	// The instruction set counts rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi.
	return [...]int{0, 2, 1, 3, 7, 6, 4, 5, 8, 9, 10, 11, 12, 13, 14, 15}[r-x86asm.RAX]
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

// inlinedSlabs finds copies of sl_alloc and msl_alloc: a slab is stored at the
// beginning of a page from alloc_page, and of the page's head is cleared as much
// as a field of the slab says, or what lies behind the fixed fields of an mslab's.
func (f *finder) inlinedSlabs() {
	for _, fn := range f.callersOf(f.addresses("alloc_page")...) {
		fl := f.flow(fn)
		for _, e := range fl.events {
			if !f.calls(e, "alloc_page") {
				continue
			}
			switch slab, whole := f.makesHead(fl, e.result); {
			case slab.t == nil:
			case whole:
				f.site("sl_alloc", e, fn, "makes a page from alloc_page one of a slab")
			default:
				f.site("msl_alloc", e, fn, "makes a page from alloc_page one of an mslab")
			}
		}
	}
}

// makesHead returns the slab that a function stores at the beginning of a page,
// and whether it clears the page from there, or from behind the beginning. The
// slab is the zero value if it does not do both.
func (f *finder) makesHead(fl flow, page value) (slab value, whole bool) {
	behind := false
	for _, e := range fl.events {
		switch {
		case e.kind == eventStore && e.size == 8 && e.address == page && !e.value.isConstant():
			slab = e.value
		case e.kind == eventCall && (e.call.name == "memset" || e.call.name == "__memset_chk") && e.call.args[0].t == page.t:
			whole = whole || e.call.args[0] == page && !e.call.args[2].isConstant()
			behind = behind || e.call.args[0].c > 0
		}
	}
	if !whole && !behind {
		return value{}, false
	}
	return slab, whole
}
