// SPDX-License-Identifier: Apache-2.0

package structure

import "golang.org/x/arch/x86/x86asm"

// vector executes the SSE instructions by which compilers move two pointers at
// once, and says whether the instruction was one of them.
func (in *interpreter) vector() bool {
	args := in.inst.Args
	switch in.inst.Op {
	case x86asm.MOVAPS, x86asm.MOVUPS, x86asm.MOVAPD, x86asm.MOVUPD, x86asm.MOVDQA, x86asm.MOVDQU, x86asm.LDDQU, x86asm.MOVNTPS, x86asm.MOVNTDQ:
		in.writePair(args[0], in.readPair(args[1]))
	case x86asm.MOVQ, x86asm.MOVD:
		in.moveLow()
	case x86asm.MOVHPS, x86asm.MOVHPD, x86asm.MOVLPS, x86asm.MOVLPD:
		half := 0
		if in.inst.Op == x86asm.MOVHPS || in.inst.Op == x86asm.MOVHPD {
			half = 1
		}
		if x, ok := vectorRegister(args[0]); ok {
			in.m.xmm[x][half] = in.readLow(args[1])
		} else if x, ok := vectorRegister(args[1]); ok {
			in.write(args[0], in.m.xmm[x][half])
		}
	case x86asm.PUNPCKLQDQ, x86asm.UNPCKLPD, x86asm.MOVLHPS:
		a, b := in.readPair(args[0]), in.readPair(args[1])
		in.writePair(args[0], [2]value{a[0], b[0]})
	case x86asm.PUNPCKHQDQ, x86asm.UNPCKHPD:
		a, b := in.readPair(args[0]), in.readPair(args[1])
		in.writePair(args[0], [2]value{a[1], b[1]})
	case x86asm.MOVHLPS:
		a, b := in.readPair(args[0]), in.readPair(args[1])
		in.writePair(args[0], [2]value{b[1], a[1]})
	case x86asm.PXOR, x86asm.XORPS, x86asm.XORPD:
		pair := [2]value{in.env.fresh(in.pc), in.env.fresh(in.pc)}
		if args[0] == args[1] {
			pair = [2]value{constant(0), constant(0)}
		}
		in.writePair(args[0], pair)
	case x86asm.PSHUFD, x86asm.SHUFPD:
		in.shuffle()
	case x86asm.PINSRQ:
		if x, ok := vectorRegister(args[0]); ok {
			if half, ok := args[2].(x86asm.Imm); ok {
				in.m.xmm[x][half&1] = in.read(args[1])
			}
		}
	default:
		return false
	}
	return true
}

func (in *interpreter) readPair(a x86asm.Arg) [2]value {
	if x, ok := vectorRegister(a); ok {
		return in.m.xmm[x]
	}
	if mem, ok := a.(x86asm.Mem); ok {
		at := in.address(mem)
		return [2]value{in.loadFrom(at, 8), in.loadFrom(at.plus(8), 8)}
	}
	return [2]value{in.env.fresh(in.pc), in.env.fresh(in.pc)}
}

func (in *interpreter) writePair(a x86asm.Arg, pair [2]value) {
	if x, ok := vectorRegister(a); ok {
		in.m.xmm[x] = pair
	} else if mem, ok := a.(x86asm.Mem); ok {
		at := in.address(mem)
		in.storeTo(at, 8, pair[0])
		in.storeTo(at.plus(8), 8, pair[1])
	}
}

func (in *interpreter) readLow(a x86asm.Arg) value {
	if x, ok := vectorRegister(a); ok {
		return in.m.xmm[x][0]
	}
	return in.read(a)
}

// moveLow is movq and movd: the low half, the high half becomes zero.
func (in *interpreter) moveLow() {
	v := in.readLow(in.inst.Args[1])
	if x, ok := vectorRegister(in.inst.Args[0]); ok {
		in.m.xmm[x] = [2]value{v, constant(0)}
		return
	}
	in.write(in.inst.Args[0], v)
}

// shuffle knows the shuffles that keep 8-byte halves together.
func (in *interpreter) shuffle() {
	a, b := in.readPair(in.inst.Args[0]), in.readPair(in.inst.Args[1])
	order, _ := in.inst.Args[2].(x86asm.Imm)
	pair := [2]value{in.env.fresh(in.pc), in.env.fresh(in.pc)}
	if in.inst.Op == x86asm.SHUFPD {
		pair = [2]value{a[order&1], b[order>>1&1]}
	} else {
		switch uint8(order) {
		case 0x44:
			pair = [2]value{b[0], b[0]}
		case 0xee:
			pair = [2]value{b[1], b[1]}
		case 0x4e:
			pair = [2]value{b[1], b[0]}
		case 0xe4:
			pair = b
		}
	}
	in.writePair(in.inst.Args[0], pair)
}
