// SPDX-License-Identifier: Apache-2.0

package experiment

import (
	"fmt"
	"hash/fnv"

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
	if s.Kind != "" {
		return site{s.Key, allocator}
	}
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

func objects(h *attribution.Heap) map[site]int64 {
	all := make(map[site]int64)
	for _, s := range h.Samples {
		all[siteOf(s.Stack, s.Allocator)] += int64(s.Objects)
	}
	return all
}
