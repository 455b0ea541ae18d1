// SPDX-License-Identifier: Apache-2.0

package probecost

import "leakprof/profiler/plan/prologue"

// sample is a function of which the instruction at an offset is probed.
type sample struct {
	form prologue.Form
	code []byte
	at   uint64
}

// samples has each form once. Functions return at once; those without a use for
// an instruction undo what it did.
var samples = []sample{
	{form: prologue.Push, code: []byte{0x53, 0x5b, 0xc3}},                       // push rbx; pop rbx; ret
	{form: prologue.PushHigh, code: []byte{0x41, 0x54, 0x41, 0x5c, 0xc3}},       // push r12; pop r12; ret
	{form: prologue.PushImm, code: []byte{0x6a, 0x01, 0x58, 0xc3}},              // push 1; pop rax; ret
	{form: prologue.Nop, code: []byte{0x90, 0xc3}},                              // nop; ret
	{form: prologue.NopLong, code: []byte{0x0f, 0x1f, 0x40, 0x00, 0xc3}},        // nopl 0(rax); ret
	{form: prologue.Nop5, code: []byte{0x0f, 0x1f, 0x44, 0x00, 0x00, 0xc3}},     // nopl 0(rax,rax); ret
	{form: prologue.NopPrefix, code: []byte{0x66, 0x90, 0xc3}},                  // xchg ax, ax; ret
	{form: prologue.Jmp8, code: []byte{0xeb, 0x00, 0xc3}},                       // jmp +0; ret
	{form: prologue.Jmp32, code: []byte{0xe9, 0, 0, 0, 0, 0xc3}},                // jmp +0; ret
	{form: prologue.Jcc8, code: []byte{0x74, 0x00, 0xc3}},                       // je +0; ret
	{form: prologue.Jcc32, code: []byte{0x0f, 0x84, 0, 0, 0, 0, 0xc3}},          // je +0; ret
	{form: prologue.Call, code: []byte{0xe8, 1, 0, 0, 0, 0xc3, 0xc3}},           // call +1; ret; ret
	{form: prologue.SubRSP, code: []byte{0x48, 0x83, 0xec, 8, 0x58, 0xc3}},      // sub 8, rsp; pop rax; ret
	{form: prologue.MovReg, code: []byte{0x48, 0x89, 0xf8, 0xc3}},               // mov rdi, rax; ret
	{form: prologue.MovReg32, code: []byte{0x89, 0xf8, 0xc3}},                   // mov edi, eax; ret
	{form: prologue.MovLoad, code: []byte{0x48, 0x8b, 0x04, 0x24, 0xc3}},        // mov (rsp), rax; ret
	{form: prologue.MovStore, code: []byte{0x48, 0x89, 0x44, 0x24, 0xf8, 0xc3}}, // mov rax, -8(rsp); ret
	{form: prologue.Lea, code: []byte{0x48, 0x8d, 0x47, 0x01, 0xc3}},            // lea 1(rdi), rax; ret
	{form: prologue.TestReg, code: []byte{0x48, 0x85, 0xff, 0xc3}},              // test rdi, rdi; ret
	{form: prologue.CmpMem, code: []byte{0x80, 0x3c, 0x24, 0x00, 0xc3}},         // cmpb 0, (rsp); ret
	{form: prologue.XorReg, code: []byte{0x31, 0xc0, 0xc3}},                     // xor eax, eax; ret
	{form: prologue.Endbr, code: []byte{0xf3, 0x0f, 0x1e, 0xfa, 0xc3}},          // endbr64; ret
	{form: prologue.Ret, code: []byte{0xc3}},                                    // ret
	{form: prologue.Other, code: []byte{0x0f, 0xb6, 0xc7, 0xc3}},                // movzx bh, eax; ret
}
