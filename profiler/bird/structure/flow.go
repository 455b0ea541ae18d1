// SPDX-License-Identifier: Apache-2.0

package structure

import (
	"container/heap"
	"encoding/binary"
	"slices"
	"sort"

	"golang.org/x/arch/x86/x86asm"
)

// Bounds on one function's flow.
const (
	maxFlowSteps = 400000 // instructions
	maxCases     = 512    // of one switch
	maxSlots     = 256    // of the stack frame
)

// flow is what is true at each instruction of a function on every way to it:
// where two ways meet with different values in a register, the value is a term
// of that place. It sees all of a function, where paths see some ways only, but
// knows nothing of conditions, and of memory only the frame.
type flow struct {
	start  uint64
	events []*event // in the order of addresses
	// complete says that every reachable instruction was seen: no bound was
	// reached, and all jumps through registers were understood.
	complete bool
}

// some says whether something holds at one of the function's events.
func (f flow) some(holds func(*event) bool) bool {
	for _, e := range f.events {
		if holds(e) {
			return true
		}
	}
	return false
}

// slot is 8 bytes of the stack frame, at an offset from rsp at entry.
type slot struct {
	offset int64
	v      value
}

type flowState struct {
	m     machine
	frame []slot // sorted by offset
}

func (s *flowState) clone() *flowState {
	return &flowState{m: s.m, frame: append([]slot(nil), s.frame...)}
}

// find returns the index of a slot, or where it would be.
func (s *flowState) find(offset int64) (i int, ok bool) {
	i = sort.Search(len(s.frame), func(i int) bool { return s.frame[i].offset >= offset })
	return i, i < len(s.frame) && s.frame[i].offset == offset
}

// leader is an instruction to which ways lead from several places.
type leader struct {
	at     uint64
	from   []arrival // sorted by pc
	state  *flowState
	rounds int
	queued bool
	merged [48]value // the terms of the place, by register
}

// arrival is the state in which a jump or the instruction before comes here.
type arrival struct {
	pc uint64
	s  *flowState
}

// flower computes a flow. It is the environment of its instructions.
type flower struct {
	p       *program
	ts      *terms
	start   uint64
	leaders map[uint64]*leader
	todo    queue
	steps   int
	cut     bool

	s      *flowState
	record bool
	events []*event
	salt   int64
}

// queue gives the leader with the lowest address first: mostly what is above
// has then been done.
type queue []*leader

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return q[i].at < q[j].at }
func (q queue) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(x any)        { *q = append(*q, x.(*leader)) }
func (q *queue) Pop() any {
	last := (*q)[len(*q)-1]
	*q = (*q)[:len(*q)-1]
	return last
}

// follow computes the flow of the function at start.
func (p *program) follow(start uint64) flow {
	f := &flower{p: p, ts: newTerms(), start: start, leaders: make(map[uint64]*leader)}
	f.reach(start, 0, &flowState{m: entryMachine(f.ts)})
	for len(f.todo) > 0 && f.steps < maxFlowSteps {
		l := heap.Pop(&f.todo).(*leader)
		l.queued = false
		f.s = l.state.clone()
		f.block(l.at)
	}
	f.cut = f.cut || len(f.todo) > 0
	f.record = true
	for at, l := range f.leaders {
		f.s = l.state.clone()
		f.block(at)
	}
	sort.SliceStable(f.events, func(i, j int) bool { return f.events[i].pc < f.events[j].pc })
	return flow{start: start, events: f.events, complete: !f.cut}
}

// maxRounds is how often the state at a leader is computed from what arrives
// alone. After that it keeps what was once lost, so that it comes to an end.
const maxRounds = 12

// reach brings the state on the way from pc to a leader.
func (f *flower) reach(at, pc uint64, s *flowState) {
	if f.record {
		return
	}
	l := f.leaders[at]
	if l == nil {
		l = &leader{at: at}
		f.leaders[at] = l
	}
	i := sort.Search(len(l.from), func(i int) bool { return l.from[i].pc >= pc })
	if i == len(l.from) || l.from[i].pc != pc {
		l.from = append(l.from, arrival{})
		copy(l.from[i+1:], l.from[i:])
		l.from[i] = arrival{pc: pc}
	}
	l.from[i].s = s.clone()
	next := l.from[0].s.clone()
	for _, a := range l.from[1:] {
		f.merge(l, next, a.s)
	}
	if l.rounds++; l.rounds > maxRounds {
		f.merge(l, next, l.state)
	}
	if l.state != nil && l.state.m == next.m && slices.Equal(l.state.frame, next.frame) {
		return
	}
	l.state = next
	if !l.queued {
		l.queued = true
		heap.Push(&f.todo, l)
	}
}

// merge keeps in s what is the same in o; the rest becomes terms of the place.
func (f *flower) merge(l *leader, s, o *flowState) {
	one := func(a *value, b value, where int64) {
		if *a == b {
			return
		}
		if where >= int64(len(l.merged)) {
			*a = f.ts.intern(opMerge, int64(l.at), constant(where), value{})
			return
		}
		if l.merged[where].t == nil {
			l.merged[where] = f.ts.intern(opMerge, int64(l.at), constant(where), value{})
		}
		*a = l.merged[where]
	}
	for r := range s.m.regs {
		one(&s.m.regs[r], o.m.regs[r], int64(r))
	}
	if s.m.xmm != o.m.xmm {
		for x := range s.m.xmm {
			one(&s.m.xmm[x][0], o.m.xmm[x][0], int64(16+2*x))
			one(&s.m.xmm[x][1], o.m.xmm[x][1], int64(17+2*x))
		}
	}
	kept := s.frame[:0]
	for _, k := range s.frame {
		if i, ok := o.find(k.offset); ok {
			one(&k.v, o.frame[i].v, 1<<20+k.offset)
			kept = append(kept, k)
		}
	}
	s.frame = kept
	if s.m.flags != o.m.flags {
		s.m.flags = flags{}
	}
}

