// SPDX-License-Identifier: Apache-2.0

package structure

import "golang.org/x/arch/x86/x86asm"

// registerSet is a set of the general registers.
type registerSet uint16

const allRegisters registerSet = 0xffff

func (s registerSet) has(r int) bool { return s>>r&1 != 0 }

func (s registerSet) with(r int) registerSet { return s | 1<<r }

// written returns the general registers that an instruction may write.
func written(in *x86asm.Inst) (s registerSet) {
	add := func(a x86asm.Arg) {
		if r, ok := a.(x86asm.Reg); ok {
			if n, _, _, ok := register(r); ok {
				s = s.with(n)
			}
		}
	}
	switch in.Op {
	case x86asm.CMP, x86asm.TEST, x86asm.PUSH, x86asm.NOP:
		return s
	case x86asm.XCHG, x86asm.XADD:
		add(in.Args[1])
	case x86asm.CPUID, x86asm.RDTSC, x86asm.RDTSCP, x86asm.XGETBV, x86asm.SYSCALL, x86asm.CMPXCHG16B, x86asm.CMPXCHG8B, x86asm.MULX:
		return allRegisters
	case x86asm.MUL, x86asm.IMUL, x86asm.DIV, x86asm.IDIV, x86asm.CMPXCHG, x86asm.CDQ, x86asm.CQO, x86asm.CWD:
		s = s.with(regAX).with(regDX)
	case x86asm.STOSB, x86asm.STOSW, x86asm.STOSD, x86asm.STOSQ, x86asm.MOVSB, x86asm.MOVSW, x86asm.MOVSD, x86asm.MOVSQ,
		x86asm.SCASB, x86asm.CMPSB, x86asm.LODSB:
		s = s.with(regCX).with(regSI).with(regDI).with(regAX)
	}
	add(in.Args[0])
	return s
}

// findClobbers computes for each function what it and all that it calls write.
// gcc (-fipa-ra) keeps values in registers that a callee in the same unit does
// not touch, whatever the ABI says.
func (p *program) findClobbers() {
	for start, written := range p.written {
		p.clobbers[p.functionOf(start)] |= written
	}
	var todo []uint64
	spread := func(callee uint64) {
		if !p.noReturn[callee] { // what does not return clobbers nothing
			todo = append(todo, callee)
		}
	}
	for _, t := range p.transfers {
		f := p.functionOf(t.pc)
		out := t.target != 0 && p.functionOf(t.target) != f
		switch {
		case t.kind == transferIndirectCall, t.kind == transferIndirectJump,
			out && !p.starts[t.target] && !p.ends(t.target):
			p.clobbers[f] = allRegisters
		}
	}
	for _, e := range p.extents {
		spread(e.Start)
	}
	for len(todo) > 0 {
		callee := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		for _, caller := range p.callersOf(callee) {
			if after := p.clobbers[caller] | p.clobbers[callee]; after != p.clobbers[caller] {
				p.clobbers[caller] = after
				spread(caller)
			}
		}
	}
}

// clobbersOf returns what a call may write.
func (p *program) clobbersOf(c call) registerSet {
	if c.name == "" && c.target.isConstant() && p.starts[uint64(c.target.c)] {
		return p.clobbers[uint64(c.target.c)]
	}
	return allRegisters
}
