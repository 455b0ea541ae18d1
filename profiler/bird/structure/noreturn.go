// SPDX-License-Identifier: Apache-2.0

package structure

import "sort"

// neverReturn are the C library's functions that do not return.
var neverReturn = map[string]bool{
	"abort": true, "exit": true, "_exit": true, "_Exit": true, "quick_exit": true,
	"__stack_chk_fail": true, "__assert_fail": true, "__fortify_fail": true, "__chk_fail": true,
	"longjmp": true, "siglongjmp": true, "__longjmp_chk": true, "pthread_exit": true,
}

// findNoReturn finds the functions from whose entry no return can be reached:
// BIRD's bug and die, and what always ends in them. A way that ends there says
// nothing about what a function does.
func (p *program) findNoReturn() {
	var todo []uint64
	for _, e := range p.extents {
		if e.Called {
			todo = append(todo, e.Start)
		}
	}
	for len(todo) > 0 {
		f := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if !p.noReturn[f] && !p.returns(f) {
			p.noReturn[f] = true
			todo = append(todo, p.callersOf(f)...)
		}
	}
}

// ends says whether a call of target, an address, does not come back.
func (p *program) ends(target uint64) bool {
	if p.starts[target] {
		return p.noReturn[target]
	}
	return neverReturn[p.stubAt(target)]
}

// returns says whether a way leads from start to a return, or to where the
// caller's return is done: a tail call, an indirect jump.
func (p *program) returns(start uint64) bool {
	seen := map[uint64]bool{start: true}
	todo := []uint64{start}
	follow := func(to uint64) {
		if !seen[to] {
			seen[to] = true
			todo = append(todo, to)
		}
	}
	for len(todo) > 0 {
		at := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		i := sort.Search(len(p.transfers), func(i int) bool { return p.transfers[i].pc >= at })
	way:
		for ; i < len(p.transfers); i++ {
			t := p.transfers[i]
			if e, ok := p.extentAt(at); !ok || t.pc >= e.End {
				break // falls off the end: what is behind is never reached
			}
			switch t.kind {
			case transferReturn, transferIndirectJump:
				return true
			case transferStop:
				break way
			case transferCall:
				if p.ends(t.target) {
					break way
				}
			case transferBranch, transferJump:
				switch {
				case t.target != start && p.starts[t.target]:
					if !p.noReturn[t.target] {
						return true
					}
				case p.functionOf(t.target) == 0:
					if !neverReturn[p.stubAt(t.target)] {
						return true
					}
				default:
					follow(t.target)
				}
				if t.kind == transferJump {
					break way
				}
			}
			at = t.next
		}
	}
	return false
}
