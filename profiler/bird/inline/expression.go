// SPDX-License-Identifier: Apache-2.0

package inline

import (
	"errors"
	"fmt"
	"math"
)

// Operations of location expressions: DWARF 5 §7.7.1, and GNU's of before.
const (
	opAddr            = 0x03
	opDeref           = 0x06
	opConst1u         = 0x08
	opConst1s         = 0x09
	opConst2u         = 0x0a
	opConst2s         = 0x0b
	opConst4u         = 0x0c
	opConst4s         = 0x0d
	opConst8u         = 0x0e
	opConst8s         = 0x0f
	opConstu          = 0x10
	opConsts          = 0x11
	opMinus           = 0x1c
	opPlus            = 0x22
	opPlusUconst      = 0x23
	opLit0            = 0x30
	opLit31           = 0x4f
	opReg0            = 0x50
	opReg31           = 0x6f
	opBreg0           = 0x70
	opBreg31          = 0x8f
	opRegx            = 0x90
	opFbreg           = 0x91
	opBregx           = 0x92
	opPiece           = 0x93
	opNop             = 0x96
	opCallFrameCFA    = 0x9c
	opBitPiece        = 0x9d
	opImplicitValue   = 0x9e
	opStackValue      = 0x9f
	opImplicitPointer = 0xa0
	opAddrx           = 0xa1
	opConstx          = 0xa2
	opEntryValue      = 0xa3
	opGNUImplicitPtr  = 0xf2
	opGNUEntryValue   = 0xf3
	opGNUParameterRef = 0xfa
)

const (
	// maxExpressionBytes and maxExpressionDepth bound an expression and its
	// stack; compilers need a few dozen bytes and three terms.
	maxExpressionBytes = 4096
	maxExpressionDepth = 64
	// lastGeneralRegister is r15; rip and the vector registers follow.
	lastGeneralRegister = 15
)

var (
	errExpression = errors.New("location expression is truncated or malformed")
	errPieces     = errors.New("the value is in pieces")
	errRegister   = errors.New("the value is not in a general-purpose register")
	errEntryValue = errors.New("only the caller knew the value (DW_OP_entry_value)")
	errPointer    = errors.New("the value points to what no longer exists (DW_OP_implicit_pointer)")
	errOptimized  = errors.New("optimized out")
	errFrameBase  = errors.New("the frame base is not known")
)

// noRegister is the base of a term that is a number.
const noRegister = math.MinInt

// term is a value that an expression computes: base + offset, or the 8 bytes
// in memory there.
type term struct {
	base   int // a register as in Arg, or noRegister
	offset int64
	loaded bool
}

func (t term) plus(n int64) (term, error) {
	if t.loaded && n != 0 {
		return t, errors.New("the value is computed from memory")
	}
	t.offset += n
	return t, nil
}

// arg makes the result of an expression an Arg's place.
func (t term) arg() Arg {
	switch {
	case t.loaded && t.base != noRegister:
		return Arg{Kind: Memory, Register: t.base, Offset: t.offset}
	case t.loaded:
		return Arg{Why: "the value is at a fixed address"}
	case t.base == noRegister:
		return Arg{Kind: Constant, Offset: t.offset}
	}
	return Arg{Kind: Register, Register: t.base, Offset: t.offset}
}

// evaluator follows location expressions with names for what is in registers.
type evaluator struct {
	unit     *unit
	sections *sections
	// frameBase is what DW_OP_fbreg is relative to.
	frameBase func() (term, error)
}

