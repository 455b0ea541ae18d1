// SPDX-License-Identifier: Apache-2.0

package experiment

import "leakprof/profiler/attribution"

// maxDetailed bounds of how many cycles before the last two a run keeps, and
// reports, what was seen at their phases' ends.
const maxDetailed = 128

// forget makes room after a look in a cycle. Of cycles before the last, whose
// part in the verdict is in the trend, a summary is kept for the report; and
// where there are many, every other one is omitted from it, again and again.
// The phases themselves stay: a mark is a phase's index.
func (r *run) forget(cycle int) {
	base := r.phases[0].Heap
	if base == nil {
		return
	}
	_, ends := cycleLooks(r.phases)
	for _, p := range ends {
		if p.Cycle < cycle-1 {
			r.trend.take(base, p, r.ThresholdObjects)
		}
	}
	for r.forgotten+1 < len(r.phases) && r.phases[r.forgotten+1].Cycle < cycle-1 {
		r.forgotten++
		p := &r.phases[r.forgotten]
		p.Books = nil
		if p.Heap != nil {
			p.Heap = p.Heap.Summary()
		}
	}
	if cycle-2-r.omitted > maxDetailed {
		r.omit()
	}
}

// omit forgets every other cycle of which a summary is kept.
func (r *run) omit() {
	odd, last := false, 0
	for i := 1; i <= r.forgotten; i++ {
		p := &r.phases[i]
		if p.Omitted {
			continue
		}
		if p.Cycle != last {
			odd, last = !odd, p.Cycle
			if !odd {
				r.omitted++
			}
		}
		if odd {
			continue // the first one stays
		}
		p.Omitted, p.BMP, p.ShowMemory = true, nil, nil
		if h := p.Heap; h != nil {
			p.Heap = nil
			if h.Moved > 0 { // for the run's health
				p.Heap = &attribution.Heap{Time: h.Time, Moved: h.Moved, MovedBytes: h.MovedBytes}
			}
		}
	}
}
