// SPDX-License-Identifier: Apache-2.0

package structure

import "fmt"

// constructs says whether every path makes a resource of the class in the pool
// that argument 0 is, by ralloc or a copy of it, and returns it.
func (f *finder) constructs(b behavior, class string) bool {
	return b.all(func(p path) bool {
		return p.some(func(e *event) bool {
			if e.kind != eventCall || e.result != p.result {
				return false
			}
			if f.calls(e, "ralloc") {
				return e.call.args[0].argument(0) && e.call.args[1] == f.classConstant(class)
			}
			if _, ok := f.allocates(e); !ok {
				return false
			}
			c, ok := p.stored(e.result.plus(f.k))
			return ok && c == f.classConstant(class)
		})
	})
}

// isRpNew: ralloc(parent, &pool_class), then its name is set. Arguments: parent,
// name; BIRD 3: parent, lock's domain, name.
func (f *finder) isRpNew(b behavior) ([]string, bool) {
	arg := int64(1)
	if f.third() {
		arg = 2
	}
	return []string{"makes a resource of class Pool in its first argument and returns it", fmt.Sprintf("names it by its argument %d", arg+1)},
		f.constructs(b, classPool) && b.all(func(p path) bool {
			if name, ok := p.stored(p.result.plus(f.poolName())); ok {
				return name.argument(arg)
			}
			return f.third() && p.some(func(e *event) bool { // rp_init
				return e.kind == eventCall && e.call.args[0] == p.result && e.call.args[1].argument(1) && e.call.args[2].argument(2)
			})
		})
}

func (f *finder) isText(v value, text string) bool {
	s, ok := f.text(uint64(v.c))
	return v.isConstant() && ok && s == text
}

// findRootPool finds the one pool that is not allocated: a constant address at
// K of which &pool_class is stored, and that is named "Root", there or by
// rp_init.
func (f *finder) findRootPool() {
	class, votes := f.classConstant(classPool), make(map[uint64]bool)
	for _, fn := range f.referencing(classPool) {
		events := f.flow(fn).events
		for _, e := range events {
			if e.kind != eventStore || e.value != class || !e.address.isConstant() {
				continue
			}
			pool := e.address.plus(-f.k)
			for _, o := range events {
				named := o.kind == eventStore && o.address == pool.plus(f.poolName()) && f.isText(o.value, "Root")
				passed := o.kind == eventCall && o.call.args[0] == pool && (f.isText(o.call.args[1], "Root") || f.isText(o.call.args[2], "Root"))
				if named || passed {
					votes[uint64(pool.c)] = true
				}
			}
		}
	}
	if len(votes) != 1 {
		f.missing("root_pool", fmt.Sprintf("%d addresses of data get class Pool and the name Root", len(votes)))
		return
	}
	for at := range votes {
		f.rootPool = at
	}
}
