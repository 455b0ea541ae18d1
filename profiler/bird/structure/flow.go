// SPDX-License-Identifier: Apache-2.0

package structure

import (
	"encoding/binary"
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

type flowState struct {
	m     machine
	frame map[int64]value // 8-byte slots by offset from rsp at entry
}

func (s *flowState) clone() *flowState {
	c := &flowState{m: s.m, frame: make(map[int64]value, len(s.frame))}
	for k, v := range s.frame {
		c.frame[k] = v
	}
	return c
}

// flower computes a flow. It is the environment of its instructions.
type flower struct {
	p     *program
	ts    *terms
	start uint64
	in    map[uint64]*flowState // at leaders
	todo  []uint64
	steps int
	cut   bool

	s      *flowState
	record bool
	events []*event
	salt   int64
}

// follow computes the flow of the function at start.
func (p *program) follow(start uint64) flow {
	f := &flower{p: p, ts: newTerms(), start: start, in: make(map[uint64]*flowState)}
	f.reach(start, &flowState{m: entryMachine(f.ts), frame: make(map[int64]value)})
	for len(f.todo) > 0 && f.steps < maxFlowSteps {
		at := f.todo[len(f.todo)-1]
		f.todo = f.todo[:len(f.todo)-1]
		f.s = f.in[at].clone()
		f.block(at)
	}
	f.cut = f.cut || len(f.todo) > 0
	f.record = true
	for at, s := range f.in {
		f.s = s.clone()
		f.block(at)
	}
	sort.SliceStable(f.events, func(i, j int) bool { return f.events[i].pc < f.events[j].pc })
	return flow{start: start, events: f.events, complete: !f.cut}
}

// reach joins a state into that at a leader.
func (f *flower) reach(at uint64, s *flowState) {
	if f.record {
		return
	}
	old := f.in[at]
	if old == nil {
		f.in[at] = s.clone()
		f.todo = append(f.todo, at)
		return
	}
	changed := false
	merge := func(a *value, b value, slot int64) {
		if *a != b {
			v := f.ts.intern(opMerge, int64(at), constant(slot), value{})
			changed = changed || *a != v
			*a = v
		}
	}
	for r := range old.m.regs {
		merge(&old.m.regs[r], s.m.regs[r], int64(r))
	}
	for x := range old.m.xmm {
		merge(&old.m.xmm[x][0], s.m.xmm[x][0], int64(16+2*x))
		merge(&old.m.xmm[x][1], s.m.xmm[x][1], int64(17+2*x))
	}
	for k, v := range old.frame {
		w, ok := s.frame[k]
		if !ok {
			delete(old.frame, k)
			changed = true
			continue
		}
		merge(&v, w, 1<<20+k)
		old.frame[k] = v
	}
	if old.m.flags != s.m.flags {
		old.m.flags = flags{}
	}
	if changed {
		f.todo = append(f.todo, at)
	}
}

// block executes from a leader to where control leaves the sequence.
func (f *flower) block(at uint64) {
	for pc := at; f.steps < maxFlowSteps || f.record; {
		if pc != at && f.p.jumpTarget[pc] {
			f.reach(pc, f.s)
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
			in.clobber(result)
		case inst.Op == x86asm.JMP && direct:
			if f.p.leaves(f.start, target, f.s.m) {
				f.tail(&in, next)
			} else {
				f.reach(target, f.s)
			}
			return
		case inst.Op == x86asm.JMP:
			f.indirect(&in, next)
			return
		case direct:
			if f.p.leaves(f.start, target, f.s.m) {
				f.tail(&in, next)
			} else {
				f.reach(target, f.s)
			}
		case conditionalMove(inst.Op) != 0:
			in.write(inst.Args[0], f.ts.intern(opMerge, int64(pc), in.read(inst.Args[0]), in.read(inst.Args[1])))
		default:
			in.step()
		}
		pc = next
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
			f.reach(t, f.s)
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
		f.events = append(f.events, &e)
	}
	return &e
}

func frameSlot(address value) (int64, bool) {
	return address.c, address.t != nil && address.t.op == opFrame
}

func (f *flower) load(address value, size int) (value, bool) {
	if slot, ok := frameSlot(address); ok {
		v, ok := f.s.frame[slot]
		return v, ok
	}
	return value{}, false
}

func (f *flower) store(pc uint64, address value, size int, v value) {
	if slot, ok := frameSlot(address); ok {
		if _, known := f.s.frame[slot]; known || len(f.s.frame) < maxSlots {
			f.s.frame[slot] = v
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
			if _, known := f.s.frame[slot]; known {
				f.s.frame[slot] = f.ts.unknown(int64(pc)<<8 | 0x80 | int64(n))
			}
		}
	}
	f.add(event{kind: eventCall, pc: pc, call: c, result: result})
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
