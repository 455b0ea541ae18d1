// SPDX-License-Identifier: Apache-2.0

package structure

import "golang.org/x/arch/x86/x86asm"

// callee resolves what a call or jump leads to: a function, an import, or a
// term. next is the address behind the instruction.
func (in *interpreter) callee(next uint64) call {
	c := call{args: in.arguments()}
	switch a := in.inst.Args[0].(type) {
	case x86asm.Rel:
		c.target = constant(int64(next) + int64(a))
	case x86asm.Mem:
		at := in.address(a)
		if at.isConstant() {
			if name, ok := in.image.imports[uint64(at.c)]; ok {
				c.name = name
				return c
			}
		}
		c.target = in.loadFrom(at, 8)
	default:
		c.target = in.read(a)
		if at, ok := c.target.load(); ok && at.isConstant() {
			c.name = in.image.imports[uint64(at.c)]
		}
	}
	if c.target.isConstant() && c.name == "" {
		c.name = in.image.stub(uint64(c.target.c))
	}
	return c
}

// never says whether a call does not come back.
func (p *program) never(c call) bool {
	return neverReturn[c.name] || c.target.isConstant() && p.noReturn[uint64(c.target.c)]
}

// leaves says whether a jump to target leaves the function that begins at
// start: the frame is gone, and another function or a linkage table entry is
// there. (A part that gcc placed elsewhere is not a function.)
func (p *program) leaves(start, target uint64, m machine) bool {
	if target == start || !m.regs[regSP].is(opFrame) {
		return false
	}
	if p.starts[target] {
		return true
	}
	_, inside := p.extentAt(target)
	return !inside || p.stubAt(target) != ""
}

// decided says whether a conditional branch on a comparison is taken, where that
// is certain. It takes for certain that a pointer less the size of a header is
// not NULL.
func decided(op x86asm.Op, f flags) (taken, ok bool) {
	x, y := f.x, f.y
	switch {
	case x == y:
		switch op {
		case x86asm.JE, x86asm.JBE, x86asm.JAE, x86asm.JLE, x86asm.JGE:
			return true, true
		case x86asm.JNE, x86asm.JB, x86asm.JA, x86asm.JL, x86asm.JG:
			return false, true
		}
	case x.t == y.t: // they differ by a constant
		switch op {
		case x86asm.JE:
			return false, true
		case x86asm.JNE:
			return true, true
		}
	case f.difference && x.is(opArgument) && y.isConstant(),
		x.t != nil && x.t.op == opFrame && y.isConstant(): // the stack is not at 0
		switch op {
		case x86asm.JE:
			return false, true
		case x86asm.JNE:
			return true, true
		}
	}
	if x.isConstant() && y.isConstant() {
		switch op {
		case x86asm.JB:
			return uint64(x.c) < uint64(y.c), true
		case x86asm.JAE:
			return uint64(x.c) >= uint64(y.c), true
		case x86asm.JBE:
			return uint64(x.c) <= uint64(y.c), true
		case x86asm.JA:
			return uint64(x.c) > uint64(y.c), true
		}
	}
	return false, false
}

// conditionalMove returns the branch with the condition of a cmov, else 0.
func conditionalMove(op x86asm.Op) x86asm.Op { return conditionOfMove[op] }

var conditionOfMove = map[x86asm.Op]x86asm.Op{
	x86asm.CMOVE: x86asm.JE, x86asm.CMOVNE: x86asm.JNE, x86asm.CMOVB: x86asm.JB, x86asm.CMOVAE: x86asm.JAE,
	x86asm.CMOVBE: x86asm.JBE, x86asm.CMOVA: x86asm.JA, x86asm.CMOVL: x86asm.JL, x86asm.CMOVGE: x86asm.JGE,
	x86asm.CMOVLE: x86asm.JLE, x86asm.CMOVG: x86asm.JG, x86asm.CMOVS: x86asm.JS, x86asm.CMOVNS: x86asm.JNS,
	x86asm.CMOVP: x86asm.JP, x86asm.CMOVNP: x86asm.JNP, x86asm.CMOVO: x86asm.JO, x86asm.CMOVNO: x86asm.JNO,
}
