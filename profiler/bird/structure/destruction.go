// SPDX-License-Identifier: Apache-2.0

package structure

// findRfree finds rfree, which is one function or a test for NULL and a part.
func (f *finder) findRfree() {
	candidates := f.using(f.callersOfHeap("free", f.freers), 1024, classFree, f.k)
	if _, ok := f.search("rfree", false, candidates, func(b behavior) ([]string, bool) { return f.isRfree(b, false) }); ok {
		return
	}
	part, ok := f.search("rfree", true, candidates, func(b behavior) ([]string, bool) { return f.isRfree(b, true) })
	if !ok {
		return
	}
	f.search("rfree", false, f.nearOrPopular(f.callersOf(part)), func(b behavior) ([]string, bool) {
		return []string{"does nothing with NULL", "otherwise passes its argument to rfree's part and does nothing else"},
			b.all(func(p path) bool { return p.quiet() || f.onlyCalls(p, part) }) &&
				b.some(func(p path) bool { return p.null(0) && p.quiet() }) && b.branchesOnlyOn(0)
	})
}

// onlyCalls says whether a path calls the function with its first argument, and
// nothing else.
func (f *finder) onlyCalls(p path, function uint64) bool {
	calls := p.calls()
	return len(calls) == 1 && calls[0].call.target == constant(int64(function)) && calls[0].call.args[0].argument(0) && p.writes() == 0
}

// isRfree: if (!r) return; r is taken out of its pool; r->class->free(r);
// free(r). Argument: the resource. It looks at no more of r than the header,
// where rp_free looks at the pool's lock.
func (f *finder) isRfree(b behavior, part bool) ([]string, bool) {
	ok := b.all(func(p path) bool {
		return !part && p.null(0) && p.quiet() || f.destroys(p, p.first(0)) && len(p.calls()) <= 5
	}) && b.some(func(p path) bool { return f.destroys(p, p.first(0)) }) &&
		part == !b.some(func(p path) bool { return p.null(0) }) &&
		!b.looksBehind(0, f.k)
	return []string{
		"calls the free hook of its argument's class with it, then free",
		"uses nothing of its argument behind the class pointer",
	}, ok
}

// isMbFree: if (!m) return; rfree(m - H), called or copied. BIRD from 3.1.8 on
// overwrites the data before. Argument: the block's data.
func (f *finder) isMbFree(b behavior) ([]string, bool) {
	called := false
	destroys := func(p path) bool {
		block := p.first(0).plus(-f.h)
		for _, e := range p.calls() {
			if f.calls(e, "rfree") && e.call.args[0] == block {
				called = true
				return len(p.calls()) <= 2
			}
		}
		return f.destroys(p, block) && len(p.calls()) <= 5
	}
	ok := b.some(destroys) && b.some(func(p path) bool { return p.null(0) }) &&
		b.all(func(p path) bool { return p.quiet() || destroys(p) }) &&
		b.all(func(p path) bool { return !p.writesTo(0) })
	how := "calls the free hook of the block's class, then free, for its argument less H"
	if called {
		how = "calls rfree with its argument less H"
	}
	return []string{how, "does nothing with NULL and stores nothing in the data"}, ok
}

// Offsets in struct pool behind the class pointer, the same in both
// generations: the list of resources begins at K+8, in BIRD 2 {head, null,
// tail}, in BIRD 3 {first, last}, then the lock's domain and the name.
func (f *finder) poolList() int64 { return f.k + 8 }
func (f *finder) poolName() int64 { return f.k + 32 }
func (f *finder) poolLast() int64 {
	if f.third() {
		return f.k + 16
	}
	return f.k + 24
}

// rmoveCandidates are small functions that call nothing that returns.
func (f *finder) rmoveCandidates() (candidates []uint64) {
	const largest = 512
	for _, e := range f.extents {
		if e.Called && e.End-e.Start <= largest && len(f.callers[e.Start]) > 0 && f.nearResource(e.Start) {
			candidates = append(candidates, e.Start)
		}
	}
	return candidates
}

// nearResource says whether a function lies among those of lib/resource.c: in
// a file without link time optimization they are together.
func (f *finder) nearResource(at uint64) bool {
	const span = 0x1000
	for _, name := range []string{"ralloc", "rfree", "mb_realloc", "mb_alloc", "rp_new", "pool_free", "mbl_free"} {
		for _, a := range f.addresses(name) {
			if at != a && at+span > a && a+span > at {
				return true
			}
		}
	}
	return false
}

// nearOrPopular keeps those of the candidates that lie among the functions of
// lib/resource.c or are called from many places. Where the compiler inlined a
// small function everywhere, a callback that does nothing else is left, with
// the same code: rt_feeding_request_default_done for mb_free,
// birdloop_transfer_dummy_event for rfree.
func (f *finder) nearOrPopular(candidates []uint64) (kept []uint64) {
	const many = 12
	for _, c := range candidates {
		if f.nearResource(c) || len(f.callers[c]) >= many {
			kept = append(kept, c)
		}
	}
	return kept
}

// isRmove: the resource is taken out of its list and becomes the last of the
// other pool. Arguments: resource, pool.
func (f *finder) isRmove(b behavior) ([]string, bool) {
	ok := b.some(func(p path) bool {
		return !p.quiet()
	}) && b.all(func(p path) bool {
		if p.quiet() {
			return p.null(0)
		}
		last, ok := p.stored(p.first(1).plus(f.poolLast()))
		added := p.some(func(e *event) bool {
			a := e.call.args
			return e.kind == eventCall && a[0].plus(-f.poolList()).argument(1) && a[1].argument(0)
		})
		return (ok && last.argument(0) || added) && len(p.calls()) <= 4 && !p.some(func(e *event) bool {
			return e.kind == eventCall && (e.call.name != "" || !e.call.target.isConstant())
		})
	})
	return []string{"makes its first argument the last resource of the pool its second is", "calls nothing of the C library; lies among the functions of lib/resource.c"}, ok
}
