// SPDX-License-Identifier: Apache-2.0

package prologue

import (
	"golang.org/x/arch/x86/x86asm"
)

// pass makes the state what it is behind an instruction. It is false if the
// function does not go on there alone, or if the instruction does what cannot
// be followed.
func (s *state) pass(in x86asm.Inst) bool {
	if isLocked(in) {
		return false
	}
	switch in.Op {
	case x86asm.NOP, x86asm.TEST, x86asm.CMP, x86asm.BT:
		return true
	case x86asm.PUSH:
		return s.push(in)
	case x86asm.CALL: // where it leads to
		to := s.registers[RSP]
		to.offset -= 8
		s.setRSP(to)
		s.overwrite(to.offset, 8)
		return false
	case x86asm.POP:
		return s.pop(in)
	case x86asm.MOV:
		return s.write(in, s.read(in.Args[1], in.MemBytes))
	case x86asm.LEA:
		m, ok := in.Args[1].(x86asm.Mem)
		if !ok {
			return false
		}
		return s.write(in, s.address(m))
	case x86asm.ADD, x86asm.SUB:
		return s.add(in)
	case x86asm.MUL, x86asm.DIV, x86asm.IDIV, x86asm.CDQ, x86asm.CQO:
		s.registers[RAX], s.registers[RDX] = known{}, known{}
		return true
	case x86asm.IMUL:
		if in.Args[1] == nil { // rdx:rax
			s.registers[RAX], s.registers[RDX] = known{}, known{}
			return true
		}
		return s.write(in, known{})
	case x86asm.CDQE, x86asm.CWDE:
		s.registers[RAX] = known{}
		return true
	case x86asm.MOVZX, x86asm.MOVSX, x86asm.MOVSXD,
		x86asm.AND, x86asm.OR, x86asm.XOR, x86asm.NOT, x86asm.NEG, x86asm.INC, x86asm.DEC, x86asm.ADC, x86asm.SBB,
		x86asm.SHL, x86asm.SHR, x86asm.SAR, x86asm.ROL, x86asm.ROR, x86asm.BSWAP, x86asm.BSF, x86asm.BSR, x86asm.LZCNT, x86asm.TZCNT, x86asm.POPCNT,
		x86asm.CMOVA, x86asm.CMOVAE, x86asm.CMOVB, x86asm.CMOVBE, x86asm.CMOVE, x86asm.CMOVG, x86asm.CMOVGE, x86asm.CMOVL, x86asm.CMOVLE,
		x86asm.CMOVNE, x86asm.CMOVNO, x86asm.CMOVNP, x86asm.CMOVNS, x86asm.CMOVO, x86asm.CMOVP, x86asm.CMOVS,
		x86asm.SETA, x86asm.SETAE, x86asm.SETB, x86asm.SETBE, x86asm.SETE, x86asm.SETG, x86asm.SETGE, x86asm.SETL, x86asm.SETLE,
		x86asm.SETNE, x86asm.SETNO, x86asm.SETNP, x86asm.SETNS, x86asm.SETO, x86asm.SETP, x86asm.SETS,
		x86asm.PXOR, x86asm.XORPS, x86asm.XORPD, x86asm.POR, x86asm.PAND, x86asm.MOVQ, x86asm.MOVD,
		x86asm.MOVAPS, x86asm.MOVUPS, x86asm.MOVAPD, x86asm.MOVUPD, x86asm.MOVDQA, x86asm.MOVDQU, x86asm.MOVSS,
		x86asm.MOVHPS, x86asm.MOVLPS, x86asm.PUNPCKLQDQ, x86asm.PSHUFD:
		return s.write(in, known{})
	}
	return false
}

func isLocked(in x86asm.Inst) bool {
	for _, p := range in.Prefix {
		switch p &^ (x86asm.PrefixImplicit | x86asm.PrefixIgnored) {
		case x86asm.PrefixLOCK, x86asm.PrefixREP, x86asm.PrefixREPN:
			// An implicit one is a part of the opcode, as in pause or movss.
			if p&x86asm.PrefixImplicit == 0 {
				return true
			}
		}
	}
	return false
}

// write puts a value into an instruction's first operand.
func (s *state) write(in x86asm.Inst, v known) bool {
	switch to := in.Args[0].(type) {
	case x86asm.Reg:
		r, bits, isGeneral := general(to)
		switch {
		case !isGeneral:
			return isVector(to)
		case bits < 32:
			v = known{}
		case bits == 32:
			v.bits = min(v.bits, 32)
		}
		if r == RSP {
			return s.setRSP(v)
		}
		s.registers[r] = v
		return true
	case x86asm.Mem:
		size := in.MemBytes
		if size == 0 {
			size = in.DataSize / 8
		}
		return s.store(to, size, v)
	}
	return false
}

