// SPDX-License-Identifier: Apache-2.0

package unwind

import (
	"errors"
	"fmt"
	"math/bits"
)

// Call frame instructions: DWARF 5 section 7.24, GNU extensions LSB 10.5.2.
const (
	cfaNop                  = 0x00
	cfaSetLoc               = 0x01
	cfaAdvanceLoc1          = 0x02
	cfaAdvanceLoc2          = 0x03
	cfaAdvanceLoc4          = 0x04
	cfaOffsetExtended       = 0x05
	cfaRestoreExtended      = 0x06
	cfaUndefined            = 0x07
	cfaSameValue            = 0x08
	cfaRegister             = 0x09
	cfaRememberState        = 0x0a
	cfaRestoreState         = 0x0b
	cfaDefCFA               = 0x0c
	cfaDefCFARegister       = 0x0d
	cfaDefCFAOffset         = 0x0e
	cfaDefCFAExpression     = 0x0f
	cfaExpression           = 0x10
	cfaOffsetExtendedSF     = 0x11
	cfaDefCFASF             = 0x12
	cfaDefCFAOffsetSF       = 0x13
	cfaValOffset            = 0x14
	cfaValOffsetSF          = 0x15
	cfaValExpression        = 0x16
	cfaGNUArgsSize          = 0x2e
	cfaGNUNegOffsetExtended = 0x2f

	cfaAdvanceLoc = 0x40 // the low six bits are the operand of these three
	cfaOffset     = 0x80
	cfaRestore    = 0xc0
)

// place says how a register of the caller is found.
type place struct {
	kind placeKind
	arg  int64
}

type placeKind uint8

const (
	placeNone      placeKind = iota // no instruction named the register
	placeSame                       // DW_CFA_same_value
	placeUndefined                  // DW_CFA_undefined
	placeCFA                        // in memory at CFA + arg
	placeValue                      // is CFA + arg
	placeRegister                   // in register arg
	placeRBP                        // in memory at rbp + arg
	placeRSP                        // in memory at rsp + arg
	placeOther                      // by another expression
)

// The registers that matter have an index in state.regs: first those of
// Rule.Saved, then rsp and the return address.
const (
	slotRSP = iota + 6
	slotRA
	numSlots
)

// slots is the index in state.regs of each DWARF register, or -1.
var slots = [regRA + 1]int8{-1, -1, -1, 0, -1, -1, 1, slotRSP, -1, -1, -1, -1, 2, 3, 4, 5, slotRA}

// state is a row of the CFI table while it is being built.
type state struct {
	// The CFA is cfa if that has a kind, else register reg plus off. The two
	// are kept apart because DW_CFA_def_cfa_register keeps the offset that was
	// before an expression, as libgcc's unwind-dw2.c and readelf do.
	cfa    address
	hasReg bool
	reg    uint64
	off    int64
	regs   [numSlots]place
}

// program interprets the instructions of one CIE or FDE.
type program struct {
	cie   *cie
	bases *bases
	code  cursor
	state state
	stack []state // of DW_CFA_remember_state
}

var (
	errOffsetRange = errors.New("offset is out of range")
	errBackwards   = errors.New("location goes backwards")
)

// run interprets the instructions for addresses lo to hi, calling row for each
// address at which a row begins. A nil row says these are a CIE's instructions.
func (p *program) run(lo, hi uint64, row func(pc uint64, s *state) error) error {
	c, loc := &p.code, lo
	// advance ends the row at loc and begins one at to.
	advance := func(to uint64) error {
		if row == nil {
			return errors.New("CIE's instructions move the location")
		}
		if to == loc {
			return nil
		}
		if err := row(loc, &p.state); err != nil {
			return err
		}
		loc = to
		return nil
	}
	for c.pos < len(c.b) && loc < hi {
		op := c.u8()
		delta, moves := uint64(0), true
		switch {
		case op&0xc0 == cfaAdvanceLoc:
			delta = uint64(op & 0x3f)
		case op == cfaAdvanceLoc1:
			delta = uint64(c.u8())
		case op == cfaAdvanceLoc2:
			delta = uint64(c.u16())
		case op == cfaAdvanceLoc4:
			delta = uint64(c.u32())
		case op == cfaSetLoc:
			to, err := c.pointer(p.cie.ptrEnc, p.bases)
			if err != nil {
				return err
			}
			if to < loc {
				return errBackwards
			}
			if err := advance(to); err != nil {
				return err
			}
			continue
		default:
			moves = false
		}
		if !moves {
			if err := p.step(op); err != nil {
				return err
			}
			continue
		}
		if c.bad {
			return errTruncated
		}
		over, dist := bits.Mul64(delta, p.cie.codeAlign)
		to, carry := bits.Add64(loc, dist, 0)
		if over|carry != 0 {
			return errOffsetRange
		}
		if err := advance(to); err != nil {
			return err
		}
	}
	if row == nil || loc >= hi {
		return nil
	}
	return row(loc, &p.state)
}

