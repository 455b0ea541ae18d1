// SPDX-License-Identifier: Apache-2.0

package prologue

import "bytes"

// Form is a kind of instruction that kernels treat alike when they run it for a
// probe: all of a form are emulated, or none is.
type Form string

// The forms that begin functions. What is not among them is Other.
const (
	Push      Form = "push r64"
	PushHigh  Form = "push r8-r15"
	PushImm   Form = "push imm"
	Nop       Form = "nop"
	NopLong   Form = "nop of several bytes"
	Nop5      Form = "nop5" // 0f 1f 44 00 00, which Linux 6.18 replaces by a call
	NopPrefix Form = "nop with prefix 66"
	Jmp8      Form = "jmp rel8"
	Jmp32     Form = "jmp rel32"
	Jcc8      Form = "jcc rel8"
	Jcc32     Form = "jcc rel32"
	Call      Form = "call rel32"
	SubRSP    Form = "sub imm, rsp"
	MovReg    Form = "mov r64, r64"
	MovReg32  Form = "mov r32, r32"
	MovLoad   Form = "mov mem, r64"
	MovStore  Form = "mov r64, mem"
	Lea       Form = "lea"
	TestReg   Form = "test r, r"
	CmpMem    Form = "cmp imm, mem"
	XorReg    Form = "xor r, r"
	Endbr     Form = "endbr64"
	Ret       Form = "ret"
	Other     Form = "other"
)

// Forms are all but Other.
var Forms = []Form{
	Push, PushHigh, PushImm, Nop, NopLong, Nop5, NopPrefix, Jmp8, Jmp32, Jcc8, Jcc32, Call,
	SubRSP, MovReg, MovReg32, MovLoad, MovStore, Lea, TestReg, CmpMem, XorReg, Endbr, Ret,
}

// endbr64 begins functions built with -fcf-protection; x86asm does not know it.
var endbr64 = []byte{0xf3, 0x0f, 0x1e, 0xfa}

var nop5 = []byte{0x0f, 0x1f, 0x44, 0x00, 0x00}

// FormOf returns the form of the instruction that code begins with. It looks at
// the bytes as the kernel does (arch/x86/kernel/uprobes.c): a prefix makes
// another form of an instruction.
func FormOf(code []byte) Form {
	if len(code) == 0 {
		return Other
	}
	at := func(i int) byte {
		if i < len(code) {
			return code[i]
		}
		return 0
	}
	isReg := func(modrm byte) bool { return modrm >= 0xc0 }
	switch b := code[0]; {
	case b >= 0x50 && b <= 0x57:
		return Push
	case b == 0x41 && at(1) >= 0x50 && at(1) <= 0x57:
		return PushHigh
	case b == 0x6a, b == 0x68:
		return PushImm
	case b == 0x90:
		return Nop
	case b == 0x66 && (at(1) == 0x90 || at(1) == 0x0f && at(2) == 0x1f):
		return NopPrefix
	case bytes.HasPrefix(code, endbr64):
		return Endbr
	case bytes.HasPrefix(code, nop5):
		return Nop5
	case b == 0x0f && at(1) == 0x1f:
		return NopLong
	case b == 0xeb:
		return Jmp8
	case b == 0xe9:
		return Jmp32
	case b >= 0x70 && b <= 0x7f:
		return Jcc8
	case b == 0x0f && at(1) >= 0x80 && at(1) <= 0x8f:
		return Jcc32
	case b == 0xe8:
		return Call
	case b == 0xc3:
		return Ret
	case b == 0x48 && (at(1) == 0x83 || at(1) == 0x81) && at(2) == 0xec:
		return SubRSP
	case (b == 0x31 || b == 0x33) && isReg(at(1)):
		return XorReg
	case (b == 0x89 || b == 0x8b) && isReg(at(1)):
		return MovReg32
	case b == 0x80 && !isReg(at(1)) && at(1)&0x38 == 0x38:
		return CmpMem
	case b >= 0x40 && b <= 0x4f: // REX
		switch op, modrm := at(1), at(2); {
		case b&8 == 0 && (op == 0x89 || op == 0x8b) && isReg(modrm):
			return MovReg32
		case b&8 == 0:
			return Other
		case (op == 0x89 || op == 0x8b) && isReg(modrm):
			return MovReg
		case op == 0x8b:
			return MovLoad
		case op == 0x89:
			return MovStore
		case op == 0x8d:
			return Lea
		case op == 0x85 && isReg(modrm):
			return TestReg
		}
	}
	return Other
}
