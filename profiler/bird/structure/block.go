// SPDX-License-Identifier: Apache-2.0

package structure

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/arch/x86/x86asm"
)

func containsName(data []byte, name string) bool {
	return bytes.Contains(data, append([]byte(name), 0))
}

// findClassOffset reads K from pool_free, which walks the pool's resources and
// calls r->class->free(r) for each: a call through [[r+K]+16] with r.
func (f *finder) findClassOffset() error {
	for _, e := range f.flow(f.class[classPool].Free).events {
		if e.kind != eventCall {
			continue
		}
		hook, ok := e.call.target.load()
		if !ok || hook.c != classFree || hook.t == nil || hook.t.op != opLoad {
			continue
		}
		class, r := hook.t.x, e.call.args[0]
		if class.t != r.t {
			continue
		}
		switch k := class.c - r.c; {
		case k != 16 && k != 24:
			return fmt.Errorf("class is at %d of a resource, want 16 or 24", k)
		case f.k != 0 && f.k != k:
			return fmt.Errorf("class is at %d and at %d of a resource", f.k, k)
		default:
			f.k = k
		}
	}
	if f.k == 0 {
		return errNoClassCall
	}
	return nil
}

// third says whether the file is BIRD 3, whose resources know their list.
func (f *finder) third() bool { return f.k == 24 }

// findHeap finds functions that do nothing but call malloc, realloc or free
// with their arguments: BIRD's xmalloc, xrealloc, xfree, flex's cf_alloc. That
// they end the program when there is no memory does not show: that way does
// not return.
func (f *finder) findHeap() {
	for _, h := range []struct {
		name string
		set  map[uint64]bool
		args int
	}{{"malloc", f.mallocs, 1}, {"realloc", f.reallocs, 2}, {"free", f.freers, 1}} {
		for _, c := range f.callersOfImport(h.name) {
			if f.length[c] <= largestForwarder && f.forwards(f.behavior(c), h.name, h.args) {
				h.set[c] = true
			}
		}
	}
	f.allocating = f.callersOfHeap("malloc", f.mallocs)
}

// largestForwarder bounds the code of a function that only forwards, bytes.
const largestForwarder = 256

func (f *finder) forwards(b behavior, name string, args int) bool {
	return b.complete && b.all(func(p path) bool {
		calls := p.calls()
		if len(calls) != 1 || calls[0].call.name != name || name != "free" && p.result != calls[0].result {
			return false
		}
		for n := 0; n < args; n++ {
			if !calls[0].call.args[n].argument(int64(n)) {
				return false
			}
		}
		return true
	})
}

// allocates returns the size that a call asks malloc for.
func (f *finder) allocates(e *event) (size value, ok bool) {
	if e.kind == eventCall && e.call.name == "calloc" {
		// Compilers make calloc of malloc and memset.
		if e.call.args[0] == constant(1) {
			return e.call.args[1], true
		}
		return e.call.args[0], e.call.args[1] == constant(1)
	}
	return e.call.args[0], e.kind == eventCall && (e.call.name == "malloc" || f.direct(e, f.mallocs))
}

// reallocates returns the block and size that a call asks realloc for.
func (f *finder) reallocates(e *event) (block, size value, ok bool) {
	return e.call.args[0], e.call.args[1], e.kind == eventCall && (e.call.name == "realloc" || f.direct(e, f.reallocs))
}

// frees returns the block that a call gives to free.
func (f *finder) frees(e *event) (block value, ok bool) {
	return e.call.args[0], e.kind == eventCall && (e.call.name == "free" || f.direct(e, f.freers))
}

func (f *finder) direct(e *event, set map[uint64]bool) bool {
	return e.call.target.isConstant() && set[uint64(e.call.target.c)]
}

// calls says whether an event is a call of a found function.
func (f *finder) calls(e *event, name string) bool {
	if e.kind != eventCall || !e.call.target.isConstant() {
		return false
	}
	for _, fn := range f.found {
		if fn.Name == name && fn.Address == uint64(e.call.target.c) {
			return true
		}
	}
	return false
}

// classFree says whether an event calls r->class->free(r).
func (f *finder) classFree(e *event) (r value, ok bool) {
	if e.kind != eventCall {
		return value{}, false
	}
	hook, ok := e.call.target.load()
	if !ok || hook.c != classFree || hook.t == nil || hook.t.op != opLoad {
		return value{}, false
	}
	r = hook.t.x.plus(-f.k)
	return r, e.call.args[0] == r
}

