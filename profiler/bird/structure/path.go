// SPDX-License-Identifier: Apache-2.0

package structure

import "golang.org/x/arch/x86/x86asm"

// Bounds on the ways through one function. Explored first are those that take a
// branch in the direction taken least often before, so every direction is seen
// long before the bounds are reached.
const (
	maxPaths     = 48   // finished
	maxSteps     = 5000 // instructions, all ways
	maxPathSteps = 1500 // instructions, one way
	maxEdge      = 2    // how often one way takes a branch in one direction
)

type eventKind uint8

const (
	eventCall eventKind = iota
	eventStore
	eventBranch
	eventDivide
	eventAtomic
)

// event is something that happens on a path.
type event struct {
	kind eventKind
	pc   uint64

	call   *call // eventCall; never nil
	result value // eventCall

	address value // eventStore, eventAtomic
	value   value // eventStore; eventDivide: by which
	size    int   // eventStore

	cond  x86asm.Op // eventBranch: the branch instruction
	x, y  value     // eventBranch: what was compared
	taken bool      // eventBranch

	before *event
	n      int64 // of events before it
}

// path is one way through a function from its entry to a return or tail call.
type path struct {
	events []*event
	result value // of the function, in rax
}

// behavior is what a function does.
type behavior struct {
	start uint64
	paths []path
	// complete says that no way was cut by a bound.
	complete bool
}

// pathState is a way on which the exploration is.
type pathState struct {
	m     machine
	pc    uint64
	last  *event
	steps int
	edge  edge // by which it begins
}

// explorer explores one function. It is the environment of its instructions.
type explorer struct {
	p     *program
	ts    *terms
	start uint64
	s     *pathState
	taken map[edge]int                // how often, by all ways
	later [maxBucket + 1][]*pathState // by how often their edge was taken
	steps int
	cut   bool
	out   []path
}

type edge struct {
	pc    uint64
	taken bool
}

// explore runs the function at start on all ways, within bounds.
func (p *program) explore(start uint64) behavior {
	x := &explorer{p: p, ts: newTerms(), start: start, taken: make(map[edge]int)}
	x.put(&pathState{m: entryMachine(x.ts), pc: start})
	for len(x.out) < maxPaths && x.steps < maxSteps && x.next() {
		for x.s != nil && x.steps < maxSteps {
			x.step()
		}
	}
	x.cut = x.cut || x.s != nil || x.next()
	return behavior{start: start, paths: x.out, complete: !x.cut}
}

// maxBucket is from where on the times that an edge was taken are not told
// apart.
const maxBucket = 15

// put keeps a way for later.
func (x *explorer) put(s *pathState) {
	n := min(x.taken[s.edge], maxBucket)
	x.later[n] = append(x.later[n], s)
}

// next goes on with the way that begins in the direction taken least often, of
// several the last put off, and says whether there is one.
func (x *explorer) next() bool {
	for n := range x.later {
		for k := len(x.later[n]); k > 0; k = len(x.later[n]) {
			s := x.later[n][k-1]
			x.later[n] = x.later[n][:k-1]
			if n < maxBucket && x.taken[s.edge] > n {
				x.put(s) // was taken since
				continue
			}
			x.s = s
			x.taken[s.edge]++
			return true
		}
	}
	return false
}

// noCall is the call of events that are none.
var noCall call

func (x *explorer) add(e event) *event {
	e.before = x.s.last
	if e.call == nil {
		e.call = &noCall
	}
	if e.before != nil {
		e.n = e.before.n + 1
	}
	x.s.last = &e
	return &e
}

func (x *explorer) load(address value, size int) (value, bool) {
	for e := x.s.last; e != nil; e = e.before {
		if e.kind == eventStore && e.address == address {
			return e.value, e.size >= size
		}
	}
	return value{}, false
}

func (x *explorer) store(pc uint64, address value, size int, v value) {
	x.add(event{kind: eventStore, pc: pc, address: address, size: size, value: v})
}

