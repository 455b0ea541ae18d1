// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"debug/elf"
	"fmt"
	"slices"
	"sync"

	"leakprof/profiler/plan/prologue"
	"leakprof/profiler/target"
	"leakprof/profiler/unwind"
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

// wanted is an argument that the program at a function's entry reads.
type wanted struct {
	number int // of the function's arguments, from 0
	bits   int // that the program reads, 32 or 64
}

// arguments are those that programs read, in the order in which they do: see
// bpf/blocks.h, pages.h and objects.h.
var arguments = map[string][]wanted{
	"malloc": {{0, 64}}, "valloc": {{0, 64}}, "pvalloc": {{0, 64}},
	"calloc":   {{0, 64}, {1, 64}},
	"realloc":  {{0, 64}, {1, 64}},
	"memalign": {{1, 64}}, "aligned_alloc": {{1, 64}},
	"posix_memalign": {{0, 64}, {2, 64}},
	"free":           {{0, 64}},

	"mb_alloc": {{1, 32}}, "mb_allocz": {{1, 32}}, "mb_realloc": {{1, 32}},
	"free_page": {{0, 64}},
	"isl_alloc": {{0, 64}},
	"lp_alloc":  {{1, 32}}, "lp_allocu": {{1, 32}}, "lp_allocz": {{1, 32}},
}

// placer puts probes on functions of one module.
type placer struct {
	module *target.Module
	costs  *Costs               // nil if nothing was measured
	rows   func() *unwind.Table // nil if there are none
	// jumps are those in each executable segment; nil if they cannot be told.
	jumps func() []*prologue.Landings
}

func newPlacer(m *target.Module, c *Costs) *placer {
	return &placer{m, c, sync.OnceValue(func() *unwind.Table {
		t, err := unwind.NewTable(m.ELF)
		if err != nil {
			return nil
		}
		return t
	}), sync.OnceValue(func() []*prologue.Landings { return jumps(m) })}
}

// site makes a site of a function: on its entry, or on an instruction behind it
// that costs less.
func (p *placer) site(f Function, event Event, by FoundBy, entry, returns bool) Site {
	s := Site{Event: event, Function: f.Name, Module: p.module, Address: f.Address, FoundBy: by, Entry: entry, Return: returns}
	var wants []wanted
	if entry {
		wants = arguments[f.Name]
	}
	code, whole := codeAt(p.module, f.Address, f.Size)
	if !whole {
		code, _ = codeAt(p.module, f.Address, longestInstruction)
	}
	place, args := atEntry(code, wants)
	// Without the whole function's code nobody can say that nothing jumps in
	// behind the entry; then the entry itself is probed, which is always right.
	if whole {
		if there, a := choose(code, wants, returns, p.costs); there.Offset == 0 || p.agrees(f.Address, there) {
			place, args = there, a
		}
	}
	s.Offset, s.Depth, s.Arguments, s.Instruction = place.Offset, place.Depth, args, place.Form
	p.costs.price(&s)
	return s
}

// agrees says whether what the file has besides the function's code is in
// agreement with a place in it: its unwind row has the frame where the place has
// it, and no jump leads between the entry and the place.
func (p *placer) agrees(address uint64, place prologue.Place) bool {
	rows := p.rows()
	if rows == nil {
		return false
	}
	rule := rows.Lookup(address + place.Offset)
	return rule.CFA == unwind.CFARegister && place.IsFrame(prologue.FromDWARF(int(rule.Reg)), int64(rule.Off)) && !p.landed(address, place.Offset)
}

// IsProved says that the site needs no trial: it is the function's entry, or
// nothing but flags has changed since.
func (s Site) IsProved() bool {
	if s.Offset == 0 {
		return true
	}
	code, err := s.Code()
	if err != nil {
		return false
	}
	p, ok := prologue.At(code, s.Offset)
	return ok && p.IsUntouched()
}

