// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"bytes"
	"debug/elf"

	"golang.org/x/arch/x86/x86asm"

	"leakprof/profiler/target"
)

// findSymbol returns a function of the module by its exact name, from .symtab
// where there is one and else from .dynsym. Versioned symbols of glibc
// (memalign@GLIBC_2.2.5) have the bare name here.
func findSymbol(m *target.Module, name string) (elf.Symbol, bool) {
	all, _ := m.ELF.Symbols()
	for _, s := range append(all, dynamicSymbols(m.ELF)...) {
		kind := elf.ST_TYPE(s.Info)
		if s.Name == name && s.Section != elf.SHN_UNDEF && kind == elf.STT_FUNC && s.Value != 0 {
			return s, true
		}
	}
	return elf.Symbol{}, false
}

// dwarfRDI is rdi's DWARF number (System V ABI, figure 3.36).
const dwarfRDI = 5

func newSite(m *target.Module, sym elf.Symbol, function string, event Event, by FoundBy, returns bool) Site {
	s := Site{Event: event, Function: function, Module: m, Address: sym.Value, FoundBy: by, Entry: true, Return: returns, ArgRegister: dwarfRDI}
	// Without the whole function's code nobody can say that nothing jumps in
	// behind the entry; then the entry itself is probed, which is always right.
	if code, ok := functionCode(m, sym); ok {
		s.Offset, s.Emulated = probeOffset(code)
	}
	return s
}

func functionCode(m *target.Module, sym elf.Symbol) ([]byte, bool) {
	return codeAt(m, sym.Value, sym.Size)
}

// codeAt reads code at an ELF vaddr from the file.
func codeAt(m *target.Module, address, size uint64) ([]byte, bool) {
	const most = 1 << 16
	if size == 0 || size > most {
		return nil, false
	}
	off, err := m.FileOffset(address)
	if err != nil {
		return nil, false
	}
	code := make([]byte, size)
	if n, err := m.Reader.ReadAt(code, int64(off)); err != nil && n < len(code) {
		return nil, false
	}
	return code, true
}

// endbr64 begins functions built with -fcf-protection; x86asm does not know it.
var endbr64 = []byte{0xf3, 0x0f, 0x1e, 0xfa}

// probeOffset returns the offset of the first instruction that the kernel
// emulates, as long as all before it only set flags: endbr64, nop, test and
// cmp of registers and constants. Then every register, rsp included, still
// holds what it held at the entry, so arguments and return address can be had
// there just as well. 0 if there is none, or if any jump in the function
// leads behind the entry and up to the offset, so that it might run more
// often than the function is called.
func probeOffset(code []byte) (offset uint64, isEmulated bool) {
	at := 0
	for {
		if at >= len(code) || at > 32 {
			return 0, emulated(code)
		}
		if emulated(code[at:]) {
			break
		}
		if bytes.HasPrefix(code[at:], endbr64) {
			at += len(endbr64)
			continue
		}
		inst, err := x86asm.Decode(code[at:], 64)
		if err != nil || !onlySetsFlags(inst) {
			return 0, emulated(code)
		}
		at += inst.Len
	}
	if at > 0 && jumpsInto(code, at) {
		return 0, emulated(code)
	}
	return uint64(at), true
}

func onlySetsFlags(inst x86asm.Inst) bool {
	switch inst.Op {
	case x86asm.NOP:
		return true
	case x86asm.TEST, x86asm.CMP:
		for _, arg := range inst.Args {
			if _, isMem := arg.(x86asm.Mem); isMem {
				return false // it might fault
			}
		}
		return true
	}
	return false
}

// emulated says whether the kernel (arch/x86/kernel/uprobes.c,
// branch_setup_xol_ops and push_setup_xol_ops) emulates the instruction: push
// of a register, nop, near jmp, jcc and call with a relative target.
func emulated(code []byte) bool {
	at := 0
	if len(code) > 1 && code[0] == 0x41 { // REX.B: push r8-r15
		return code[1] >= 0x50 && code[1] <= 0x57
	}
	if at >= len(code) {
		return false
	}
	switch b := code[at]; {
	case b >= 0x50 && b <= 0x57, b >= 0x70 && b <= 0x7f, b == 0x90, b == 0xe8, b == 0xe9, b == 0xeb:
		return true
	case b == 0x0f && len(code) > 1:
		return code[1] >= 0x80 && code[1] <= 0x8f || code[1] == 0x1f
	}
	return false
}

// jumpsInto says whether the function holds a jump to a place behind its
// entry and not behind at, or cannot be decoded to the end.
func jumpsInto(code []byte, at int) bool {
	for pc := 0; pc < len(code); {
		if bytes.HasPrefix(code[pc:], endbr64) {
			pc += len(endbr64)
			continue
		}
		inst, err := x86asm.Decode(code[pc:], 64)
		if err != nil || inst.Op == 0 {
			return true
		}
		pc += inst.Len
		for _, arg := range inst.Args {
			if rel, ok := arg.(x86asm.Rel); ok {
				if to := pc + int(rel); to > 0 && to <= at {
					return true
				}
			}
		}
	}
	return false
}