// evaluate returns where the expression says the value is (DWARF 5 §2.6.1).
func (ev *evaluator) evaluate(expression []byte) (Arg, error) {
	if len(expression) == 0 {
		return Arg{}, errOptimized
	}
	if len(expression) > maxExpressionBytes {
		return Arg{}, errExpression
	}
	c := cursor{b: expression}
	var stack []term
	push := func(t term) { stack = append(stack, t) }
	for len(c.b) > 0 {
		op := byte(c.uint(1))
		var err error
		switch {
		case op >= opReg0 && op <= opReg31 || op == opRegx:
			register := uint64(op - opReg0)
			if op == opRegx {
				register = c.uleb()
			}
			switch {
			case c.bad || len(stack) > 0:
				return Arg{}, errExpression
			case len(c.b) > 0:
				return Arg{}, errPieces
			case register > lastGeneralRegister:
				return Arg{}, errRegister
			}
			return Arg{Kind: Register, Register: int(register)}, nil
		case op == opImplicitValue:
			b := c.bytes(c.uleb())
			if c.bad || len(b) > 8 || len(c.b) > 0 || len(stack) > 0 {
				return Arg{}, errExpression
			}
			return constant(b), nil
		case op == opStackValue:
			if c.bad || len(stack) == 0 {
				return Arg{}, errExpression
			}
			if len(c.b) > 0 {
				return Arg{}, errPieces
			}
			return stack[len(stack)-1].arg(), nil
		case op == opPiece, op == opBitPiece:
			return Arg{}, errPieces
		case op == opEntryValue, op == opGNUEntryValue, op == opGNUParameterRef:
			return Arg{}, errEntryValue
		case op == opImplicitPointer, op == opGNUImplicitPtr:
			return Arg{}, errPointer
		case op == opDeref:
			stack, err = ev.load(stack)
		case op == opPlus, op == opMinus:
			stack, err = add(stack, op == opMinus)
		case op == opPlusUconst:
			n := int64(c.uleb())
			if len(stack) == 0 {
				return Arg{}, errExpression
			}
			stack[len(stack)-1], err = stack[len(stack)-1].plus(n)
		case op == opNop:
		default:
			var t term
			if t, err = ev.operand(op, &c); err == nil {
				push(t)
			}
		}
		if c.bad || len(stack) > maxExpressionDepth {
			return Arg{}, errExpression
		}
		if err != nil {
			return Arg{}, err
		}
	}
	if len(stack) == 0 {
		return Arg{}, errExpression
	}
	// Without DW_OP_stack_value the result is the address of the value.
	top, err := ev.load(stack)
	if err != nil {
		return Arg{}, err
	}
	return top[len(top)-1].arg(), nil
}

// operand reads what follows an operation that pushes one term.
func (ev *evaluator) operand(op byte, c *cursor) (term, error) {
	number := func(n int64) (term, error) { return term{base: noRegister, offset: n}, nil }
	relative := func(register uint64, offset int64) (term, error) {
		if register > lastGeneralRegister {
			return term{}, errRegister
		}
		return term{base: int(register), offset: offset}, nil
	}
	switch {
	case op >= opLit0 && op <= opLit31:
		return number(int64(op - opLit0))
	case op >= opBreg0 && op <= opBreg31:
		return relative(uint64(op-opBreg0), c.sleb())
	}
	switch op {
	case opBregx:
		register := c.uleb()
		return relative(register, c.sleb())
	case opConst1u:
		return number(int64(c.uint(1)))
	case opConst2u:
		return number(int64(c.uint(2)))
	case opConst4u:
		return number(int64(c.uint(4)))
	case opConst8u:
		return number(int64(c.uint(8)))
	case opConst1s:
		return number(c.int(1))
	case opConst2s:
		return number(c.int(2))
	case opConst4s:
		return number(c.int(4))
	case opConst8s:
		return number(c.int(8))
	case opConstu:
		return number(int64(c.uleb()))
	case opConsts:
		return number(c.sleb())
	case opAddr:
		return term{base: LoadBias, offset: int64(c.uint(8))}, nil
	case opAddrx:
		addr, err := ev.unit.address(ev.sections, c.uleb())
		return term{base: LoadBias, offset: int64(addr)}, err
	case opConstx:
		n, err := ev.unit.address(ev.sections, c.uleb())
		return term{base: noRegister, offset: int64(n)}, err
	case opCallFrameCFA:
		return term{base: CFA}, nil
	case opFbreg:
		n := c.sleb()
		if ev.frameBase == nil {
			return term{}, errFrameBase
		}
		t, err := ev.frameBase()
		if err != nil {
			return term{}, err
		}
		return t.plus(n)
	}
	return term{}, fmt.Errorf("the value is computed (operation %#x)", op)
}

// load replaces the address on top by what is in memory there.
func (ev *evaluator) load(stack []term) ([]term, error) {
	if len(stack) == 0 {
		return nil, errExpression
	}
	top := &stack[len(stack)-1]
	if top.loaded {
		return nil, errors.New("the value is behind two pointers")
	}
	top.loaded = true
	return stack, nil
}

// add replaces the two topmost terms by their sum or difference.
func add(stack []term, minus bool) ([]term, error) {
	if len(stack) < 2 {
		return nil, errExpression
	}
	a, b := stack[len(stack)-2], stack[len(stack)-1]
	if a.base == noRegister && !a.loaded && !minus {
		a, b = b, a
	}
	if b.base != noRegister || b.loaded {
		return nil, errors.New("the value is computed from two registers")
	}
	if minus {
		b.offset = -b.offset
	}
	sum, err := a.plus(b.offset)
	if err != nil {
		return nil, err
	}
	return append(stack[:len(stack)-2], sum), nil
}

// constant returns the number in up to 8 little-endian bytes.
func constant(b []byte) Arg {
	c := cursor{b: b}
	return Arg{Kind: Constant, Offset: int64(c.uint(len(b)))}
}