// step interprets one instruction that does not move the location.
func (p *program) step(op uint8) (err error) {
	c, s := &p.code, &p.state
	switch {
	case op&0xc0 == cfaOffset:
		err = p.setOffset(uint64(op&0x3f), placeCFA, c.uleb())
	case op&0xc0 == cfaRestore:
		p.restore(uint64(op & 0x3f))
	case op == cfaNop:
	case op == cfaOffsetExtended:
		err = p.setOffset(c.uleb(), placeCFA, c.uleb())
	case op == cfaOffsetExtendedSF:
		err = p.setFactored(c.uleb(), placeCFA, c.sleb())
	case op == cfaGNUNegOffsetExtended:
		reg, off := c.uleb(), c.uleb()
		if !fitsInt32(int64(off)) {
			return errOffsetRange
		}
		err = p.setFactored(reg, placeCFA, -int64(off))
	case op == cfaValOffset:
		err = p.setOffset(c.uleb(), placeValue, c.uleb())
	case op == cfaValOffsetSF:
		err = p.setFactored(c.uleb(), placeValue, c.sleb())
	case op == cfaRestoreExtended:
		p.restore(c.uleb())
	case op == cfaUndefined:
		p.set(c.uleb(), place{kind: placeUndefined})
	case op == cfaSameValue:
		p.set(c.uleb(), place{kind: placeSame})
	case op == cfaRegister:
		reg, in := c.uleb(), c.uleb()
		pl := place{kind: placeRegister, arg: int64(in)}
		if in > 15 {
			pl = place{kind: placeOther}
		}
		p.set(reg, pl)
	case op == cfaExpression:
		reg := c.uleb()
		expr, err := p.expr()
		if err != nil {
			return err
		}
		p.set(reg, memoryPlace(expr))
	case op == cfaValExpression:
		reg := c.uleb()
		if _, err := p.expr(); err != nil {
			return err
		}
		p.set(reg, place{kind: placeOther})
	case op == cfaRememberState:
		if len(p.stack) == maxRemembered {
			return fmt.Errorf("over %d remembered states", maxRemembered)
		}
		p.stack = append(p.stack, *s)
	case op == cfaRestoreState:
		if len(p.stack) == 0 {
			return errors.New("no remembered state to restore")
		}
		*s = p.stack[len(p.stack)-1]
		p.stack = p.stack[:len(p.stack)-1]
	case op == cfaDefCFA:
		s.reg, s.hasReg, s.cfa = c.uleb(), true, address{}
		s.off, err = unfactored(c.uleb())
	case op == cfaDefCFASF:
		s.reg, s.hasReg, s.cfa = c.uleb(), true, address{}
		s.off, err = p.factored(c.sleb())
	case op == cfaDefCFARegister:
		s.reg, s.hasReg, s.cfa = c.uleb(), true, address{}
	case op == cfaDefCFAOffset:
		s.off, err = unfactored(c.uleb())
	case op == cfaDefCFAOffsetSF:
		s.off, err = p.factored(c.sleb())
	case op == cfaDefCFAExpression:
		expr, err := p.expr()
		if err != nil {
			return err
		}
		s.cfa = parseExpr(expr)
	case op == cfaGNUArgsSize:
		c.uleb() // for exception landing pads only
	default:
		return fmt.Errorf("unknown call frame instruction %#x", op)
	}
	if c.bad {
		return errTruncated
	}
	return err
}

func (p *program) set(reg uint64, pl place) {
	if reg < uint64(len(slots)) && slots[reg] >= 0 {
		p.state.regs[slots[reg]] = pl
	}
}

// restore gives reg the place it has after the CIE's instructions.
func (p *program) restore(reg uint64) {
	if reg < uint64(len(slots)) && slots[reg] >= 0 {
		p.state.regs[slots[reg]] = p.cie.init.regs[slots[reg]]
	}
}

// setOffset sets reg to kind with an unsigned factored offset.
func (p *program) setOffset(reg uint64, kind placeKind, off uint64) error {
	if !fitsInt32(int64(off)) {
		return errOffsetRange
	}
	return p.setFactored(reg, kind, int64(off))
}

// setFactored sets reg to kind with a signed factored offset.
func (p *program) setFactored(reg uint64, kind placeKind, off int64) error {
	bytes, err := p.factored(off)
	if err == nil {
		p.set(reg, place{kind: kind, arg: bytes})
	}
	return err
}

// factored multiplies off by the data alignment factor.
func (p *program) factored(off int64) (int64, error) {
	if !fitsInt32(off) {
		return 0, errOffsetRange
	}
	return off * p.cie.dataAlign, nil // both have 32 bits
}

func unfactored(off uint64) (int64, error) {
	if !fitsInt32(int64(off)) {
		return 0, errOffsetRange
	}
	return int64(off), nil
}

// expr reads a DWARF expression with its length.
func (p *program) expr() ([]byte, error) {
	n := p.code.uleb()
	if n > maxExpr {
		return nil, fmt.Errorf("expression of %d bytes, at most %d are read", n, maxExpr)
	}
	b := p.code.take(n)
	if p.code.bad {
		return nil, errTruncated
	}
	return b, nil
}

// memoryPlace is the place of a register saved at the address expr computes.
func memoryPlace(expr []byte) place {
	if a := parseExpr(expr); a.kind == CFARegister {
		switch a.reg {
		case regRBP:
			return place{kind: placeRBP, arg: a.off}
		case regRSP:
			return place{kind: placeRSP, arg: a.off}
		}
	}
	return place{kind: placeOther}
}
