// SPDX-License-Identifier: Apache-2.0

package structure

import "golang.org/x/arch/x86/x86asm"

// The words in which predicates are written.

// all says whether something holds on every path, of which there is one.
func (b behavior) all(holds func(path) bool) bool {
	for _, p := range b.paths {
		if !holds(p) {
			return false
		}
	}
	return len(b.paths) > 0
}

func (b behavior) some(holds func(path) bool) bool {
	for _, p := range b.paths {
		if holds(p) {
			return true
		}
	}
	return false
}

// branchesOnlyOn says whether every branch compares argument n with a constant.
func (b behavior) branchesOnlyOn(n int64) bool {
	return b.all(func(p path) bool {
		for _, e := range p.events {
			if e.kind == eventBranch && !(e.x.argument(n) && e.y.isConstant()) {
				return false
			}
		}
		return true
	})
}

// looksBehind says whether a path uses memory at more than offset past the
// address that argument n is.
func (b behavior) looksBehind(n, offset int64) bool {
	seen := make(map[*term]bool)
	var behind func(v value) bool
	behind = func(v value) bool {
		if v.t == nil || seen[v.t] {
			return false
		}
		seen[v.t] = true
		if v.t.op == opLoad {
			if at := v.t.x; at.c > offset && at.plus(-at.c).argument(n) {
				return true
			}
		}
		return behind(v.t.x) || behind(v.t.y)
	}
	return b.some(func(p path) bool {
		for _, e := range p.events {
			if e.kind == eventStore && e.address.c > offset && e.address.plus(-e.address.c).argument(n) {
				return true
			}
			if e.kind == eventCall && behind(e.call.target) || behind(e.x) || behind(e.y) || behind(e.value) {
				return true
			}
		}
		return false
	})
}

// calls returns the path's calls.
func (p path) calls() (calls []*event) {
	for _, e := range p.events {
		if e.kind == eventCall {
			calls = append(calls, e)
		}
	}
	return calls
}

// stored returns what the path last stored at an address.
func (p path) stored(at value) (v value, ok bool) {
	for _, e := range p.events {
		if e.kind == eventStore && e.address == at {
			v, ok = e.value, true
		}
	}
	return v, ok
}

// storesAt calls visit for each store.
func (p path) storesAt(visit func(address, v value) bool) bool {
	for _, e := range p.events {
		if e.kind == eventStore && visit(e.address, e.value) {
			return true
		}
	}
	return false
}

// onFrame says whether an address is in the function's own stack frame.
func onFrame(address value) bool {
	return address.t != nil && address.t.op == opFrame
}

// writes counts the stores outside the function's stack frame.
func (p path) writes() (n int) {
	for _, e := range p.events {
		if e.kind == eventStore && !onFrame(e.address) {
			n++
		}
	}
	return n
}

// quiet says whether the path does nothing: no call, no store.
func (p path) quiet() bool { return len(p.calls()) == 0 && p.writes() == 0 }

// first returns argument n as this path has it.
func (p path) first(n int64) value {
	for _, e := range p.events {
		for _, v := range []value{e.address, e.value, e.x, e.y, e.call.target, e.call.args[0], e.call.args[1], e.call.args[2], p.result} {
			if t := v.find(func(t *term) bool { return t.op == opArgument && t.n == n }); t != nil {
				return value{t: t}
			}
		}
	}
	return value{t: &term{op: opArgument, n: n}} // does not occur: equal to nothing
}

// find returns a term within v for which want holds.
func (v value) find(want func(*term) bool) *term {
	if v.t == nil || want(v.t) {
		return v.t
	}
	if t := v.t.x.find(want); t != nil {
		return t
	}
	return v.t.y.find(want)
}

// null says whether the path goes where argument n is 0.
func (p path) null(n int64) bool {
	for _, e := range p.events {
		if e.kind == eventBranch && e.x.argument(n) && e.y == constant(0) && isEquality(e.cond) {
			if (e.cond == x86asm.JE) == e.taken {
				return true
			}
		}
	}
	return false
}

// writesTo says whether the path stores at or behind the address argument n.
func (p path) writesTo(n int64) bool {
	return p.storesAt(func(address, _ value) bool {
		return address.c >= 0 && address.plus(-address.c).argument(n)
	})
}

// clears says whether the path sets memory at an address to zero by memset.
func (p path) clears(at value) bool {
	return p.clearsExactly(at, func(value) bool { return true })
}

// clearsExactly says whether memset is called with 0 for as many bytes at an
// address as size accepts.
func (p path) clearsExactly(at value, size func(value) bool) bool {
	for _, e := range p.calls() {
		if (e.call.name == "memset" || e.call.name == "__memset_chk") &&
			e.call.args[0] == at && e.call.args[1] == constant(0) && size(e.call.args[2]) {
			return true
		}
	}
	return false
}