// Retreat puts the probes of a function whose site did not stand its trial on its
// entry, and notes why.
func (p *Plan) Retreat(address uint64, m *target.Module, why error) {
	back := func(sites []Site) {
		for i, s := range sites {
			if s.Address == address && s.Module == m {
				sites[i] = s.atEntry(p.Options.Costs)
			}
		}
	}
	back(p.Sites)
	for _, e := range p.Events {
		back(e.Sites)
	}
	p.Notes = append(p.Notes, "probed at the entry: "+why.Error())
}

// atEntry is the site on the very entry of its function, which is always right.
func (s Site) atEntry(c *Costs) Site {
	if s.Offset == 0 {
		return s
	}
	code, _ := codeAt(s.Module, s.Address, longestInstruction)
	s.Offset, s.Depth, s.Instruction = 0, 0, prologue.FormOf(code)
	s.Arguments = slices.Clone(s.Arguments)
	for i := range s.Arguments {
		a := &s.Arguments[i]
		a.Value = prologue.Value{Register: prologue.Argument(a.Number)}
	}
	c.price(&s)
	return s
}

// Code is the beginning of the function in its file, up to and with the probed
// instruction at least.
func (s Site) Code() ([]byte, error) {
	const before = 64 * longestInstruction
	off, err := s.Module.FileOffset(s.Address)
	if err != nil {
		return nil, err
	}
	code := make([]byte, before)
	n, err := s.Module.Reader.ReadAt(code, int64(off))
	if err != nil && n == 0 {
		return nil, fmt.Errorf("read code of %s: %w", s.Function, err)
	}
	return code[:n], nil
}

const longestInstruction = 15

// choose returns the first instruction of a function that the kernel emulates
// and at which what is wanted of the arguments can be had; for a return probe,
// rsp has to be as at the entry besides. It is the entry if there is none.
func choose(code []byte, wants []wanted, returns bool, c *Costs) (prologue.Place, []Argument) {
	const mostDepth = 0xff * 8 // that a cookie can hold
	for _, p := range prologue.Follow(code) {
		if !c.Emulates(p.Form) || returns && p.Depth != 0 || p.Depth%8 != 0 || p.Depth > mostDepth {
			continue
		}
		// Linux 6.18 makes a call of a nop5 that is probed, which writes below rsp.
		if p.Form == prologue.Nop5 && p.RedZone {
			continue
		}
		args, ok := find(p, wants)
		if ok && prologue.Alone(code, 0, p.Offset) == nil {
			return p, args
		}
	}
	return atEntry(code, wants)
}

// find finds all that is wanted at a place.
func find(p prologue.Place, wants []wanted) (args []Argument, ok bool) {
	for _, w := range wants {
		v, ok := p.Find(prologue.Argument(w.number), w.bits)
		if !ok {
			return nil, false
		}
		args = append(args, Argument{w.number, w.bits, v})
	}
	return args, true
}

// atEntry finds all that is wanted where the calling convention has it.
func atEntry(code []byte, wants []wanted) (p prologue.Place, args []Argument) {
	for _, w := range wants {
		args = append(args, Argument{w.number, w.bits, prologue.Value{Register: prologue.Argument(w.number)}})
	}
	return prologue.Place{Form: prologue.FormOf(code)}, args
}

// landed says whether a jump from anywhere in the module leads behind a
// function's entry and up to an offset, or whether that cannot be told.
func (p *placer) landed(address, offset uint64) bool {
	all := p.jumps()
	return all == nil || slices.ContainsFunc(all, func(l *prologue.Landings) bool {
		return l.Within(prologue.Span{From: address, To: address + offset})
	})
}

// jumps finds where the jumps of a module lead.
func jumps(m *target.Module) (all []*prologue.Landings) {
	for _, p := range m.ELF.Progs {
		if p.Type != elf.PT_LOAD || p.Flags&elf.PF_X == 0 {
			continue
		}
		const most = 64 << 20
		if p.Filesz > most {
			return nil
		}
		text := make([]byte, p.Filesz)
		if n, err := m.Reader.ReadAt(text, int64(p.Off)); err != nil && n < len(text) {
			return nil
		}
		all = append(all, prologue.FindLandings(text, p.Vaddr))
	}
	return all
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
