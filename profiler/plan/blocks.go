// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"fmt"

	"leakprof/profiler/target"
)

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

// addBlocks plans the layer of blocks: the C library's functions, and BIRD's
// where they have symbols. Without a library, of a file alone, they are missing.
func (p *Plan) addBlocks(libc, exe *target.Module) error {
	sites := make(map[Event][]Site)
	missing := ""
	if libc == nil {
		missing = "which C library the blocks come from, only the process tells: run plan --pid"
		p.NotCovered = append(p.NotCovered, "blocks of the C library's heap: which library that is, only the process tells")
	} else {
		p.Covered = append(p.Covered, blocksCovered)
		all, notes, err := LibrarySites(libc, p.Options.Costs)
		if err != nil {
			return fmt.Errorf("plan probes: %w", err)
		}
		for _, s := range all {
			sites[s.Event] = append(sites[s.Event], s)
		}
		p.Notes = append(p.Notes, notes...)
	}
	bound := false
	place := newPlacer(exe, p.Options.Costs)
	for _, f := range birdFunctions {
		if sym, ok := findSymbol(exe, f.name); ok {
			sites[f.event] = append(sites[f.event], place.site(Function{Name: f.name, Address: sym.Value, Size: sym.Size}, f.event, BySymbol, true, false))
			bound = true
		}
	}
	if !bound {
		p.Notes = append(p.Notes, fmt.Sprintf("%s has no mb_* symbols; its blocks are told apart by their headers", exe.Name))
	}
	for _, e := range []Event{BlockAllocated, BlockResized, BlockFreed} {
		p.cover(Coverage{Event: e, Sites: sites[e], Missing: missing})
	}
	return nil
}

// LibrarySites plans the allocation functions of a C library, with what a reader
// should know of the choice. costs may be nil.
func LibrarySites(libc *target.Module, costs *Costs) (sites []Site, notes []string, err error) {
	seen := make(map[uint64]string)
	place := newPlacer(libc, costs)
	for _, f := range libcFunctions {
		sym, ok := findSymbol(libc, f.name)
		if !ok {
			if f.required {
				return nil, nil, fmt.Errorf("%s has no symbol %s", libc.Name, f.name)
			}
			continue
		}
		// musl's memalign and aligned_alloc may be one function; probing it
		// twice would count twice.
		if first, dup := seen[sym.Value]; dup {
			notes = append(notes, fmt.Sprintf("%s is %s in %s", f.name, first, libc.Name))
			continue
		}
		seen[sym.Value] = f.name
		function := Function{Name: f.name, Address: sym.Value, Size: sym.Size}
		sites = append(sites, place.site(function, f.event, ByLibc, true, f.returns))
	}
	return sites, notes, nil
}
