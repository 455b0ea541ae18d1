// SPDX-License-Identifier: Apache-2.0

package experiment

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"leakprof/bpf"
	"leakprof/collector/session"
	"leakprof/profiler/attribution"
	"leakprof/profiler/plan"
	"leakprof/profiler/report"
)

const (
	// nearlyAll is what part of what has grown is followed; the rest are many
	// kinds of memory, of which each would cost hits.
	nearlyAll = 0.99
	// blockRounding is by how much malloc may give more than it was asked for
	// (request2size in malloc/malloc.c of glibc), and objectRounding a slab
	// (lib/slab.c), bytes.
	blockRounding, objectRounding = 24, 16
	pageBytes                     = 4096
)

// auto is what mode auto does.
type auto struct {
	last *attribution.Heap // at the end of the last cycle; nil before the first
	from int               // the cycle from which on something is probed, 0: none
}

func (r *run) isAuto() bool { return r.walks() && r.Profiler.Plan.Options.Mode == plan.Auto }

// followGrown has what the last cycle has retained followed by probes, in mode
// auto, if it is as much as the threshold. It runs at the end of a look.
func (r *run) followGrown(ctx context.Context, phase session.Phase) error {
	last := &r.phases[len(r.phases)-1]
	if !r.isAuto() || r.Profiler.Probes() || phase != session.Settled && phase != session.Interval || last.Heap == nil || last.Incomplete != "" {
		return nil
	}
	before := cmp.Or(r.auto.last, r.phases[0].Heap)
	if r.auto.last = last.Heap; before == nil {
		return nil
	}
	grown := attribution.Grown(before, last.Heap)
	attribution.Replace(grown, attribution.Replacements(before, last.Heap, true))
	only, bytes := grew(grown, r.Threshold)
	retained := fmt.Sprintf("auto: %s %d retained %s", r.cycleWord(), last.Cycle, report.Size(bytes))
	if only.IsEmpty() {
		r.note(time.Now(), fmt.Sprintf("%s, less than the threshold of %s: nothing is probed", retained, report.Size(r.Threshold)))
		return nil
	}
	if err := r.Profiler.Follow(ctx, only); err != nil {
		return err
	}
	if !r.Profiler.Probes() {
		r.announce(time.Now(), fmt.Sprintf("%s in %s, which cannot be followed in this BIRD", retained, &only))
		return nil
	}
	// Marks are indices of phases.
	if err := r.Profiler.Mark(r.firstMark + uint32(len(r.phases)) - 1); err != nil {
		return err
	}
	r.overhead.sites = r.Profiler.Plan.Sites
	r.auto.from = last.Cycle + 1
	r.note(time.Now(), fmt.Sprintf("%s: from %s %d on %s are followed, by %s", retained, r.cycleWord(), r.auto.from, &only, count(int64(len(r.Profiler.Plan.Sites)), "probe")))
	return nil
}

// withoutStack says why there are kinds of memory and no call stacks, in words.
func (r *run) withoutStack() string {
	switch {
	case !r.isAuto():
		return "; no call stack: --mode walk"
	case r.auto.from == 0:
		return "; no call stack: --mode auto has followed nothing"
	case r.auto.from > r.trend.cycles[len(r.trend.cycles)-1].Number:
		return fmt.Sprintf("; no call stack yet: --mode auto follows what grew from %s %d on", r.cycleWord(), r.auto.from)
	}
	return fmt.Sprintf("; what came from %s %d on has call stacks", r.cycleWord(), r.auto.from)
}

// grew chooses what is to be followed of what a cycle retained, and says how much
// that was, without free room but with all that is lost. Below the threshold it is
// nothing.
func grew(grown []attribution.Retained, threshold int64) (only plan.Only, bytes int64) {
	weight := func(g *attribution.Retained) int64 { return max(g.Content(), g.Lost) }
	for i := range grown {
		bytes += weight(&grown[i])
	}
	if bytes < max(threshold, 1) {
		return only, bytes
	}
	slices.SortStableFunc(grown, func(a, b attribution.Retained) int { return cmp.Compare(weight(&b), weight(&a)) })
	sum := int64(0)
	for i := range grown {
		if float64(sum) >= nearlyAll*float64(bytes) {
			break
		}
		g := &grown[i]
		sum += weight(g)
		size := g.Stack.Size
		switch isSlab := g.Allocator == attribution.AllocatorSlab; {
		case size == 0:
		case g.Allocator == attribution.AllocatorPage, size == pageBytes && (isSlab || g.Allocator == attribution.AllocatorLinpool):
			only.Pages = true
		case isSlab:
			only.Objects = append(only.Objects, plan.Lengths{Least: size, Most: size + objectRounding - 1})
		default:
			only.Blocks = append(only.Blocks, plan.Lengths{Least: size - min(size, blockRounding), Most: size})
		}
	}
	only.Blocks, only.Objects = plan.Merge(only.Blocks, bpf.MaxLengths), plan.Merge(only.Objects, bpf.MaxLengths)
	return only, bytes
}
