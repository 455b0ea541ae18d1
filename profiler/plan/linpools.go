// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"fmt"
	"slices"
)

// ownStates are linpool functions that allocate the linpool's own state in it
// (BIRD 3: struct lp_state of lp_save). A copy of lp_alloc there hides nobody's
// object.
var ownStates = []string{"lp_new", "lp_save", "lp_flush"}

// linpoolSites finds where objects of linpools are handed out: entries, for the
// size, and returns. BIRD 3 built with link time optimization has copies of
// lp_alloc in dozens of functions; then objects cannot be followed. notes are
// what a reader should know.
func (s *survey) linpoolSites() (sites []Site, notes []string, err error) {
	const alloc, unaligned, clearing = "lp_alloc", "lp_allocu", "lp_allocz"
	names := []string{alloc}
	if len(s.bodies(unaligned)) > 0 || !s.byDWARF || s.copiesOf(unaligned, nil) > 0 {
		names = append(names, unaligned)
	}
	// lp_allocz calls lp_alloc, unless it has a copy of its own.
	if slices.Contains(s.holders(alloc), clearing) {
		names = append(names, clearing)
	}
	for _, name := range names {
		if n := s.copiesOf(name, append([]string{unaligned, clearing}, ownStates...)); n > 0 {
			return nil, nil, fmt.Errorf("%s is inlined at %d places: its objects cannot be followed; linpools are followed by chunk", name, n)
		}
		bodies, err := s.whole(name)
		if err != nil {
			return nil, nil, err
		}
		for _, f := range bodies {
			sites = append(sites, s.site(f, LinpoolObjectAllocated, true, true))
		}
		if name != clearing && !s.accounts(name) {
			notes = append(notes, fmt.Sprintf("where %s is inlined cannot be told without debug information; a look measures what share of the linpools' used bytes has a stack", name))
		}
	}
	return sites, notes, nil
}

// copiesOf counts the copies of a function elsewhere than in the functions
// named.
func (s *survey) copiesOf(name string, but []string) (n int) {
	for _, c := range s.copies {
		if c.function == name && c.works && !slices.Contains(but, c.into) {
			n++
		}
	}
	return n
}
