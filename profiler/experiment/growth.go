// SPDX-License-Identifier: Apache-2.0

package experiment

import (
	"fmt"
	"hash/fnv"
	"math"

	"leakprof/profiler/attribution"
	"leakprof/profiler/report"
)

// steadyCycles is in how many cycles in a row a call stack has to hold more
// objects than before to be a leak however small. What only goes up and down
// is found in rising order at n+1 looks once in (n+1)! times: in 8 cycles once
// in 362,880, for each of the few stacks that are noisy at all.
const steadyCycles = 8

// place is what allocates: a call stack, and on whose behalf.
type place struct {
	stack     uint64
	allocator string
}

func placeOf(s *attribution.Retained) place { return place{s.Stack.Key, s.Allocator} }

// site is where memory is asked for, and what for: call stacks that differ only
// far out are one. What lies there is when and not who: BIRD's main loop runs
// events from two of its lines (io_loop, sysdep/unix/io.c), and by which of the
// two a restart comes is chance. Of an object lost in each cycle neither stack
// would grow in all of them.
type site struct {
	frames    uint64
	allocator string
}

// siteFrames is how many frames make a site, from the one that asked for memory.
const siteFrames = 4

func siteOf(s *attribution.Stack, allocator string) site {
	n := 0
	for n < len(s.Locations) && report.Caller(s.Locations[n].Lines) == "" {
		n++
	}
	if n == len(s.Locations) {
		return site{s.Key, allocator} // allocators alone
	}
	h := fnv.New64a()
	for _, l := range s.Locations[:min(len(s.Locations), n+siteFrames)] {
		fmt.Fprintln(h, l.Module, l.Address)
	}
	return site{h.Sum64(), allocator}
}

// steadyGrowth returns the least that was retained in any cycle after the
// first, in bytes, without some sites: 0 of a single cycle. Noise that moves
// memory from one stack to another cancels out in the net growth; a leak among
// such noise shows in the stacks that grew every time.
func steadyGrowth(cycles []report.Cycle, without map[site]bool) int64 {
	if len(cycles) < 2 {
		return 0
	}
	net := int64(math.MaxInt64)
	var every map[place]int64
	for _, c := range cycles[1:] {
		all := c.Bytes
		now := make(map[place]int64)
		for _, s := range c.Retained {
			if without[siteOf(s.Stack, s.Allocator)] {
				all -= s.Bytes
			} else {
				now[placeOf(&s)] += s.Bytes
			}
		}
		net = min(net, all)
		every = least(every, now)
	}
	var stacks int64
	for _, bytes := range every {
		stacks += bytes
	}
	return max(net, stacks)
}

// least keeps what is positive in both, with the smaller number; a nil map
// stands for anything.
func least[K comparable](every, now map[K]int64) map[K]int64 {
	out := make(map[K]int64)
	for k, n := range now {
		if every != nil {
			n = min(n, every[k])
		}
		if n > 0 {
			out[k] = n
		}
	}
	return out
}

// steadySites returns the sites that held more objects after each cycle than
// after the one before, from the second cycle on, with the least by how many:
// at least threshold. Objects are counted and not bytes, for an object's share
// of its page depends on its neighbours. looks are those at the end of the
// cycles.
func steadySites(looks []*attribution.Heap, threshold int64) map[site]int64 {
	if len(looks) < 2 || threshold <= 0 {
		return nil
	}
	var every map[site]int64
	before := objects(looks[0])
	for _, h := range looks[1:] {
		after := objects(h)
		grown := make(map[site]int64, len(after))
		for k, n := range after {
			if n -= before[k]; n >= threshold {
				grown[k] = n
			}
		}
		every, before = least(every, grown), after
	}
	return every
}

func objects(h *attribution.Heap) map[site]int64 {
	all := make(map[site]int64)
	for _, s := range h.Samples {
		all[siteOf(s.Stack, s.Allocator)] += int64(s.Objects)
	}
	return all
}
