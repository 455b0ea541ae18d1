// SPDX-License-Identifier: Apache-2.0

package inline

import (
	"strings"
	"testing"
)

func TestEvaluate(t *testing.T) {
	in := func(b ...byte) []byte { return b }
	rsp16 := func() (term, error) { return term{base: 7, offset: 16}, nil }
	cfa := func() (term, error) { return term{base: CFA}, nil }
	tests := []struct {
		name       string
		expression []byte
		frame      func() (term, error)
		want       Arg
		why        string
	}{
		{"rdi", in(opReg0 + 5), nil, Arg{Kind: Register, Register: 5}, ""},
		{"regx", in(opRegx, 12), nil, Arg{Kind: Register, Register: 12}, ""},
		{"xmm0", in(opReg0 + 17), nil, Arg{}, "general-purpose"},
		{"xmm16", in(opRegx, 0xc3, 0), nil, Arg{}, "general-purpose"},
		{"memory", in(opBreg0+7, 8), nil, Arg{Kind: Memory, Register: 7, Offset: 8}, ""},
		{"negative", in(opBreg0+6, 0x70), nil, Arg{Kind: Memory, Register: 6, Offset: -16}, ""},
		{"bregx", in(opBregx, 14, 0xff, 0x7e), nil, Arg{Kind: Memory, Register: 14, Offset: -129}, ""},
		{"sum", in(opBreg0, 4, opStackValue), nil, Arg{Kind: Register, Offset: 4}, ""},
		{"plus", in(opBreg0+3, 0, opPlusUconst, 24, opStackValue), nil, Arg{Kind: Register, Register: 3, Offset: 24}, ""},
		{"plus literal", in(opBreg0+3, 1, opLit0+2, opPlus, opStackValue), nil, Arg{Kind: Register, Register: 3, Offset: 3}, ""},
		{"literal plus", in(opLit0+2, opBreg0+3, 1, opPlus, opStackValue), nil, Arg{Kind: Register, Register: 3, Offset: 3}, ""},
		{"minus", in(opBreg0+3, 1, opLit0+2, opMinus, opStackValue), nil, Arg{Kind: Register, Register: 3, Offset: -1}, ""},
		{"literal minus register", in(opLit0+2, opBreg0+3, 1, opMinus, opStackValue), nil, Arg{}, "computed from two registers"},
		{"two registers", in(opBreg0, 0, opBreg0+1, 0, opPlus, opStackValue), nil, Arg{}, "computed from two registers"},
		{"deref", in(opBreg0+3, 8, opDeref, opStackValue), nil, Arg{Kind: Memory, Register: 3, Offset: 8}, ""},
		{"deref twice", in(opBreg0+3, 8, opDeref), nil, Arg{}, "two pointers"},
		{"deref and add", in(opBreg0+3, 8, opDeref, opPlusUconst, 1, opStackValue), nil, Arg{}, "computed from memory"},
		{"literal", in(opLit31, opStackValue), nil, Arg{Kind: Constant, Offset: 31}, ""},
		{"const1u", in(opConst1u, 0xff, opStackValue), nil, Arg{Kind: Constant, Offset: 255}, ""},
		{"const1s", in(opConst1s, 0xff, opStackValue), nil, Arg{Kind: Constant, Offset: -1}, ""},
		{"const2u", in(opConst2u, 1, 2, opStackValue), nil, Arg{Kind: Constant, Offset: 0x201}, ""},
		{"const2s", in(opConst2s, 0, 0x80, opStackValue), nil, Arg{Kind: Constant, Offset: -0x8000}, ""},
		{"const4u", in(opConst4u, 0, 0, 0, 0x80, opStackValue), nil, Arg{Kind: Constant, Offset: 1 << 31}, ""},
		{"const4s", in(opConst4s, 0, 0, 0, 0x80, opStackValue), nil, Arg{Kind: Constant, Offset: -1 << 31}, ""},
		{"const8u", in(opConst8u, 1, 0, 0, 0, 0, 0, 0, 0x80, opStackValue), nil, Arg{Kind: Constant, Offset: -1<<63 + 1}, ""},
		{"constu", in(opConstu, 0x80, 1, opStackValue), nil, Arg{Kind: Constant, Offset: 128}, ""},
		{"consts", in(opConsts, 0x7f, opStackValue), nil, Arg{Kind: Constant, Offset: -1}, ""},
		{"implicit", in(opImplicitValue, 2, 1, 2), nil, Arg{Kind: Constant, Offset: 0x201}, ""},
		{"implicit, too long", in(opImplicitValue, 16, 1, 2), nil, Arg{}, "malformed"},
		{"static", in(opAddr, 0, 1, 0, 0, 0, 0, 0, 0), nil, Arg{Kind: Memory, Register: LoadBias, Offset: 0x100}, ""},
		{"address", in(opAddr, 0, 1, 0, 0, 0, 0, 0, 0, opStackValue), nil, Arg{Kind: Register, Register: LoadBias, Offset: 0x100}, ""},
		{"addrx", in(opAddrx, 1, opStackValue), nil, Arg{Kind: Register, Register: LoadBias, Offset: 0x77}, ""},
		{"addrx, out of range", in(opAddrx, 9, opStackValue), nil, Arg{}, ".debug_addr"},
		{"constx", in(opConstx, 1, opStackValue), nil, Arg{Kind: Constant, Offset: 0x77}, ""},
		{"fixed address", in(opConst1u, 16), nil, Arg{}, "fixed address"},
		{"cfa", in(opCallFrameCFA, opConsts, 0x70, opPlus), nil, Arg{Kind: Memory, Register: CFA, Offset: -16}, ""},
		{"fbreg of cfa", in(opFbreg, 0x68), cfa, Arg{Kind: Memory, Register: CFA, Offset: -24}, ""},
		{"fbreg of rsp", in(opFbreg, 8), rsp16, Arg{Kind: Memory, Register: 7, Offset: 24}, ""},
		{"address of a local", in(opFbreg, 0x68, opStackValue), cfa, Arg{Kind: Register, Register: CFA, Offset: -24}, ""},
		{"fbreg without frame", in(opFbreg, 8), nil, Arg{}, "frame base"},
		{"nop", in(opNop, opLit0, opNop, opStackValue), nil, Arg{Kind: Constant}, ""},
		{"entry value", in(opEntryValue, 1, opReg0+5, opStackValue), nil, Arg{}, "entry_value"},
		{"gnu entry value", in(opGNUEntryValue, 1, opReg0+5, opStackValue), nil, Arg{}, "entry_value"},
		{"parameter ref", in(opGNUParameterRef, 0, 0, 0, 0, opStackValue), nil, Arg{}, "entry_value"},
		{"implicit pointer", in(opImplicitPointer, 0, 0, 0, 0, 0), nil, Arg{}, "implicit_pointer"},
		{"pieces", in(opReg0, opPiece, 4, opReg0+1, opPiece, 4), nil, Arg{}, "pieces"},
		{"value in pieces", in(opLit0, opStackValue, opPiece, 4), nil, Arg{}, "pieces"},
		{"nothing but a piece", in(opPiece, 4), nil, Arg{}, "pieces"},
		{"unknown operation", in(opBreg0, 0, 0x1e, opStackValue), nil, Arg{}, "operation 0x1e"},
		{"empty", nil, nil, Arg{}, "optimized out"},
		{"only nop", in(opNop), nil, Arg{}, "malformed"},
		{"register after value", in(opLit0, opReg0), nil, Arg{}, "malformed"},
		{"truncated", in(opConst4u, 1), nil, Arg{}, "malformed"},
		{"truncated register", in(opRegx), nil, Arg{}, "malformed"},
		{"truncated offset", in(opBreg0, 0x80), nil, Arg{}, "malformed"},
		{"nothing to load", in(opDeref), nil, Arg{}, "malformed"},
		{"nothing to add to", in(opPlusUconst, 1), nil, Arg{}, "malformed"},
		{"one to add", in(opLit0, opPlus), nil, Arg{}, "malformed"},
		{"no value", in(opStackValue), nil, Arg{}, "malformed"},
		{"deep", []byte(strings.Repeat(string(rune(opLit0)), maxExpressionDepth+1)), nil, Arg{}, "malformed"},
		{"long", make([]byte, maxExpressionBytes+1), nil, Arg{}, "malformed"},
	}
	addr := list{}.u64(0).u64(0x77)
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			ev := evaluator{unit: &unit{addrBase: 0}, sections: &sections{addr: addr}, frameBase: test.frame}
			got, err := ev.evaluate(test.expression)
			if err == nil && got.Why != "" {
				if !strings.Contains(got.Why, test.why) || test.why == "" {
					t.Errorf("reason %q, want %q", got.Why, test.why)
				}
				return
			}
			if test.why != "" {
				if err == nil || !strings.Contains(err.Error(), test.why) {
					t.Errorf("%+v, error %v, want %q", got, err, test.why)
				}
				return
			}
			if err != nil || got != test.want {
				t.Errorf("%+v, error %v, want %+v", got, err, test.want)
			}
		})
	}
}
