// SPDX-License-Identifier: Apache-2.0

package experiment

import (
	"leakprof/profiler/footprint"
	"leakprof/profiler/report"
)

// lostPages returns how many bytes of free pages BIRD has lost: those that it
// counts as kept but has on no list, so that it never takes them again. growth is
// by how much they grew in each cycle after the first at least, now how many they
// are. No live memory is in them, and no call stack allocated them.
//
// BIRD 3.0.0 to 3.4.0 lose up to 127 pages with each thread that ends
// (flush_local_pages in sysdep/unix/alloc.c puts the last page of a thread's list
// on the common one, and not the first).
func lostPages(ends []*report.Phase) (growth, now int64) {
	for i, p := range ends {
		if p.Books == nil || p.Books.Footprint == nil {
			return 0, 0 // not known
		}
		before := now
		now = int64(p.Books.Footprint.Part(footprint.UnlistedPages).Total)
		switch {
		case i == 1:
			growth = now - before
		case i > 1:
			growth = min(growth, now-before)
		}
	}
	return max(growth, 0), now
}
