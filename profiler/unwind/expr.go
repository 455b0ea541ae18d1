// SPDX-License-Identifier: Apache-2.0

package unwind

import "math"

// DWARF operations that occur in the expressions this package encodes: DWARF 5
// section 7.7.1.
const (
	opDeref      = 0x06
	opConst1u    = 0x08
	opConst1s    = 0x09
	opConst2u    = 0x0a
	opConst2s    = 0x0b
	opConst4u    = 0x0c
	opConst4s    = 0x0d
	opConstu     = 0x10
	opConsts     = 0x11
	opAnd        = 0x1a
	opPlus       = 0x22
	opPlusUconst = 0x23
	opShl        = 0x24
	opGe         = 0x2a
	opLit0       = 0x30
	opLit31      = 0x4f
	opBreg0      = 0x70
	opBreg31     = 0x8f
	opBregx      = 0x92
	opNop        = 0x96
)

// address is what an expression computes, as far as this package encodes it.
type address struct {
	kind CFAKind // CFARegister, CFADeref, CFAPLT, or CFAUnsupported
	reg  uint8
	off  int64
	add  int64 // as Rule.Add
}

// parseExpr recognizes reg+off, *(reg+off)+add and the PLT expression in b.
// Everything else, malformed expressions too, is CFAUnsupported: it is the rule
// that is not known then, not the rest of the FDE.
func parseExpr(b []byte) address {
	unsupported := address{kind: CFAUnsupported}
	c := cursor{b: b}
	reg, off, ok := c.breg()
	if !ok || reg > 15 {
		return unsupported
	}
	a := address{kind: CFARegister, reg: uint8(reg), off: off}
	if threshold, ok := pltThreshold(c.b[c.pos:]); ok {
		a.kind, a.add = CFAPLT, threshold
		return a
	}
	for c.pos < len(c.b) {
		var n int64
		switch op := c.u8(); op {
		case opNop:
			continue
		case opDeref:
			if a.kind != CFARegister {
				return unsupported
			}
			a.kind = CFADeref
			continue
		case opPlusUconst:
			v := c.uleb()
			if v > math.MaxInt32 {
				return unsupported
			}
			n = int64(v)
		default:
			if n, ok = c.constant(op); !ok || c.u8() != opPlus {
				return unsupported
			}
		}
		if a.kind == CFADeref {
			a.add += n
		} else {
			a.off += n
		}
		if c.bad || !fitsInt32(a.off) || !fitsInt32(a.add) {
			return unsupported
		}
	}
	return a
}

// breg reads DW_OP_bregN or DW_OP_bregx: a register and an offset to it.
func (c *cursor) breg() (reg uint64, off int64, ok bool) {
	switch op := c.u8(); {
	case op >= opBreg0 && op <= opBreg31:
		reg = uint64(op - opBreg0)
	case op == opBregx:
		reg = c.uleb()
	default:
		return 0, 0, false
	}
	off = c.sleb()
	return reg, off, !c.bad && fitsInt32(off)
}

// constant reads the operand of op, if op pushes a constant that fits in 32 bits.
func (c *cursor) constant(op uint8) (v int64, ok bool) {
	switch {
	case op >= opLit0 && op <= opLit31:
		v = int64(op - opLit0)
	case op == opConst1u:
		v = int64(c.u8())
	case op == opConst1s:
		v = int64(int8(c.u8()))
	case op == opConst2u:
		v = int64(c.u16())
	case op == opConst2s:
		v = int64(int16(c.u16()))
	case op == opConst4u:
		v = int64(c.u32())
	case op == opConst4s:
		v = int64(int32(c.u32()))
	case op == opConstu:
		u := c.uleb()
		if u > math.MaxInt32 {
			return 0, false
		}
		v = int64(u)
	case op == opConsts:
		v = c.sleb()
	default:
		return 0, false
	}
	return v, !c.bad && fitsInt32(v)
}

// pltThreshold recognizes what follows the breg in the linkers' expression for
// .plt: add 8 if rip & 15 >= threshold. Before that byte of a 16-byte PLT entry
// the return address is on top, behind it also what the entry pushed (elf_x86_64
// in binutils' bfd/elf64-x86-64.c, and lld).
func pltThreshold(b []byte) (threshold int64, ok bool) {
	c := cursor{b: b}
	if reg, off, ok := c.breg(); !ok || reg != regRA || off != 0 {
		return 0, false
	}
	if c.u8() != opLit0+15 || c.u8() != opAnd {
		return 0, false
	}
	op := c.u8()
	if op < opLit0 || op > opLit31 {
		return 0, false
	}
	if c.u8() != opGe || c.u8() != opLit0+3 || c.u8() != opShl || c.u8() != opPlus {
		return 0, false
	}
	return int64(op - opLit0), !c.bad && c.pos == len(b)
}

func fitsInt16(v int64) bool { return v == int64(int16(v)) }
func fitsInt32(v int64) bool { return v == int64(int32(v)) }
