// SPDX-License-Identifier: Apache-2.0

package structure

import "golang.org/x/arch/x86/x86asm"

// interpreter executes single instructions on a machine in an environment.
type interpreter struct {
	image *image
	ts    *terms
	m     *machine
	env   environment
	pc    uint64
	inst  *x86asm.Inst
}

// displacement is a memory operand's constant. x86asm does not extend the sign
// of one of 32 bits, as the processor does. Longer ones are absolute addresses
// (mov to and from the accumulator).
func displacement(a x86asm.Mem) int64 {
	if a.Disp == int64(uint32(a.Disp)) {
		return int64(int32(a.Disp))
	}
	return a.Disp
}

// address computes what a memory operand points at.
func (in *interpreter) address(a x86asm.Mem) value {
	v := constant(displacement(a))
	if a.Segment == x86asm.FS || in.prefixed(x86asm.PrefixFS) {
		v = in.ts.sum(v, in.ts.intern(opThread, 0, value{}, value{}))
	}
	if a.Base == x86asm.RIP {
		v = v.plus(int64(in.pc) + int64(in.inst.Len))
	} else if n, _, _, ok := register(a.Base); ok {
		v = in.ts.sum(v, in.m.regs[n])
	}
	if n, _, _, ok := register(a.Index); ok && a.Scale != 0 {
		v = in.ts.sum(v, in.ts.product(in.m.regs[n], constant(int64(a.Scale))))
	}
	return v
}

// loadFrom reads memory: what was stored, what can never change, or a term.
func (in *interpreter) loadFrom(address value, size int) value {
	// At the thread pointer stands the thread pointer itself (ELF Handling For
	// Thread-Local Storage, 4.4.6): code that may not use fs twice loads it.
	if address.is(opThread) && address.c == 0 && size == 8 {
		return address
	}
	if v, ok := in.env.load(address, size); ok {
		return v
	}
	if address.isConstant() && size == 8 {
		if w, ok := in.image.constantAt(uint64(address.c)); ok {
			return constant(int64(w))
		}
	}
	return in.ts.loadOf(address, size)
}

// width returns the bytes that an operand has.
func (in *interpreter) width(a x86asm.Arg) int {
	switch a := a.(type) {
	case x86asm.Reg:
		_, w, _, _ := register(a)
		return w
	case x86asm.Mem:
		return in.inst.MemBytes
	}
	return in.inst.DataSize / 8
}

func (in *interpreter) read(a x86asm.Arg) value {
	switch a := a.(type) {
	case x86asm.Reg:
		if n, _, high, ok := register(a); ok && !high {
			return in.m.regs[n]
		}
	case x86asm.Imm:
		if in.inst.DataSize == 32 {
			return constant(int64(uint32(a)))
		}
		return constant(int64(a))
	case x86asm.Mem:
		return in.loadFrom(in.address(a), in.inst.MemBytes)
	}
	return in.env.fresh(in.pc)
}

func (in *interpreter) write(a x86asm.Arg, v value) {
	switch a := a.(type) {
	case x86asm.Reg:
		n, width, high, ok := register(a)
		switch {
		case !ok:
			if x, ok := vectorRegister(a); ok {
				in.m.xmm[x] = [2]value{in.env.fresh(in.pc), in.env.fresh(in.pc)}
			}
			return
		case high:
			v = in.env.fresh(in.pc)
		case width == 4 && v.isConstant():
			v.c = int64(uint32(v.c))
		}
		in.m.regs[n] = v
	case x86asm.Mem:
		in.storeTo(in.address(a), in.inst.MemBytes, v)
	}
}

func (in *interpreter) storeTo(address value, size int, v value) {
	if in.locked() {
		in.env.atomic(in.pc, address)
	}
	if v.isConstant() && size == 4 {
		v.c = int64(uint32(v.c))
	}
	in.env.store(in.pc, address, size, v)
}

func (in *interpreter) locked() bool { return in.prefixed(x86asm.PrefixLOCK) }

func (in *interpreter) prefixed(want x86asm.Prefix) bool {
	for _, p := range in.inst.Prefix {
		if p == 0 {
			break
		}
		if p&0xff == want&0xff {
			return true
		}
	}
	return false
}

// compared sets the flags to those of cmp x, y.
func (in *interpreter) compared(x, y value) { in.m.flags = flags{known: true, x: x, y: y} }

