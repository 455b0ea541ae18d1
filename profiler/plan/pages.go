// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"fmt"
	"slices"
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
		case c.function == freePage && c.register < 0:
			return nil, nil, fmt.Errorf("%s is inlined into %s, where its argument cannot be told", freePage, c.into)
		case c.function == freePage:
			returned = append(returned, Site{
				Event: PageReturned, Function: freePage, Module: s.exe, Address: c.address, FoundBy: c.by,
				ArgRegister: uint8(c.register), Into: c.into, Entry: true,
			})
		}
	}
	return taken, returned, nil
}
