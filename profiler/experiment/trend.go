// SPDX-License-Identifier: Apache-2.0

package experiment

import (
	"maps"
	"math"

	"leakprof/profiler/attribution"
	"leakprof/profiler/report"
)

// trend is what the verdict needs of the cycles: it takes one after the other,
// and keeps sums and minima by place instead of the looks, so that a run of weeks
// needs no more memory than one of hours. The zero trend has seen none.
type trend struct {
	// cycles are all so far; what each stack retained is kept of the last alone.
	cycles   []report.Cycle
	last     *attribution.Heap // at the end of the last cycle
	objects  map[site]int64    // in it
	commands uint64            // that had been sent to BIRD by then
	// every is the least that came in any cycle after the first, in bytes, and
	// steady in objects; nil before the second cycle.
	every  map[place]int64
	steady map[site]int64
	sites  map[place]site
	own    own // what grew with our own commands
	// standing: routes and all that belongs to them stay from cycle to cycle, as
	// with intervals and commands, so that memory can be in the place of other
	// memory. Sessions that go down leave nothing to be replaced, but what was
	// there before we attached.
	standing bool
	pages    lostPages
}

// take takes a cycle that ended with a look, unless it has it already; base is
// the look before the first, threshold that of steadySites.
func (t *trend) take(base *attribution.Heap, p *report.Phase, threshold int64) {
	n := len(t.cycles)
	if n > 0 && p.Cycle <= t.cycles[n-1].Number {
		return
	}
	before := t.last
	if n == 0 {
		before, t.sites = base, make(map[place]site)
	} else {
		t.cycles[n-1].Retained = nil
	}
	replacements := attribution.Replacements(before, p.Heap, t.standing)
	c := report.Cycle{Number: p.Cycle, Retained: attribution.Grown(before, p.Heap)}
	attribution.Replace(c.Retained, replacements)
	c.Bytes, c.Objects = netGrowth(before, p.Heap)
	byPlace, bySite := make(map[place]int64), make(map[site]int64)
	for i := range c.Retained {
		s := &c.Retained[i]
		here, at := placeOf(s), siteOf(s.Stack, s.Allocator)
		c.LostBytes += s.Lost
		byPlace[here] += s.More()
		bySite[at] += s.Bytes
		t.sites[here] = at
	}
	after := objects(p.Heap)
	if n > 0 {
		t.every = least(t.every, byPlace)
		t.steady = least(t.steady, grown(t.objects, after, replaced(replacements), max(threshold, 1)))
		t.own.take(t.objects, after, bySite, p.Commands-t.commands)
	}
	t.pages.take(n, p)
	t.cycles, t.last, t.objects, t.commands = append(t.cycles, c), p.Heap, after, p.Commands
}

// replaced returns how many objects are in the place of others'.
func replaced(by []attribution.Replacement) map[site]int64 {
	all := make(map[site]int64)
	for _, r := range by {
		all[siteOf(r.Stack, r.Allocator)] += r.Objects
	}
	return all
}

// grown returns what has at least so many objects more that are in no others'
// place.
func grown(before, after, replaced map[site]int64, threshold int64) map[site]int64 {
	all := make(map[site]int64)
	for k, n := range after {
		if n -= before[k] + replaced[k]; n >= threshold {
			all[k] = n
		}
	}
	return all
}

// steadySites returns the sites that held more objects after each cycle than
// after the one before, from the second cycle on, with the least by how many, but
// for our own: none for a threshold of 0. Objects are counted and not bytes, for
// an object's share of its page depends on its neighbours.
func (t *trend) steadySites(threshold int64) map[site]int64 {
	if threshold <= 0 {
		return nil
	}
	own, steady := t.own.sites(), maps.Clone(t.steady)
	maps.DeleteFunc(steady, func(k site, _ int64) bool { return own[k] })
	return steady
}

// growth returns the least that was retained in any cycle after the first, in
// bytes, without our own: 0 of a single cycle. Noise that moves memory from one
// stack to another cancels out in the net growth; a leak among such noise shows
// in the stacks that grew every time.
func (t *trend) growth() int64 {
	if len(t.cycles) < 2 {
		return 0
	}
	own := t.own.sites()
	net := int64(math.MaxInt64)
	for i, c := range t.cycles[1:] {
		all := c.Bytes
		for k := range own {
			all -= t.own.bytes[k][i]
		}
		net = min(net, all)
	}
	var stacks int64
	for k, bytes := range t.every {
		if !own[t.sites[k]] {
			stacks += bytes
		}
	}
	return max(net, stacks)
}