// step executes one instruction other than jumps, calls and returns.
func (in *interpreter) step() {
	args, m := in.inst.Args, in.m
	switch in.inst.Op {
	case x86asm.NOP, x86asm.PREFETCHT0, x86asm.PREFETCHT1, x86asm.PREFETCHT2, x86asm.PREFETCHNTA, x86asm.PREFETCHW,
		x86asm.PAUSE, x86asm.MFENCE, x86asm.LFENCE, x86asm.SFENCE:
	case x86asm.MOV, x86asm.MOVZX, x86asm.MOVNTI:
		in.write(args[0], in.read(args[1]))
	case x86asm.MOVSX, x86asm.MOVSXD:
		v := in.read(args[1])
		if v.isConstant() && in.width(args[1]) == 4 {
			v.c = int64(int32(v.c))
		}
		in.write(args[0], v)
	case x86asm.LEA:
		if mem, ok := args[1].(x86asm.Mem); ok {
			in.write(args[0], in.address(mem))
		}
	case x86asm.CMP:
		in.compared(in.read(args[0]), in.read(args[1]))
	case x86asm.TEST:
		in.compared(in.ts.and(in.read(args[0]), in.read(args[1])), constant(0))
	case x86asm.ADD, x86asm.SUB, x86asm.AND, x86asm.OR, x86asm.XOR, x86asm.ADC, x86asm.SBB:
		in.arithmetic()
	case x86asm.INC, x86asm.DEC, x86asm.NEG, x86asm.NOT:
		v := in.read(args[0])
		switch in.inst.Op {
		case x86asm.INC:
			v = v.plus(1)
		case x86asm.DEC:
			v = v.plus(-1)
		case x86asm.NEG:
			v = in.ts.negative(v)
		case x86asm.NOT:
			v = in.ts.not(v)
		}
		in.write(args[0], v)
		in.compared(v, constant(0))
	case x86asm.IMUL, x86asm.MUL:
		in.multiply()
	case x86asm.DIV, x86asm.IDIV:
		by := in.read(args[0])
		in.env.divide(in.pc, by)
		m.regs[regAX] = in.ts.quotient(m.regs[regAX], by)
		m.regs[regDX] = in.env.fresh(in.pc)
		m.flags = flags{}
	case x86asm.SHL, x86asm.SHR, x86asm.SAR:
		in.shift()
	case x86asm.PUSH:
		v := in.read(args[0])
		m.regs[regSP] = m.regs[regSP].plus(-8)
		in.env.store(in.pc, m.regs[regSP], 8, v)
	case x86asm.POP:
		v := in.loadFrom(m.regs[regSP], 8)
		m.regs[regSP] = m.regs[regSP].plus(8)
		in.write(args[0], v)
	case x86asm.LEAVE:
		m.regs[regSP] = m.regs[regBP].plus(8)
		m.regs[regBP] = in.loadFrom(m.regs[regBP], 8)
	case x86asm.XCHG:
		a, b := in.read(args[0]), in.read(args[1])
		if mem, ok := args[0].(x86asm.Mem); ok {
			in.env.atomic(in.pc, in.address(mem))
			a = in.env.fresh(in.pc) // another thread may have stored
		}
		in.write(args[0], b)
		in.write(args[1], a)
	case x86asm.XADD, x86asm.CMPXCHG:
		if mem, ok := args[0].(x86asm.Mem); ok {
			in.env.atomic(in.pc, in.address(mem))
		}
		in.write(args[0], in.env.fresh(in.pc))
		if in.inst.Op == x86asm.XADD {
			in.write(args[1], in.env.fresh(in.pc))
		} else {
			m.regs[regAX] = in.env.fresh(in.pc)
		}
		m.flags = flags{}
	case x86asm.CDQE, x86asm.CWDE, x86asm.CBW:
	case x86asm.CDQ, x86asm.CQO, x86asm.CWD:
		m.regs[regDX] = in.env.fresh(in.pc)
	case x86asm.STOSB, x86asm.STOSD, x86asm.STOSQ, x86asm.STOSW, x86asm.MOVSB, x86asm.MOVSD, x86asm.MOVSQ, x86asm.MOVSW:
		in.stringOperation()
	default:
		if !in.vector() {
			in.other()
		}
	}
}

func (in *interpreter) arithmetic() {
	a, b := in.read(in.inst.Args[0]), in.read(in.inst.Args[1])
	v := in.env.fresh(in.pc)
	setFlags := true
	switch in.inst.Op {
	case x86asm.ADD:
		v = in.ts.sum(a, in.signed(b))
	case x86asm.SUB:
		v = in.ts.sum(a, in.ts.negative(in.signed(b)))
		in.m.flags = flags{known: true, x: a, y: b, difference: true}
		setFlags = false
	case x86asm.AND:
		v = in.ts.and(a, in.signed(b))
	case x86asm.OR:
		switch {
		case a.isConstant() && b.isConstant():
			v = constant(a.c | b.c)
		case a == b, b == constant(0):
			v = a
		case a == constant(0):
			v = b
		case b.isConstant() && in.signed(b).c == -1: // -Os: or $-1, %rax
			v = in.signed(b)
		}
	case x86asm.XOR:
		switch {
		case a == b:
			v = constant(0)
		case a.isConstant() && b.isConstant():
			v = constant(a.c ^ b.c)
		case b.isConstant() && in.signed(b).c == -1:
			v = in.ts.not(a)
		}
	default: // adc, sbb
		setFlags = false
		in.m.flags = flags{}
	}
	in.write(in.inst.Args[0], v)
	if setFlags {
		in.compared(v, constant(0))
	}
}

