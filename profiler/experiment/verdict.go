// SPDX-License-Identifier: Apache-2.0

package experiment

import (
	"fmt"
	"math"
	"strings"

	"leakprof/collector/session"
	"leakprof/profiler/attribution"
	"leakprof/profiler/report"
)

// judge fills in what was retained and the verdict, by the rules of
// docs/design.md, "The session": growth decides.
func (r *run) judge(res *report.Result) {
	v := &res.Verdict
	v.Threshold = r.Threshold
	var settled []*report.Phase
	for i := range res.Phases {
		p := &res.Phases[i]
		if p.Name == string(session.Settled) && p.Heap != nil {
			settled = append(settled, p)
		}
	}
	base := &res.Phases[0]
	if r.Profiler == nil {
		v.Kind, v.Sentence = report.Incomplete, "incomplete: no probes were attached, so nothing is known of who holds what"
		return
	}
	if base.Heap == nil || len(settled) == 0 || !r.Process.Alive() {
		v.Kind, v.Sentence = report.Incomplete, "incomplete: no session went up and down while we watched"
		if !r.Process.Alive() {
			phase, cycle := r.machine.Phase()
			v.Sentence = fmt.Sprintf("incomplete: the process ended in cycle %d (%s)", cycle, phase)
		}
		if last := lastHeap(res.Phases); base.Heap != nil && last != nil && last != base.Heap {
			res.Retained = attribution.Grown(base.Heap, last)
			v.RetainedBytes, v.RetainedObjects = sumRetained(res.Retained)
			v.Sentence += fmt.Sprintf("; %s more are live than at the begin", report.Size(v.RetainedBytes))
		}
		return
	}
	before := base.Heap
	for i, p := range settled {
		c := report.Cycle{Number: p.Cycle, Retained: attribution.Grown(before, p.Heap)}
		c.Bytes, c.Objects = netGrowth(before, p.Heap)
		res.Cycles = append(res.Cycles, c)
		before = settled[i].Heap
	}
	last := settled[len(settled)-1]
	res.Retained = attribution.Grown(base.Heap, last.Heap)
	v.RetainedBytes, v.RetainedObjects = sumRetained(res.Retained)
	v.SlackBytes = sumEmpty(res.Retained)
	content := v.RetainedBytes - v.SlackBytes

	growth, grows := steadyGrowth(res.Cycles, r.Threshold)
	routes := ""
	if last.Routes >= 0 {
		routes = fmt.Sprintf(", %d routes left", last.Routes)
	}
	where, slack := "", ""
	if v.SlackBytes >= r.Threshold {
		slack = fmt.Sprintf("; besides %s of free room in slabs, linpools and arrays", report.Size(v.SlackBytes))
	}
	if n, share := concentration(res.Retained); n > 0 && v.RetainedBytes >= r.Threshold {
		where = fmt.Sprintf("; %.1f %% in %d call %s", 100*share, n, plural(n, "stack"))
		if pool := commonPool(res.Retained[:n]); pool != "" {
			where += "; pool " + pool
		}
	}
	switch why := r.incomplete(res, settled, grows, growth, content); {
	case why != "":
		v.Kind = report.Incomplete
		v.Sentence = fmt.Sprintf("incomplete: %s; %s live now that were not before the first flood%s", why, report.Size(v.RetainedBytes), routes)
	case grows:
		v.Kind = report.Leak
		v.Sentence = fmt.Sprintf("leak: %s in each of the cycles after the first, %s now%s%s", report.SignedSize(growth), report.Size(v.RetainedBytes), routes, where)
	case content < r.Threshold:
		v.Kind = report.Clean
		v.Sentence = fmt.Sprintf("clean: %s retained after %d %s, less than the threshold of %s%s%s", report.Size(content), len(settled), plural(len(settled), "cycle"), report.Size(r.Threshold), routes, slack)
	case len(settled) == 1:
		v.Kind = report.Held
		v.Sentence = fmt.Sprintf("held: %s after one cycle, which cannot show whether it grows%s%s", report.Size(v.RetainedBytes), routes, where)
	default:
		v.Kind = report.Held
		v.Sentence = fmt.Sprintf("held: %s since the first of %d cycles, not growing%s%s", report.Size(v.RetainedBytes), len(settled), routes, where)
	}
}