// copies are functions that return their first argument.
var copies = map[string]bool{
	"memset": true, "__memset_chk": true, "memcpy": true, "__memcpy_chk": true, "memmove": true, "__memmove_chk": true,
}

func (x *explorer) call(pc uint64, c call) value {
	e := x.add(event{kind: eventCall, pc: pc, call: &c})
	for _, a := range c.args { // the callee may write what it is given the address of
		if _, ok := frameSlot(a); ok && !copies[c.name] {
			x.store(pc, a, 8, x.fresh(pc))
		}
	}
	if copies[c.name] {
		e.result = c.args[0]
	} else {
		e.result = x.ts.intern(opResult, e.n, value{}, value{})
	}
	return e.result
}

func (x *explorer) fresh(pc uint64) value {
	n := int64(0)
	if x.s.last != nil {
		n = x.s.last.n + 1
	}
	return x.ts.unknown(int64(pc)<<20 | n)
}

func (x *explorer) divide(pc uint64, by value) {
	x.add(event{kind: eventDivide, pc: pc, value: by})
}

func (x *explorer) atomic(pc uint64, address value) {
	x.add(event{kind: eventAtomic, pc: pc, address: address})
}

// step executes the instruction at the current way's pc. A way that ends sets
// x.s to nil.
func (x *explorer) step() {
	s := x.s
	x.steps++
	if s.steps++; s.steps > maxPathSteps {
		x.cut = true
		x.s = nil
		return
	}
	inst := x.p.decode(s.pc)
	if _, inside := x.p.extentAt(s.pc); inst == nil || !inside {
		x.cut = x.cut || inst == nil
		x.s = nil
		return
	}
	in := interpreter{image: x.p.image, ts: x.ts, m: &s.m, env: x, pc: s.pc, inst: inst}
	next := s.pc + uint64(inst.Len)
	rel, direct := inst.Args[0].(x86asm.Rel)
	switch {
	case inst.Op == x86asm.RET:
		x.finish(s.m.regs[regAX])
	case inst.Op == x86asm.UD2 || inst.Op == x86asm.HLT || inst.Op == x86asm.UD1:
		x.s = nil
	case inst.Op == x86asm.CALL:
		c := in.callee(next)
		if x.p.never(c) {
			x.s = nil
			return
		}
		in.clobber(x.call(s.pc, c), x.p.clobbersOf(c))
		s.pc = next
	case inst.Op == x86asm.JMP:
		if !direct || x.p.leaves(x.start, next+uint64(int64(rel)), s.m) {
			x.leave(in, next, !direct)
			return
		}
		s.pc = next + uint64(int64(rel))
	case direct:
		x.branch(in, next, next+uint64(int64(rel)))
	case conditionalMove(inst.Op) != 0:
		x.choose(in, next)
	default:
		in.step()
		s.pc = next
	}
}

// leave ends the way with a tail call, or where a jump through a register may
// be a switch, without knowing.
func (x *explorer) leave(in interpreter, next uint64, indirect bool) {
	if indirect && in.m.regs[regSP] != x.ts.intern(opFrame, 0, value{}, value{}) {
		x.cut = true
		x.s = nil
		return
	}
	c := in.callee(next)
	c.tail = true
	if x.p.never(c) {
		x.s = nil
		return
	}
	x.finish(x.call(in.pc, c))
}

func (x *explorer) finish(result value) {
	p := path{result: result}
	if x.s.last != nil {
		p.events = make([]*event, x.s.last.n+1)
		for e := x.s.last; e != nil; e = e.before {
			p.events[e.n] = e
		}
	}
	x.out = append(x.out, p)
	x.s = nil
}