// signed undoes the zero extension of a 32-bit immediate: adding 0xfffffff0 in
// 32 bits is subtracting 16.
func (in *interpreter) signed(v value) value {
	if v.isConstant() && in.inst.DataSize == 32 {
		v.c = int64(int32(v.c))
	}
	return v
}

func (in *interpreter) multiply() {
	args := in.inst.Args
	in.m.flags = flags{}
	switch {
	case args[2] != nil:
		in.write(args[0], in.ts.product(in.read(args[1]), in.read(args[2])))
	case args[1] != nil:
		in.write(args[0], in.ts.product(in.read(args[0]), in.read(args[1])))
	default:
		in.m.regs[regAX] = in.ts.product(in.m.regs[regAX], in.read(args[0]))
		in.m.regs[regDX] = in.env.fresh(in.pc)
	}
}

func (in *interpreter) shift() {
	args := in.inst.Args
	v := in.env.fresh(in.pc)
	if by, ok := args[1].(x86asm.Imm); ok && by >= 0 && by < 63 {
		if in.inst.Op == x86asm.SHL {
			v = in.ts.product(in.read(args[0]), constant(1<<by))
		} else {
			v = in.ts.quotient(in.read(args[0]), constant(1<<by))
		}
	}
	in.write(args[0], v)
	in.compared(v, constant(0))
}

// stringOperation takes rep stos for a memset and rep movs for a memcpy, which
// they are where the direction flag is clear (AMD64 ABI: it is).
func (in *interpreter) stringOperation() {
	m := in.m
	size := map[x86asm.Op]int64{
		x86asm.STOSB: 1, x86asm.STOSW: 2, x86asm.STOSD: 4, x86asm.STOSQ: 8,
		x86asm.MOVSB: 1, x86asm.MOVSW: 2, x86asm.MOVSD: 4, x86asm.MOVSQ: 8,
	}[in.inst.Op]
	c := call{name: "memcpy", args: [6]value{m.regs[regDI], m.regs[regSI]}}
	switch in.inst.Op {
	case x86asm.STOSB, x86asm.STOSW, x86asm.STOSD, x86asm.STOSQ:
		c.name, c.args[1] = "memset", m.regs[regAX]
	default:
		m.regs[regSI] = in.env.fresh(in.pc)
	}
	c.args[2] = constant(size)
	if in.prefixed(x86asm.PrefixREP) {
		c.args[2] = in.ts.product(m.regs[regCX], constant(size))
		m.regs[regCX] = constant(0)
	}
	in.env.call(in.pc, c)
	m.regs[regDI] = in.env.fresh(in.pc)
}

// other makes what an instruction writes unknown.
func (in *interpreter) other() {
	if a := in.inst.Args[0]; a != nil {
		in.write(a, in.env.fresh(in.pc))
	}
	switch in.inst.Op {
	case x86asm.CPUID, x86asm.RDTSC, x86asm.RDTSCP, x86asm.XGETBV, x86asm.SYSCALL, x86asm.SCASB, x86asm.CMPSB,
		x86asm.LODSB, x86asm.CMPXCHG16B, x86asm.MULX:
		for _, r := range []int{regAX, regBX, regCX, regDX, regSI, regDI} {
			in.m.regs[r] = in.env.fresh(in.pc)
		}
	}
	in.m.flags = flags{}
}

// arguments collects a call's arguments; clobber forgets what a callee may change.
func (in *interpreter) arguments() (args [6]value) {
	for n, r := range arguments {
		args[n] = in.m.regs[r]
	}
	return args
}

func (in *interpreter) clobber(result value, written registerSet) {
	for _, r := range []int{regCX, regDX, regSI, regDI, 8, 9, 10, 11} {
		if written.has(r) {
			in.m.regs[r] = in.ts.unknown(int64(in.pc)<<8 | int64(r))
		}
	}
	for i := range in.m.xmm { // nothing is read from them before it is written
		in.m.xmm[i] = [2]value{in.ts.lost, in.ts.lost}
	}
	in.m.regs[regAX] = result
	in.m.flags = flags{}
}