// destroys says whether a path does to r what rfree does: r's class's free
// hook, then free(r).
func (f *finder) destroys(p path, r value) bool {
	hooked := false
	for _, e := range p.events {
		if x, ok := f.classFree(e); ok && x == r {
			hooked = true
		}
		if x, ok := f.frees(e); ok && hooked && x == r {
			return true
		}
	}
	return false
}

// newBlock returns the block that a path makes a Memory resource: malloc, then
// its class is stored.
func (f *finder) newBlock(p path) (block, size value, ok bool) {
	for _, e := range p.events {
		if size, ok := f.allocates(e); ok {
			if c, ok := p.stored(e.result.plus(f.k)); ok && c == f.classConstant(classMemory) {
				return e.result, size, true
			}
		}
	}
	return value{}, value{}, false
}

func (f *finder) classConstant(name string) value {
	return constant(int64(f.class[name].Address))
}

// referencing returns the functions that name a class's address, or a constant
// word that holds it.
func (f *finder) referencing(class string) []uint64 {
	address := f.class[class].Address
	pcs := f.referencesTo(address)
	for at, to := range f.pointers {
		if _, fixed := f.constantAt(at); to == address && fixed {
			pcs = append(pcs, f.referencesTo(at)...)
			pcs = append(pcs, f.referencesTo(at-8)...)
		}
	}
	return f.functionsAt(pcs)
}

// classStore is a place where a block from malloc becomes a resource.
type classStore struct {
	store       *event
	function    uint64
	block, size value // size: malloc's argument
	payload     value // what is stored in mblock.size
	payloadOK   bool
}

// classStores finds them in all functions that name the class.
func (f *finder) classStores(class string) (all []classStore) {
	want := f.classConstant(class)
	for _, fn := range both(f.referencing(class), f.allocating) {
		events := f.flow(fn).events
		for _, e := range events {
			if e.kind != eventStore || e.value != want || e.address.t == nil || e.size != 8 {
				continue
			}
			s := classStore{store: e, function: fn, block: e.address.plus(-f.k)}
			made := false
			for _, o := range events {
				if size, ok := f.allocates(o); ok && o.result == s.block {
					s.size, made = size, true
				}
				if o.kind == eventStore && o.size == 4 && o.address == s.block.plus(f.k+8) {
					s.payload, s.payloadOK = o.value, true
				}
			}
			if made {
				all = append(all, s)
			}
		}
	}
	return all
}

// findBlockHeader derives H: malloc is asked for H more than the size that is
// stored in the header.
func (f *finder) findBlockHeader() error {
	for _, s := range f.classStores(classMemory) {
		if !s.payloadOK || s.payload.t != s.size.t {
			continue
		}
		switch h := s.size.c - s.payload.c; {
		case h <= f.k+8 || h > 128 || h%8 != 0:
			return fmt.Errorf("header of a memory block has %d bytes", h)
		case f.h != 0 && f.h != h:
			return fmt.Errorf("header of a memory block has %d and %d bytes", f.h, h)
		default:
			f.h = h
		}
	}
	if f.h == 0 {
		return fmt.Errorf("no function makes blocks of class %q", classMemory)
	}
	return nil
}

// findBlocks finds the functions of lib/resource.c.
func (f *finder) findBlocks() {
	f.search("ralloc", false, f.allocating, f.isRalloc)
	f.search("rp_new", false, f.referencing(classPool), f.isRpNew)
	memory := f.referencing(classMemory)
	f.search("mb_alloc", false, memory, f.isMbAlloc)
	f.search("mb_allocz", false, append(f.callersOf(f.addresses("mb_alloc")...), memory...), f.isMbAllocz)
	f.search("mb_realloc", false, f.callersOfHeap("realloc", f.reallocs), f.isMbRealloc)
	f.findRfree()
	freeing := append(f.using(f.callersOfHeap("free", f.freers), 1024, classFree), f.callersOf(f.addresses("rfree")...)...)
	f.search("mb_free", false, f.nearOrPopular(unique(freeing)), f.isMbFree)
	f.search("rmove", false, f.rmoveCandidates(), f.isRmove)
	f.findForwarder("bird_xmalloc", f.mallocs, "malloc", "ralloc", "mb_alloc")
	f.findForwarder("bird_xrealloc", f.reallocs, "realloc", "mb_realloc")
}

