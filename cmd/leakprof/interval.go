// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"leakprof/bpf"
	"leakprof/profiler/attribution"
	"leakprof/profiler/experiment"
	"leakprof/profiler/report"
	"leakprof/profiler/terminal"
)

// interim prints what grew in the last interval and writes the report of all
// that is known so far. A full disk now may be mended by the next interval.
func (f *attachFlags) interim(w io.Writer, r *report.Result) {
	writeGrowth(w, r)
	if _, err := report.WriteAll(f.out, r); err != nil {
		say(os.Stderr, "warning: %v", explainFull(err))
	}
}

// most is how many rows of each kind writeGrowth prints.
const most = 5

// writeGrowth prints the growth of the last interval by pool and by stack, and
// all that is live by its age.
func writeGrowth(w io.Writer, r *report.Result) {
	if len(r.Cycles) == 0 || len(r.Phases) == 0 {
		return
	}
	c, p := r.Cycles[len(r.Cycles)-1], r.Phases[len(r.Phases)-1]
	var live uint64
	if p.Heap != nil {
		live, _ = p.Heap.Totals()
	}
	routes := ""
	if p.Routes >= 0 {
		routes = fmt.Sprintf(", %d routes", p.Routes)
	}
	fmt.Fprintf(w, "%s  interval %d, %v: %s, %s live%s\n", p.End.Format(time.DateTime), c.Number, p.End.Sub(p.Start).Round(time.Second), report.SignedSize(c.Bytes), report.Size(int64(live)), routes)
	pools := make(map[string]int64)
	for _, s := range c.Retained {
		if s.More() > 0 {
			pools[cmp.Or(s.Pool, "(no pool)")] += s.More()
		}
	}
	for _, pool := range slices.SortedFunc(maps.Keys(pools), func(a, b string) int {
		return cmp.Or(cmp.Compare(pools[b], pools[a]), cmp.Compare(a, b))
	})[:min(len(pools), most)] {
		fmt.Fprintf(w, "  pool   %12s  %s\n", report.SignedSize(pools[pool]), terminal.Line(pool))
	}
	stacks := slices.Clone(c.Retained)
	stacks = slices.DeleteFunc(stacks, func(s attribution.Retained) bool { return s.More() <= 0 })
	slices.SortStableFunc(stacks, func(a, b attribution.Retained) int { return cmp.Compare(b.More(), a.More()) })
	for _, s := range stacks[:min(len(stacks), most)] {
		fmt.Fprintf(w, "  stack  %12s  %s\n", report.SignedSize(s.More()), terminal.Line(strings.Join(callers(s.Stack), " < ")))
	}
	for _, a := range ages(r)[:min(len(ages(r)), most)] {
		fmt.Fprintf(w, "  age    %12s  allocated in %s\n", report.Size(int64(a.bytes)), a.when)
	}
}

// callers are the innermost functions of a stack that are no allocators.
func callers(s *attribution.Stack) []string {
	frames := s.Frames()
	first := report.Caller(frames)
	var names []string
	for _, f := range frames {
		if len(names) == 3 {
			break
		}
		if len(names) > 0 || f.Function == first {
			names = append(names, f.Function)
		}
	}
	return names
}

type age struct {
	when  string
	bytes uint64
}

// ages sums up what is live at the last look by when it was allocated, the
// youngest first: by intervals, and of those long ago by several.
func ages(r *report.Result) []age {
	now := &r.Phases[len(r.Phases)-1]
	if now.Heap == nil {
		return nil
	}
	bytes := make(map[int]uint64) // by the group's first interval; -1: unknown
	for _, s := range now.Heap.Samples {
		if s.Mark == attribution.NoMark {
			continue // nobody saw it allocated
		}
		first := -1
		if s.Mark < len(r.Phases) {
			first, _ = experiment.AgeGroup(r.Phases[s.Mark].Cycle, now.Cycle)
		}
		bytes[first] += s.Bytes
	}
	var all []age
	for _, first := range slices.Backward(slices.Sorted(maps.Keys(bytes))) {
		var when string
		switch _, last := experiment.AgeGroup(first, now.Cycle); {
		case first < 0:
			when = "an unknown phase"
		case first == 0:
			when = "the baseline, or before we attached"
		case len(r.Phases) > bpf.MaxMark && first == r.Phases[bpf.MaxMark].Cycle:
			when = fmt.Sprintf("interval %d or later", first)
		case last > first:
			when = fmt.Sprintf("intervals %d to %d", first, last)
		default:
			when = fmt.Sprintf("interval %d", first)
		}
		all = append(all, age{when, bytes[first]})
	}
	return all
}