// branch goes on in the direction not taken before, and keeps the other for
// later, unless what is known decides.
func (x *explorer) branch(in interpreter, next, target uint64) {
	s := x.s
	f := s.m.flags
	ways := [2]bool{true, true} // not taken, taken
	if f.known {
		if taken, ok := decided(in.inst.Op, f); ok {
			ways[0], ways[1] = !taken, taken
		} else if taken, ok := x.decidedBefore(in.inst.Op, f); ok {
			ways[0], ways[1] = !taken, taken
		}
	}
	for i := range ways {
		if ways[i] && x.count(in.pc, i == 1) >= maxEdge {
			ways[i] = false
		}
	}
	first := 1
	if !ways[1] || ways[0] && x.taken[edge{in.pc, true}] > x.taken[edge{in.pc, false}] {
		first = 0
	}
	if !ways[first] {
		x.s = nil
		return
	}
	if ways[1-first] {
		other := *s
		x.s = &other
		x.take(in, 1-first == 1, next, target)
		if x.s != nil {
			other.edge = edge{in.pc, 1-first == 1}
			x.put(&other)
		}
		x.s = s
	}
	x.taken[edge{in.pc, first == 1}]++
	x.take(in, first == 1, next, target)
}

// take goes on in one direction; a branch to another function is a tail call.
func (x *explorer) take(in interpreter, taken bool, next, target uint64) {
	s := x.s
	if f := s.m.flags; f.known {
		x.add(event{kind: eventBranch, pc: in.pc, cond: in.inst.Op, x: f.x, y: f.y, taken: taken})
	} else {
		x.add(event{kind: eventBranch, pc: in.pc, taken: taken})
	}
	if s.pc = next; !taken {
		return
	}
	s.pc = target
	if x.p.leaves(x.start, target, s.m) {
		in.m = &s.m
		x.leave(in, next, false)
	}
}

func (x *explorer) count(pc uint64, taken bool) (n int) {
	for e := x.s.last; e != nil; e = e.before {
		if e.kind == eventBranch && e.pc == pc && e.taken == taken {
			n++
		}
	}
	return n
}

// decidedBefore finds the same comparison for equality earlier on the way.
func (x *explorer) decidedBefore(op x86asm.Op, f flags) (taken, ok bool) {
	if op != x86asm.JE && op != x86asm.JNE {
		return false, false
	}
	for e := x.s.last; e != nil; e = e.before {
		if e.kind == eventBranch && e.x == f.x && e.y == f.y && (e.cond == x86asm.JE || e.cond == x86asm.JNE) && f.x.t != nil {
			equal := (e.cond == x86asm.JE) == e.taken
			return equal == (op == x86asm.JE), true
		}
	}
	return false, false
}

// choose treats a conditional move as a branch: both outcomes are ways.
func (x *explorer) choose(in interpreter, next uint64) {
	s := x.s
	moved, old := in.read(in.inst.Args[1]), in.read(in.inst.Args[0])
	f := s.m.flags
	cond := conditionalMove(in.inst.Op)
	taken, known := false, false
	if f.known {
		if taken, known = decided(cond, f); !known {
			taken, known = x.decidedBefore(cond, f)
		}
	}
	if !known && x.count(in.pc, true)+x.count(in.pc, false) < maxEdge {
		other := *s
		x.s = &other
		x.addChoice(in, cond, f, false)
		oin := in
		oin.m = &other.m
		oin.write(in.inst.Args[0], old)
		other.pc = next
		other.edge = edge{in.pc, false}
		x.put(&other)
		x.s, taken = s, true
	}
	x.addChoice(in, cond, f, taken)
	if taken {
		in.write(in.inst.Args[0], moved)
	} else {
		in.write(in.inst.Args[0], old)
	}
	s.pc = next
}

func (x *explorer) addChoice(in interpreter, cond x86asm.Op, f flags, taken bool) {
	e := event{kind: eventBranch, pc: in.pc, taken: taken}
	if f.known {
		e.cond, e.x, e.y = cond, f.x, f.y
	}
	x.add(e)
}