// steadyGrowth returns the least that was retained in any cycle after the
// first, and whether that is above the threshold. Noise that moves memory
// from one stack to another cancels out in the net growth; a small leak among
// such noise shows in the stacks that grow every time.
func steadyGrowth(cycles []report.Cycle, threshold int64) (least int64, grows bool) {
	if len(cycles) < 2 {
		return 0, false
	}
	net := int64(math.MaxInt64)
	type place struct {
		stack     uint64
		allocator string
	}
	every := make(map[place]int64)
	for i, c := range cycles[1:] {
		net = min(net, c.Bytes)
		now := make(map[place]int64)
		for _, s := range c.Retained {
			now[place{s.Stack.Key, s.Allocator}] += s.Bytes
		}
		if i == 0 {
			every = now
			continue
		}
		for k, bytes := range every {
			if n := min(bytes, now[k]); n > 0 {
				every[k] = n
			} else {
				delete(every, k)
			}
		}
	}
	var stacks int64
	for _, bytes := range every {
		stacks += bytes
	}
	least = max(net, stacks)
	return least, least >= threshold
}

// incomplete says why the verdict cannot be given, or "". What cannot change
// it does not count: losses that together, on top of what was seen, stay below
// the threshold, or add to what is above it already.
func (r *run) incomplete(res *report.Result, settled []*report.Phase, grows bool, growth, content int64) string {
	// A leak is told by the later cycles; without one the baseline matters.
	if base := &res.Phases[0]; base.Incomplete != "" && !grows {
		return fmt.Sprintf("the baseline was not quiet (%s)", base.Incomplete)
	}
	for _, p := range settled {
		if p.Incomplete != "" {
			return fmt.Sprintf("cycle %d never settled (%s)", p.Cycle, p.Incomplete)
		}
	}
	var lost int64
	var what []string
	for _, h := range res.Health {
		if h.Harmless {
			continue
		}
		what = append(what, fmt.Sprintf("%d %s", h.Count, h.Name))
		if h.Unbounded {
			return what[len(what)-1]
		}
		lost += int64(h.Bytes)
	}
	crosses := func(v int64) bool { return v < r.Threshold && v+lost >= r.Threshold }
	if lost > 0 && !grows && (crosses(content) || len(settled) > 1 && crosses(max(growth, 0))) {
		return strings.Join(what, ", ")
	}
	return ""
}

func lastHeap(phases []report.Phase) *attribution.Heap {
	for i := len(phases) - 1; i >= 0; i-- {
		if phases[i].Heap != nil {
			return phases[i].Heap
		}
	}
	return nil
}

func sumRetained(all []attribution.Retained) (bytes, objects int64) {
	for _, s := range all {
		bytes += s.Bytes
		objects += s.Objects
	}
	return bytes, objects
}

func sumEmpty(all []attribution.Retained) (bytes int64) {
	for _, s := range all {
		bytes += s.FreeRoom()
	}
	return bytes
}

func netGrowth(from, to *attribution.Heap) (bytes, objects int64) {
	fb, fo := from.Totals()
	tb, to2 := to.Totals()
	return int64(tb) - int64(fb), int64(to2) - int64(fo)
}

// concentration returns in how few stacks nearly all of it is, and their
// share.
func concentration(all []attribution.Retained) (stacks int, share float64) {
	const nearly = 0.99
	total, _ := sumRetained(all)
	var sum int64
	for i, s := range all {
		sum += s.Bytes
		if float64(sum) >= nearly*float64(total) {
			return i + 1, float64(sum) / float64(total)
		}
	}
	return 0, 0
}

// commonPool is the pool that all of them are in, "" if there is none.
func commonPool(all []attribution.Retained) string {
	for _, s := range all {
		if s.Pool != all[0].Pool {
			return ""
		}
	}
	return all[0].Pool
}

func plural(n int, word string) string {
	if n == 1 {
		return word
	}
	return word + "s"
}
