// SPDX-License-Identifier: Apache-2.0

// Package plan decides which event of the allocators is probed where. A plan
// is made from the process's ELF files alone and changes nothing.
//
// The plan covers two layers. Blocks of the C library's heap (malloc and its
// kin): in them BIRD's mb_* blocks, resource headers, large linpool chunks and
// socket buffers live. And BIRD's own pages (alloc_page), with slabs, linpool
// chunks and BMP's queue in them, where every place that takes or gives back a
// page can be probed; Plan.NotCovered says where not.
package plan

import (
	"errors"
	"fmt"

	"leakprof/profiler/target"
)

// Event is what a probe tells.
type Event string

const (
	BlockAllocated Event = "block allocated"
	BlockResized   Event = "block resized"
	BlockFreed     Event = "block freed"
	PageTaken      Event = "page taken"
	PageReturned   Event = "page returned"
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
	// Offset is the probed instruction's distance from the entry in bytes.
	// Up to there the function has touched neither its arguments nor rsp.
	Offset  uint64
	FoundBy FoundBy
	// ArgRegister is the DWARF number of the register that holds the argument
	// at the site: rdi for a function's first, or wherever the compiler put it
	// in an inlined copy.
	ArgRegister uint8
	// Into is the function that holds an inlined copy, "" otherwise.
	Into string
	// Return asks for a probe on the function's return as well.
	Return bool
	// Emulated says that the kernel emulates the probed instruction on
	// x86-64 instead of single-stepping it, which is some ten times cheaper.
	Emulated bool
}

// Plan is all that is probed in one process.
type Plan struct {
	Sites      []Site
	Covered    []string // what they follow, in words
	NotCovered []string // what the probes cannot see, in words
	Notes      []string // what a reader should know of the choice
}

const blocksCovered = "blocks of the C library's heap: mb_alloc blocks, resource headers, large linpool chunks, socket buffers, libraries"

// libcFunctions are the allocation functions of glibc and musl, and the event
// each one tells. Functions built on them (strdup, getline, reallocarray,
// ...) call these inside the library and are seen through them.
var libcFunctions = []struct {
	name     string
	event    Event
	returns  bool
	required bool
}{
	{"malloc", BlockAllocated, true, true},
	{"calloc", BlockAllocated, true, true},
	{"realloc", BlockResized, true, true},
	{"free", BlockFreed, false, true},
	{"memalign", BlockAllocated, true, false},
	{"aligned_alloc", BlockAllocated, true, false},
	{"posix_memalign", BlockAllocated, true, false},
	{"valloc", BlockAllocated, true, false},
	{"pvalloc", BlockAllocated, true, false},
}

// birdFunctions are BIRD's block functions (lib/resource.c). They only say
// what a libc block is for, so builds that inline them lose nothing but a
// second opinion: the block's own header tells it too.
var birdFunctions = []struct {
	name  string
	event Event
}{
	{"mb_alloc", BlockAllocated},
	{"mb_allocz", BlockAllocated},
	{"mb_realloc", BlockResized},
	{"mb_free", BlockFreed},
}

// New plans the probes of a process from its modules, the executable first.
func New(p *target.Process, modules []*target.Module) (*Plan, error) {
	if len(modules) == 0 {
		return nil, errors.New("plan probes: the process has no ELF file mapped")
	}
	libc, err := allocatorModule(p, modules)
	if err != nil {
		return nil, err
	}
	plan := &Plan{Covered: []string{blocksCovered}}
	seen := make(map[uint64]string)
	for _, f := range libcFunctions {
		sym, ok := findSymbol(libc, f.name)
		if !ok {
			if f.required {
				return nil, fmt.Errorf("plan probes: %s has no symbol %s", libc.Name, f.name)
			}
			continue
		}
		// musl's memalign and aligned_alloc may be one function; probing it
		// twice would count twice.
		if first, dup := seen[sym.Value]; dup {
			plan.Notes = append(plan.Notes, fmt.Sprintf("%s is %s in %s", f.name, first, libc.Name))
			continue
		}
		seen[sym.Value] = f.name
		plan.Sites = append(plan.Sites, newSite(libc, sym, f.name, f.event, ByLibc, f.returns))
	}
	plan.addProgram(modules[0])
	return plan, nil
}

// NewForFile plans what lies in a program itself, without a process.
func NewForFile(exe *target.Module) *Plan {
	plan := &Plan{NotCovered: []string{"blocks of the C library's heap: which library that is, only the process tells"}}
	plan.addProgram(exe)
	return plan
}

// addProgram plans the probes in BIRD's own code.
func (p *Plan) addProgram(exe *target.Module) {
	bound := false
	for _, f := range birdFunctions {
		if sym, ok := findSymbol(exe, f.name); ok {
			p.Sites = append(p.Sites, newSite(exe, sym, f.name, f.event, BySymbol, false))
			bound = true
		}
	}
	if !bound {
		p.Notes = append(p.Notes, fmt.Sprintf("%s has no mb_* symbols; its blocks are told apart by their headers", exe.Name))
	}
	if why := p.addPages(exe); why != "" {
		p.NotCovered = append(p.NotCovered, pagesNotCovered+": "+why)
	} else {
		p.Covered = append(p.Covered, pagesCovered)
		p.NotCovered = append(p.NotCovered, objectsNotCovered)
	}
}
