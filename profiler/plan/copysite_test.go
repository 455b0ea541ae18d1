// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"leakprof/profiler/plan/prologue"
	"leakprof/profiler/target"
)

// assemble makes a library of assembly code.
func assemble(t *testing.T, source string) *target.Module {
	t.Helper()
	dir := t.TempDir()
	asm, lib := filepath.Join(dir, "code.s"), filepath.Join(dir, "code.so")
	if err := os.WriteFile(asm, []byte(source), 0o600); err != nil {
		t.Fatal(err)
	}
	if msg, err := exec.Command("gcc", "-shared", "-nostdlib", "-o", lib, asm).CombinedOutput(); err != nil {
		t.Fatalf("gcc: %v: %s (apt-get install -y gcc)", err, msg)
	}
	return openModule(t, lib)
}

// TestCopySite: the probe in a copy moves over what changes flags alone, and not
// where something jumps in.
func TestCopySite(t *testing.T) {
	const source = `
	.globl holder, jumped
	holder: .cfi_startproc
		mov %rsi, %rax
	first:	cmpb $0, flag(%rip)
		jne out
	second:	mov %rax, %rdx
		jmp first
	out:	ret
	.cfi_endproc
	jumped: .cfi_startproc
		mov %rsi, %rax
	third:	cmpb $0, flag(%rip)
	into:	jne into
		ret
	.cfi_endproc
	.local flag
	.comm flag, 1
	`
	m := assemble(t, source)
	s := &survey{exe: m}
	symbols, err := m.ELF.Symbols()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		at     string
		offset uint64
		form   prologue.Form
	}{
		{"first", 7, prologue.Jcc8}, {"out", 0, prologue.Ret}, {"second", 0, prologue.MovReg}, {"third", 0, prologue.CmpMem},
	} {
		i := slices.IndexFunc(symbols, func(s elf.Symbol) bool { return s.Name == c.at })
		if i < 0 {
			t.Fatalf("there is no %s", c.at)
		}
		sym := symbols[i]
		site := s.within(Site{}, sym.Value, 0, ByInline) // DWARF's number of rax
		if site.Address != sym.Value || site.Offset != c.offset || site.Instruction != c.form || site.Arguments[0].Value.Register != prologue.RAX {
			t.Errorf("%s: +%d %s, %v; want +%d %s", c.at, site.Offset, site.Instruction, site.Arguments, c.offset, c.form)
		}
	}
}

// TestDisagreement: the probe stays on the entry of a function into whose
// beginning another part of the file jumps, or whose unwind rows say that the
// frame is elsewhere.
func TestDisagreement(t *testing.T) {
	const source = `
	.type free, @function
	free:	.cfi_startproc
		endbr64
	again:	push %rbx
		pop %rbx
		ret
		.cfi_endproc
	.size free, . - free
	.type malloc, @function
	malloc:	.cfi_startproc
		endbr64
		push %rbx
		pop %rbx
		ret
		.cfi_endproc
	.size malloc, . - malloc
	.type calloc, @function
	calloc:	.cfi_startproc
		sub $8, %rsp # of which the rows say nothing
		push %rbx
		pop %rbx
		add $8, %rsp
		ret
		.cfi_endproc
	.size calloc, . - calloc
	.type realloc, @function
	realloc:	.cfi_startproc
		sub $8, %rsp
		.cfi_adjust_cfa_offset 8
		push %rbx
		pop %rbx
		add $8, %rsp
		ret
		.cfi_endproc
	.size realloc, . - realloc
	.type valloc, @function
	valloc:	endbr64 # without rows
		push %rbx
		pop %rbx
		ret
	.size valloc, . - valloc
	.section .text.unlikely, "ax"
	free.cold: jmp again
	`
	m := assemble(t, source)
	for function, want := range map[string]uint64{"free": 0, "malloc": 4, "calloc": 0, "realloc": 4, "valloc": 0} {
		sym, ok := findSymbol(m, function)
		if !ok {
			t.Fatalf("there is no %s", function)
		}
		s := newPlacer(m, nil).site(Function{Name: function, Address: sym.Value, Size: sym.Size}, BlockFreed, ByLibc, true, false)
		if s.Offset != want {
			t.Errorf("%s is probed at +%d, want +%d", function, s.Offset, want)
		}
	}
}
