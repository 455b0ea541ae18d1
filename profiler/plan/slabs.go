// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"fmt"
	"slices"

	"leakprof/profiler/bird/structure"
)

// slabSites finds where an object of a slab is handed out, by sl_alloc: the
// returns, as the object is the result. sl_allocz and, in BIRD 3.1 and 3.2,
// sth_alloc call it.
func (s *survey) slabSites() ([]Site, error) {
	return s.returnSites("sl_alloc", "sl_allocz")
}

// multislabSites finds the same for the slabs of BIRD 3.3, and says which
// objects are seen by their page alone.
func (s *survey) multislabSites() (sites []Site, byPage, notes []string) {
	type choice struct{ name, clearing string }
	for _, m := range []struct {
		free    string // the class's hook, which is there whenever the class is
		choices []choice
		what    string
	}{
		// msl_alloc_from_page gives NULL when a page is full, so it is hit more often.
		{"mslab_free", []choice{{"msl_alloc", "msl_allocz"}, {"msl_alloc_from_page", ""}}, "mslabs"},
		{"islab_free", []choice{{"isl_alloc", "isl_allocz"}}, "islabs"},
	} {
		if len(s.bodies(m.free)) == 0 {
			continue
		}
		var reason error
		for _, c := range m.choices {
			var found []Site
			if found, reason = s.returnSites(c.name, c.clearing); reason != nil {
				continue
			}
			sites = append(sites, found...)
			if !s.accounts(c.name) {
				notes = append(notes, fmt.Sprintf("where %s is inlined cannot be told without debug information; an object without a stack counts for who took its page", c.name))
			}
			break
		}
		if reason != nil {
			byPage = append(byPage, fmt.Sprintf("objects of %s by their page alone: %v", m.what, reason))
		}
	}
	return sites, byPage, notes
}

// returnSites finds the functions of a name that do its work, for a probe on
// their return. Of a wrapper and its part that is the part, by which every
// call comes. A copy in clearing, which only clears the object besides, can be
// told by that function's return; one in any other function hides objects.
func (s *survey) returnSites(name, clearing string) ([]Site, error) {
	bodies := s.bodies(name)
	if len(bodies) == 0 {
		return nil, s.absent(name)
	}
	isPart := func(f Function) bool { return f.Part }
	if slices.ContainsFunc(bodies, isPart) {
		for _, f := range bodies {
			// By structure, a part is only called one if the other does no more.
			if !f.Part && f.FoundBy == BySymbol && s.works(name, [][2]uint64{{f.Address, f.Address + f.Size}}) {
				return nil, fmt.Errorf("%s is split, and allocates in both halves", name)
			}
		}
		bodies = slices.DeleteFunc(bodies, func(f Function) bool { return !f.Part })
	}
	// A page of an islab does not name the islab: only isl_alloc's argument does.
	entry := name == "isl_alloc"
	var sites []Site
	for _, f := range bodies {
		if f.Confidence == structure.Low {
			return nil, fmt.Errorf("%s is not found for certain", name)
		}
		if entry && (f.Part || f.altered) {
			return nil, fmt.Errorf("%s was split or changed by the compiler (%s), its argument cannot be told", name, f.Symbol)
		}
		sites = append(sites, s.site(f, SlabObjectAllocated, entry, true))
	}
	holders := s.holders(name)
	if slices.Contains(holders, clearing) {
		for _, f := range s.bodies(clearing) {
			site := s.site(f, SlabObjectAllocated, entry, true)
			site.Function, site.Into = name, clearing
			sites = append(sites, site)
		}
		holders = slices.DeleteFunc(holders, func(h string) bool { return h == clearing && len(s.bodies(clearing)) > 0 })
	}
	if len(holders) > 0 {
		return nil, fmt.Errorf("%s is inlined into %s, where its result cannot be told", name, some(holders))
	}
	return sites, nil
}

// holders returns the functions that hold a working copy of a function, each
// once.
func (s *survey) holders(name string) (list []string) {
	for _, c := range s.copies {
		if c.function == name && c.works && !slices.Contains(list, c.into) {
			list = append(list, c.into)
		}
	}
	return list
}

// some names the first few of a list.
func some(list []string) string {
	const most = 2
	switch n := len(list); {
	case n == 1:
		return list[0]
	case n == most:
		return list[0] + " and " + list[1]
	default:
		return fmt.Sprintf("%s, %s and %d more", list[0], list[1], n-most)
	}
}