// block executes from a leader to where control leaves the sequence.
func (f *flower) block(at uint64) {
	before := at // the last instruction executed
	for pc := at; f.steps < maxFlowSteps || f.record; {
		if pc != at && f.p.jumpTarget[pc] {
			f.reach(pc, before, f.s)
			return
		}
		f.steps++
		inst := f.p.decode(pc)
		if _, inside := f.p.extentAt(pc); inst == nil || !inside {
			f.cut = f.cut || inst == nil
			return
		}
		f.salt = 0
		in := interpreter{image: f.p.image, ts: f.ts, m: &f.s.m, env: f, pc: pc, inst: inst}
		next := pc + uint64(inst.Len)
		rel, direct := inst.Args[0].(x86asm.Rel)
		target := next + uint64(int64(rel))
		switch {
		case inst.Op == x86asm.RET || inst.Op == x86asm.UD2 || inst.Op == x86asm.HLT || inst.Op == x86asm.UD1:
			return
		case inst.Op == x86asm.CALL:
			c := in.callee(next)
			result := f.call(pc, c)
			if f.p.never(c) {
				return
			}
			in.clobber(result, f.p.clobbersOf(c))
		case inst.Op == x86asm.JMP && direct:
			if f.p.leaves(f.start, target, f.s.m) {
				f.tail(&in, next)
			} else {
				f.reach(target, pc, f.s)
			}
			return
		case inst.Op == x86asm.JMP:
			f.indirect(&in, next)
			return
		case direct:
			if f.p.leaves(f.start, target, f.s.m) {
				f.tail(&in, next)
			} else {
				f.reach(target, pc, f.s)
			}
		case conditionalMove(inst.Op) != 0:
			in.write(inst.Args[0], f.ts.intern(opMerge, int64(pc), in.read(inst.Args[0]), in.read(inst.Args[1])))
		default:
			in.step()
		}
		before, pc = pc, next
	}
}

func (f *flower) tail(in *interpreter, next uint64) {
	c := in.callee(next)
	c.tail = true
	f.call(in.pc, c)
}

// indirect follows a jump through a register: a tail call, or a switch.
func (f *flower) indirect(in *interpreter, next uint64) {
	c := in.callee(next)
	if targets := f.cases(c.target); targets != nil {
		for _, t := range targets {
			f.reach(t, in.pc, f.s)
		}
		return
	}
	if f.s.m.regs[regSP].is(opFrame) {
		f.tail(in, next)
		return
	}
	f.cut = true
}

// cases reads the table of a switch: entries of 4 bytes relative to the table,
// or addresses of 8. It ends where an entry leads out of the function.
func (f *flower) cases(target value) (targets []uint64) {
	entry := target
	var base int64
	size := uint64(8)
	if target.t != nil && target.t.op == opLoad && target.t.n == 4 {
		entry, base, size = value{t: target.t}, target.c, 4
	}
	at, ok := entry.load()
	if !ok || at.t == nil || at.t.op != opProduct && size == 8 {
		return nil
	}
	table := uint64(at.c)
	if f.p.segment(table) == nil {
		return nil
	}
	for i := uint64(0); i < maxCases; i++ {
		var to uint64
		if size == 4 {
			b := f.p.bytes(table+4*i, 4)
			if len(b) < 4 {
				break
			}
			to = uint64(base + int64(int32(binary.LittleEndian.Uint32(b))))
		} else if w, ok := f.p.pointer(table + 8*i); ok {
			to = w
		} else {
			break
		}
		if to == 0 || f.p.functionOf(to) != f.start {
			break
		}
		targets = append(targets, to)
	}
	return targets
}

func (f *flower) add(e event) *event {
	if f.record {
		if e.call == nil {
			e.call = &noCall
		}
		f.events = append(f.events, &e)
	}
	return &e
}

func frameSlot(address value) (int64, bool) {
	return address.c, address.t != nil && address.t.op == opFrame
}

func (f *flower) load(address value, size int) (value, bool) {
	if slot, ok := frameSlot(address); ok {
		if i, ok := f.s.find(slot); ok {
			return f.s.frame[i].v, true
		}
	}
	return value{}, false
}

func (f *flower) store(pc uint64, address value, size int, v value) {
	if offset, ok := frameSlot(address); ok {
		if i, known := f.s.find(offset); known {
			f.s.frame[i].v = v
		} else if len(f.s.frame) < maxSlots {
			f.s.frame = slices.Insert(f.s.frame, i, slot{offset, v})
		}
	}
	f.add(event{kind: eventStore, pc: pc, address: address, size: size, value: v})
}

func (f *flower) call(pc uint64, c call) value {
	result := f.ts.intern(opResult, int64(pc), value{}, value{})
	if copies[c.name] {
		result = c.args[0]
	}
	for n, a := range c.args { // the callee may write what it is given the address of
		if slot, ok := frameSlot(a); ok && !copies[c.name] {
			if i, known := f.s.find(slot); known {
				f.s.frame[i].v = f.ts.unknown(int64(pc)<<8 | 0x80 | int64(n))
			}
		}
	}
	f.add(event{kind: eventCall, pc: pc, call: &c, result: result})
	return result
}

func (f *flower) fresh(pc uint64) value {
	f.salt++
	return f.ts.unknown(int64(pc)<<8 | f.salt)
}

func (f *flower) divide(pc uint64, by value) { f.add(event{kind: eventDivide, pc: pc, value: by}) }

func (f *flower) atomic(pc uint64, address value) {
	f.add(event{kind: eventAtomic, pc: pc, address: address})
}
