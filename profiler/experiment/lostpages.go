// SPDX-License-Identifier: Apache-2.0

package experiment

import (
	"leakprof/profiler/footprint"
	"leakprof/profiler/report"
)

// lostPages follows how many bytes of free pages BIRD has lost: those that it
// counts as kept but has on no list, so that it never takes them again. No live
// memory is in them, and no call stack allocated them.
//
// BIRD 3.0.0 to 3.4.0 lose up to 127 pages with each thread that ends
// (flush_local_pages in sysdep/unix/alloc.c puts the last page of a thread's list
// on the common one, and not the first).
type lostPages struct {
	growth, now int64
	unknown     bool // of one of the cycles
}

// take takes the end of cycle n, from 0.
func (l *lostPages) take(n int, p *report.Phase) {
	if p.Books == nil || p.Books.Footprint == nil {
		l.unknown = true
		return
	}
	before := l.now
	l.now = int64(p.Books.Footprint.Part(footprint.UnlistedPages).Total)
	switch grown := l.now - before; {
	case n == 1:
		l.growth = grown
	case n > 1:
		l.growth = min(l.growth, grown)
	}
}

// sum is by how much they grew in each cycle after the first at least, and how
// many they are.
func (l *lostPages) sum() (growth, now int64) {
	if l.unknown {
		return 0, 0
	}
	return max(l.growth, 0), l.now
}
