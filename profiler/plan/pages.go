// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"fmt"
	"slices"

	"leakprof/profiler/bird/structure"
	"leakprof/profiler/plan/prologue"
	"leakprof/profiler/target"
	"leakprof/profiler/unwind"
)

const (
	allocPage = "alloc_page"
	freePage  = "free_page"
)

// refillers put pages on the list of free ones that they have from the system,
// or from the list of those whose memory the system took back. Nobody had taken
// these, so a copy of free_page there tells nothing.
var refillers = []string{allocPage, "alloc_page_global", "alloc_cold_page", "page_fill_hot", "global_free_pages_cleanup_event"}

// pageSites finds every place at which a page is taken or given back. A place
// that is missed would leave pages live until BIRD takes them again, so the
// layer is planned whole or not at all.
func (s *survey) pageSites() (taken, returned []Site, err error) {
	for _, want := range []struct {
		name    string
		event   Event
		returns bool
		sites   *[]Site
	}{{allocPage, PageTaken, true, &taken}, {freePage, PageReturned, false, &returned}} {
		bodies, err := s.whole(want.name)
		if err != nil {
			return nil, nil, err
		}
		if !s.accounts(want.name) {
			return nil, nil, fmt.Errorf("where %s is inlined cannot be told: %w", want.name, s.err)
		}
		for _, f := range bodies {
			*want.sites = append(*want.sites, s.site(f, want.event, true, want.returns))
		}
	}
	// Link-time optimisation puts copies of free_page into its callers: in
	// BIRD 2.16 to 2.19 into bmp_close_socket, which gives back the whole BMP
	// queue.
	for _, c := range s.copies {
		switch {
		case c.function == freePage && slices.Contains(refillers, c.into):
		case c.function == allocPage:
			return nil, nil, fmt.Errorf("%s is inlined into %s, where its result cannot be told", allocPage, c.into)
		case c.function == freePage:
			sites, err := s.copySites(c)
			if err != nil {
				return nil, nil, err
			}
			returned = append(returned, sites...)
		}
	}
	return taken, returned, nil
}

// copySites finds the places of a copy of free_page of which each call passes
// one: by DWARF where the call begins. Where that does not do, because the
// compiler made more than one beginning or does not tell the argument, they are
// the places at which the page is put on a list, as in a stripped file.
func (s *survey) copySites(c copied) ([]Site, error) {
	site := Site{Event: PageReturned, Function: freePage, Module: s.exe, Into: c.into, Entry: true}
	if c.register >= 0 {
		return []Site{s.within(site, c.address, c.register, c.by)}, nil
	}
	var sites []Site
	if c.by == ByInline {
		for _, p := range s.puts() {
			if p.Register < 0 || !slices.ContainsFunc(c.ranges, func(r [2]uint64) bool { return r[0] <= p.Address && p.Address < r[1] }) {
				continue
			}
			sites = append(sites, s.within(site, p.Address, p.Register, ByStructure))
		}
	}
	switch {
	case len(sites) > 0:
		return sites, nil
	case c.doubt != "":
		return nil, fmt.Errorf("%s is inlined into %s, where some calls may not be seen: %s", freePage, c.into, c.doubt)
	}
	return nil, fmt.Errorf("%s is inlined into %s, where its argument cannot be told", freePage, c.into)
}

// within completes a site in a copy: at an address where the argument is in the
// register of a DWARF number.
func (s *survey) within(site Site, address uint64, dwarf int, by FoundBy) Site {
	site.Address, site.FoundBy = address, by
	site.Arguments = []Argument{{0, 64, prologue.Value{Register: prologue.FromDWARF(dwarf)}}}
	code, _ := codeAt(s.exe, address, longestInstruction)
	site.Instruction = prologue.FormOf(code)
	if p, ok := s.behind(address); ok {
		site.Offset, site.Instruction = p.Offset, p.Form
	}
	s.costs.price(&site)
	return site
}

// behind finds the first instruction that is emulated behind an address within a
// function, if only flags change between: then the registers hold there what they
// hold at the address, and it is passed as often.
func (s *survey) behind(address uint64) (prologue.Place, bool) {
	extents, err := unwind.Extents(s.exe.ELF)
	if err != nil {
		return prologue.Place{}, false
	}
	i := slices.IndexFunc(extents, func(e unwind.Extent) bool { return e.Start <= address && address < e.End })
	if i < 0 {
		return prologue.Place{}, false
	}
	start := extents[i].Start
	code, ok := codeAt(s.exe, start, extents[i].End-start)
	if !ok {
		return prologue.Place{}, false
	}
	from := address - start
	for _, p := range prologue.Follow(code[from:]) {
		if s.costs.Emulates(p.Form) && p.Form != prologue.Nop5 && p.IsUntouched() {
			return p, prologue.Alone(code, from, from+p.Offset) == nil && (p.Offset == 0 || !s.place().landed(address, p.Offset))
		}
	}
	return prologue.Place{}, false
}

// findPuts returns where copies of free_page put a page on a list, nil if that
// cannot be told of all of them.
func findPuts(exe *target.Module) (puts []structure.InlineSite) {
	found, err := structure.Find(exe.Reader)
	if err != nil {
		return nil
	}
	for _, i := range found.Inlined {
		if i.Function == freePage {
			puts = append(puts, i)
		}
	}
	return puts
}
