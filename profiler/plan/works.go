// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"bytes"

	"golang.org/x/arch/x86/x86asm"
)

// works says whether code of a function, in [lo, hi) ranges of ELF vaddrs, may do
// what the function is for, and does not only hold an assertion and call the
// rest. Whoever takes an object marks it as taken, and so writes memory; whoever
// takes one from a slab multiplies its number by the size of an object. It is
// true where the code cannot be read: the compiler may also have mixed in
// instructions of the function around it.
func (s *survey) works(function string, ranges [][2]uint64) bool {
	var pieces [][]byte
	for _, r := range ranges {
		code, ok := codeAt(s.exe, r[0], r[1]-r[0])
		if !ok {
			return true
		}
		pieces = append(pieces, code)
	}
	return len(pieces) == 0 || does(function, pieces)
}

// does is works for code at hand.
func does(function string, pieces [][]byte) bool {
	writes, multiplies := false, false
	for _, code := range pieces {
		if !eachInstruction(code, func(in x86asm.Inst) {
			writes = writes || writesBehind(in)
			multiplies = multiplies || in.Op == x86asm.IMUL || in.Op == x86asm.MUL
		}) {
			return true
		}
	}
	return writes && (multiplies || function != "sl_alloc")
}

// endbr64 begins functions built with -fcf-protection; x86asm does not know it.
var endbr64 = []byte{0xf3, 0x0f, 0x1e, 0xfa}

// eachInstruction is false if the code cannot be decoded to the end.
func eachInstruction(code []byte, visit func(x86asm.Inst)) bool {
	for at := 0; at < len(code); {
		if bytes.HasPrefix(code[at:], endbr64) {
			at += len(endbr64)
			continue
		}
		in, err := x86asm.Decode(code[at:], 64)
		if err != nil || in.Op == 0 {
			return false
		}
		visit(in)
		at += in.Len
	}
	return true
}

// writesBehind says whether an instruction writes memory that is not in the
// stack frame. Instructions write their first operand, but for those that only
// read it.
func writesBehind(in x86asm.Inst) bool {
	switch in.Op {
	case x86asm.CMP, x86asm.TEST, x86asm.BT, x86asm.NOP, x86asm.CALL, x86asm.JMP, x86asm.PUSH,
		x86asm.MUL, x86asm.IMUL, x86asm.DIV, x86asm.IDIV,
		x86asm.PREFETCHT0, x86asm.PREFETCHT1, x86asm.PREFETCHT2, x86asm.PREFETCHNTA, x86asm.PREFETCHW:
		return false
	case x86asm.XCHG, x86asm.XADD: // both operands
		for _, a := range in.Args {
			if m, ok := a.(x86asm.Mem); ok && !onStack(m) {
				return true
			}
		}
		return false
	}
	m, ok := in.Args[0].(x86asm.Mem)
	return ok && !onStack(m)
}

// onStack: from rsp, or below rbp, where that is the frame's pointer. Objects'
// fields lie above what points to them.
func onStack(m x86asm.Mem) bool {
	return m.Segment == 0 && (m.Base == x86asm.RSP || m.Base == x86asm.RBP && m.Disp < 0)
}
