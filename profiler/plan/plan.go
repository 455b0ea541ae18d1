// SPDX-License-Identifier: Apache-2.0

// Package plan decides which event of the allocators is probed where. A plan
// is made from the process's ELF files alone and changes nothing.
//
// All that BIRD holds lies in two layers: blocks of the C library's heap
// (malloc and its kin), and pages of its own (alloc_page). Slab objects and
// linpool objects lie in pages. One file each: allocator.go finds the C
// library; survey.go BIRD's functions and what the compiler made of them;
// pages.go, slabs.go and linpools.go choose the places of a layer; site.go the
// instruction, by what package prologue tells of it and by what it costs
// (cost.go). What happens to pools, chunks and freed objects needs no probe:
// Coverage says what tells it.
package plan

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"leakprof/profiler/plan/prologue"
	"leakprof/profiler/target"
)

// FoundBy is how a function was found in its file.
type FoundBy string

const (
	// BySymbol: .symtab or .dynsym of the BIRD binary.
	BySymbol FoundBy = "symbol"
	// ByInline: a copy that the compiler put into another function, by DWARF.
	ByInline FoundBy = "DWARF inline instance"
	// ByStructure: by what the code does, in a stripped file.
	ByStructure FoundBy = "structure"
	// ByLibc: exported by the C library.
	ByLibc FoundBy = "libc"
)

// Site is a place to probe.
type Site struct {
	Event    Event
	Function string         // as its library or BIRD calls it, e.g. "malloc"
	Module   *target.Module // the file it is in
	Address  uint64         // of the function's entry, ELF vaddr
	// Offset is the probed instruction's distance from the entry in bytes. Every
	// call passes it once, and has done nothing before that others could see.
	Offset uint64
	// Depth is how far rsp is below its value at the entry there, bytes. It is 0
	// with Return: the kernel puts its own return address at [rsp].
	Depth int32
	// Arguments are those that the entry's program reads, in the order in which
	// it does. Those that are left out are where the calling convention has them.
	Arguments []Argument
	FoundBy   FoundBy
	// Into is the function that holds an inlined copy, "" otherwise.
	Into string
	// Entry and Return say on which of the two a program runs.
	Entry, Return bool
	// Emulated says that the kernel emulates the probed instruction on
	// x86-64 instead of single-stepping it, which is some ten times cheaper.
	Emulated bool
	// Instruction is the form of the probed instruction.
	Instruction prologue.Form

	hit, back time.Duration // as measured, 0 if not: see Cost
}

// Argument is where the probed instruction finds an argument.
type Argument struct {
	Number int // of the function's arguments, from 0
	Bits   int // that the program reads, 64 or 32
	Value  prologue.Value
}

// Moved says that the argument is not where the calling convention has it.
func (a Argument) Moved() bool {
	return a.Value != prologue.Value{Register: prologue.Argument(a.Number)}
}

// String is the argument as plan prints it, e.g. "argument 1 is rbp+16".
func (a Argument) String() string { return fmt.Sprintf("argument %d is %s", a.Number+1, a.Value) }

// Plan is all that is probed in one process.
type Plan struct {
	Options Options
	// Events is how each event is followed, in the order of the constants.
	Events []Coverage
	Sites  []Site // all of Events
	// Functions are BIRD's allocator functions that the program holds, ordered
	// by address; NotFound those that were looked for in vain.
	Functions  []Function
	NotFound   []Absent
	Covered    []string // what the probes follow, in words
	NotCovered []string // what they cannot see, in words
	// Incomplete are the layers that Options ask for, and that cannot be
	// followed whole.
	Incomplete []Incomplete
	Notes      []string // what a reader should know of the choice
}

// New plans the probes of a process from its modules, the executable first. A
// layer of BIRD's that cannot be followed is no error here; see Refusal.
func New(p *target.Process, modules []*target.Module, o Options) (*Plan, error) {
	if len(modules) == 0 {
		return nil, errors.New("plan probes: the process has no ELF file mapped")
	}
	libc, err := allocatorModule(p, modules)
	if err != nil {
		return nil, err
	}
	if o.Mode == Walk {
		return planWalk(o), nil
	}
	plan := &Plan{Options: o}
	if err := plan.addBlocks(libc, modules[0]); err != nil {
		return nil, err
	}
	plan.addProgram(surveyProgram(modules[0], o.Costs))
	if o.Mode == Auto {
		plan.keep()
	}
	return plan, nil
}

// NewForFile plans what lies in a program itself, without a process. The error
// wraps structure.ErrNotBIRD for another program.
func NewForFile(exe *target.Module, o Options) (*Plan, error) {
	s := surveyProgram(exe, o.Costs)
	if err := s.isBIRD(); err != nil {
		return nil, fmt.Errorf("plan probes of %s: %w", exe.Path, err)
	}
	if o.Mode == Walk {
		return planWalk(o), nil
	}
	plan := &Plan{Options: o}
	if err := plan.addBlocks(nil, exe); err != nil {
		return nil, err
	}
	plan.addProgram(s)
	if o.Mode == Auto {
		plan.keep()
	}
	return plan, nil
}

// MissesPages says that pages of alloc_page are not followed, so that nothing is
// known of the memory in them.
func (p *Plan) MissesPages() bool {
	return slices.ContainsFunc(p.Incomplete, func(i Incomplete) bool { return i.Layer == layerPages })
}

// Refusal is why attach should not run this plan, and what to run instead: a
// layer that the options ask for would be followed in part. nil if none.
func (p *Plan) Refusal() error {
	if len(p.Incomplete) == 0 {
		return nil
	}
	var texts []string
	for _, i := range p.Incomplete {
		texts = append(texts, fmt.Sprintf("follow %s: %s; run %s", i.Layer, i.Why, i.Remedy))
	}
	return errors.New(strings.Join(texts, "; "))
}

// cover adds how an event is followed.
func (p *Plan) cover(c Coverage) {
	p.Events = append(p.Events, c)
	p.Sites = append(p.Sites, c.Sites...)
}