// setRSP is false where it cannot be said how far rsp is from what it was.
func (s *state) setRSP(v known) bool {
	if !v.known || v.initial != RSP || v.bits != 64 || v.offset > 0 || v.offset < -mostDepth {
		return false
	}
	s.registers[RSP] = v
	return true
}

// store writes memory, if that is in the frame.
func (s *state) store(m x86asm.Mem, bytes int, v known) bool {
	a := s.address(m)
	if m.Segment != 0 || !a.known || a.initial != RSP || a.bits != 64 || bytes <= 0 || a.offset+int64(bytes) > 0 || a.offset < -mostDepth {
		return false
	}
	if a.offset < s.registers[RSP].offset {
		s.redZone = true
	}
	s.overwrite(a.offset, bytes)
	if bytes == 8 && v.bits == 64 || bytes == 4 {
		v.bits = bytes * 8
		s.slots[a.offset] = v
	}
	return true
}

// overwrite forgets what was where something is written.
func (s *state) overwrite(at int64, bytes int) {
	for slot, v := range s.slots {
		if at < slot+int64(v.bits/8) && slot < at+int64(bytes) {
			delete(s.slots, slot)
		}
	}
}

// read is the value of an operand, of so many bytes if it is in memory.
func (s *state) read(a x86asm.Arg, memBytes int) known {
	switch from := a.(type) {
	case x86asm.Reg:
		if r, bits, ok := general(from); ok && bits >= 32 {
			v := s.registers[r]
			v.bits = min(v.bits, bits)
			return v
		}
	case x86asm.Mem:
		at := s.address(from)
		if from.Segment == 0 && at.known && at.initial == RSP && at.bits == 64 {
			if v, ok := s.slots[at.offset]; ok && v.bits/8 == memBytes {
				return v
			}
		}
	}
	return known{}
}

// address is what a memory operand's address is.
func (s *state) address(m x86asm.Mem) known {
	base, bits, ok := general(m.Base)
	if m.Index != 0 || !ok || bits != 64 {
		return known{}
	}
	v := s.registers[base]
	v.offset += m.Disp
	return v
}

func (s *state) add(in x86asm.Inst) bool {
	v := known{}
	if by, ok := in.Args[1].(x86asm.Imm); ok {
		if to, isRegister := in.Args[0].(x86asm.Reg); isRegister {
			v = s.read(to, 0)
			if in.Op == x86asm.SUB {
				by = -by
			}
			v.offset += int64(by)
		}
	}
	return s.write(in, v)
}

func (s *state) push(in x86asm.Inst) bool {
	if in.DataSize == 16 {
		return false
	}
	v := s.read(in.Args[0], in.MemBytes)
	to := s.registers[RSP]
	to.offset -= 8
	if !s.setRSP(to) {
		return false
	}
	s.overwrite(to.offset, 8)
	if v.known && v.bits == 64 {
		s.slots[to.offset] = v
	}
	return true
}

func (s *state) pop(in x86asm.Inst) bool {
	to, ok := in.Args[0].(x86asm.Reg)
	r, bits, isGeneral := general(to)
	if !ok || !isGeneral || bits != 64 || r == RSP {
		return false
	}
	from := s.registers[RSP]
	s.registers[r] = s.slots[from.offset]
	if s.registers[r].bits != 64 {
		s.registers[r] = known{}
	}
	from.offset += 8
	return s.setRSP(from)
}

// general returns the number of a general register and how many bits of it are
// meant.
func general(r x86asm.Reg) (n Register, bits int, ok bool) {
	switch {
	case r >= x86asm.RAX && r <= x86asm.R15:
		return Register(r - x86asm.RAX), 64, true
	case r >= x86asm.EAX && r <= x86asm.R15L:
		return Register(r - x86asm.EAX), 32, true
	case r >= x86asm.AX && r <= x86asm.R15W:
		return Register(r - x86asm.AX), 16, true
	case r >= x86asm.AL && r <= x86asm.BL:
		return Register(r - x86asm.AL), 8, true
	case r >= x86asm.AH && r <= x86asm.BH:
		return Register(r - x86asm.AH), 8, true
	case r >= x86asm.SPB && r <= x86asm.R15B:
		return Register(r-x86asm.SPB) + RSP, 8, true
	}
	return 0, 0, false
}

func isVector(r x86asm.Reg) bool { return r >= x86asm.X0 && r <= x86asm.X15 }