// findForwarder finds the function of lib/xmalloc.c that does no more than an
// import, by those of BIRD's that call it: flex's scanner has such ones as well.
func (f *finder) findForwarder(name string, forwarders map[uint64]bool, imported string, users ...string) {
	var at []uint64
	for forwarder := range forwarders {
		if f.nameAt(forwarder) == "" && slices.ContainsFunc(f.callersOf(forwarder), func(c uint64) bool {
			return slices.Contains(users, f.nameAt(c))
		}) {
			at = append(at, forwarder)
		}
	}
	if len(at) == 1 {
		f.found = append(f.found, Function{Name: name, Address: at[0], Confidence: High, Signals: []string{
			"calls " + imported + " with its arguments and returns the result, and nothing else that returns",
			strings.Join(users, " or ") + " takes blocks from it",
		}})
	}
}

// callersOfHeap returns the functions that call an import or its forwarders.
func (f *finder) callersOfHeap(name string, forwarders map[uint64]bool) []uint64 {
	all := f.callersOfImport(name)
	if name == "malloc" {
		all = append(all, f.callersOfImport("calloc")...)
	}
	for at := range forwarders {
		all = append(all, f.callersOf(at)...)
	}
	return unique(all)
}

// isRalloc: resource *r = xmalloc(class->size), cleared, with its class set, is
// returned. Arguments: pool, class.
func (f *finder) isRalloc(b behavior) ([]string, bool) {
	return []string{
			"mallocs the size that its second argument, a class, has at offset 8",
			"stores its second argument at K of the block and returns it",
		}, b.all(func(p path) bool {
			for _, e := range p.events {
				size, ok := f.allocates(e)
				if !ok {
					continue
				}
				at, ok := size.load()
				c, stored := p.stored(e.result.plus(f.k))
				return ok && at.plus(-classSize).argument(1) && stored && c.argument(1) && p.result == e.result
			}
			return false
		})
}

// isMbAlloc: b = xmalloc(H + size); b->class = &mb_class; return b->data.
// Arguments: pool, size.
func (f *finder) isMbAlloc(b behavior) ([]string, bool) {
	return []string{
			"mallocs H more than its second argument and returns the block plus H",
			"stores the address of class Memory at K of the block",
		}, b.all(func(p path) bool {
			block, size, ok := f.newBlock(p)
			return ok && size.plus(-f.h).argument(1) && p.result == block.plus(f.h) && !p.clears(p.result)
		})
}

// isMbAllocz: mb_alloc(pool, size), called or copied, then memset to 0.
func (f *finder) isMbAllocz(b behavior) ([]string, bool) {
	copied := false
	ok := b.all(func(p path) bool {
		if !p.clearsExactly(p.result, func(size value) bool { return size.argument(1) }) {
			return false
		}
		for _, e := range p.events {
			if f.calls(e, "mb_alloc") && e.result == p.result {
				return e.call.args[0].argument(0) && e.call.args[1].argument(1)
			}
		}
		block, size, ok := f.newBlock(p)
		copied = ok
		return ok && size.plus(-f.h).argument(1) && p.result == block.plus(f.h)
	})
	how := "calls mb_alloc with its arguments and returns its result"
	if copied {
		how = "mallocs H more than its second argument, stores the address of class Memory at K, returns the block plus H"
	}
	return []string{how, "clears as many bytes of it as its second argument says"}, ok
}

// isMbRealloc: b = xrealloc(m - H, H + size); b's neighbours in the pool's list
// are told; return b->data. Arguments: block's data, size.
func (f *finder) isMbRealloc(b behavior) ([]string, bool) {
	return []string{
			"reallocs its first argument less H to its second plus H",
			"returns the new block plus H, and stores the size at K+8 of it",
		}, b.all(func(p path) bool {
			for _, e := range p.events {
				block, size, ok := f.reallocates(e)
				if !ok {
					continue
				}
				stored, sized := p.stored(e.result.plus(f.k + 8))
				return block.plus(f.h).argument(0) && size.plus(-f.h).argument(1) &&
					p.result == e.result.plus(f.h) && sized && stored.argument(1)
			}
			return false
		})
}

// isEquality says whether a branch is one on x == y.
func isEquality(op x86asm.Op) bool { return op == x86asm.JE || op == x86asm.JNE }
