// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"cmp"
	"debug/elf"
	"errors"
	"fmt"
	"slices"

	"leakprof/profiler/bird/inline"
	"leakprof/profiler/bird/structure"
	"leakprof/profiler/target"
	"leakprof/profiler/unwind"
)

const (
	pagesCovered      = "pages of alloc_page, by who took the page"
	pagesNotCovered   = "pages of alloc_page, and the slabs and linpool chunks in them"
	objectsNotCovered = "objects inside pages, one by one: the slab or linpool object that keeps a page"
)

const (
	allocPage = "alloc_page"
	freePage  = "free_page"
)

// addPages plans the page layer: the return of alloc_page, and every place at
// which a page is given back. A place that is missed would leave pages live
// until BIRD takes them again, so the layer is planned whole or not at all;
// why says why not.
func (p *Plan) addPages(exe *target.Module) (why string) {
	sites, err := pageSites(exe)
	if err != nil {
		return err.Error()
	}
	p.Sites = append(p.Sites, sites...)
	return ""
}

// pageSites finds the places by symbols and DWARF, and in a file without them
// by the structure of the code.
func pageSites(exe *target.Module) ([]Site, error) {
	sites, err := pagesBySymbol(exe)
	if !errors.Is(err, errNoNames) {
		return sites, err
	}
	sites, errStructure := pagesByStructure(exe)
	if errStructure != nil {
		return nil, fmt.Errorf("%w, and by its structure: %w", err, errStructure)
	}
	return sites, nil
}

// errNoNames says that a file has no symbols or no DWARF.
var errNoNames = errors.New("no symbols or debug information")

func pagesBySymbol(exe *target.Module) ([]Site, error) {
	bodies := inline.OutOfLine(exe.ELF, allocPage, freePage)
	var sites []Site
	for _, f := range []struct {
		name    string
		event   Event
		returns bool
	}{{allocPage, PageTaken, true}, {freePage, PageReturned, false}} {
		found := make(map[uint64]bool)
		for _, b := range bodies[f.name] {
			switch {
			case b.Has(inline.Cold) || found[b.Address]:
			case b.Has(inline.Part) || b.Has(inline.ISRA) || b.Has(inline.ConstProp):
				return nil, fmt.Errorf("%s has %s, of which the arguments cannot be told", exe.Name, b.Symbol)
			default:
				found[b.Address] = true
				sites = append(sites, newSite(exe, elf.Symbol{Value: b.Address, Size: b.Size}, f.name, f.event, BySymbol, f.returns))
			}
		}
		if len(found) == 0 {
			return nil, fmt.Errorf("%s has no symbol %s: %w", exe.Name, f.name, errNoNames)
		}
	}
	// Link-time optimisation puts copies of free_page into its callers: in
	// BIRD 2.16 to 2.19 into bmp_close_socket, which gives back the whole BMP
	// queue.
	instances, err := inline.Find(exe.ELF, allocPage, freePage)
	if errors.Is(err, inline.ErrNoDWARF) {
		return nil, fmt.Errorf("%s does not tell where %s is inlined: %w", exe.Name, freePage, errNoNames)
	} else if err != nil {
		return nil, fmt.Errorf("find inlined copies in %s: %w", exe.Name, err)
	}
	for _, i := range instances[allocPage] {
		if !i.Self {
			return nil, fmt.Errorf("%s is inlined into %s, where its result cannot be told", allocPage, i.Into)
		}
	}
	for _, i := range instances[freePage] {
		// A copy within a copy is the same call.
		if i.Self || i.Nested {
			continue
		}
		// Only gcc's entry view marks an instruction that every call passes.
		if i.By != inline.EntryView || !i.Decoded || i.Problem != "" || len(i.Args) == 0 || i.Args[0].Kind != inline.Register || i.Args[0].Register < 0 || i.Args[0].Register > 15 {
			return nil, fmt.Errorf("%s is inlined into %s, where its argument cannot be told", freePage, i.Into)
		}
		sites = append(sites, Site{
			Event: PageReturned, Function: freePage, Module: exe, Address: i.Entry, FoundBy: ByInline,
			ArgRegister: uint8(i.Args[0].Register), Into: i.Into,
		})
	}
	return sites, nil
}

// pagesByStructure finds alloc_page and free_page in a stripped file. The
// registers at an inlined copy cannot be told without DWARF, so there must be
// none.
func pagesByStructure(exe *target.Module) ([]Site, error) {
	found, err := structure.Find(exe.Reader)
	if err != nil {
		return nil, err
	}
	for _, i := range found.Inlined {
		if i.Function == allocPage || i.Function == freePage {
			return nil, fmt.Errorf("%s is inlined at 0x%x", i.Function, i.Address)
		}
	}
	extents, err := unwind.Extents(exe.ELF)
	if err != nil {
		return nil, err
	}
	var sites []Site
	for _, want := range []struct {
		name    string
		event   Event
		returns bool
	}{{allocPage, PageTaken, true}, {freePage, PageReturned, false}} {
		f := only(found.Functions, want.name)
		if f == nil {
			return nil, fmt.Errorf("%s is not found for certain", want.name)
		}
		size := uint64(0)
		if i, ok := slices.BinarySearchFunc(extents, f.Address, func(e unwind.Extent, a uint64) int { return cmp.Compare(e.Start, a) }); ok {
			size = extents[i].End - extents[i].Start
		}
		sites = append(sites, newSite(exe, elf.Symbol{Value: f.Address, Size: size}, want.name, want.event, ByStructure, want.returns))
	}
	return sites, nil
}

// only returns the function of that name if there is one body of it, found
// with more than low confidence.
func only(all []structure.Function, name string) *structure.Function {
	var found *structure.Function
	for i := range all {
		f := &all[i]
		if f.Name != name {
			continue
		}
		if found != nil || f.Part || f.Confidence == structure.Low {
			return nil
		}
		found = f
	}
	return found
}
