// SPDX-License-Identifier: Apache-2.0

package experiment

import (
	"fmt"
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
		// An interval that the run's end cut short is no cycle.
		isCycle := p.Name == string(session.Settled) || p.Name == string(session.Interval) && p.Incomplete == ""
		if isCycle && p.Heap != nil {
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
		if r.Session.Interval > 0 {
			v.Sentence = fmt.Sprintf("incomplete: the run ended before the first interval of %v did", r.Session.Interval)
		}
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

	looks := make([]*attribution.Heap, len(settled))
	for i, p := range settled {
		looks[i] = p.Heap
	}
	steady := steadyStacks(looks, r.ThresholdObjects)
	growth := steadyGrowth(res.Cycles)
	grows, small := len(res.Cycles) > 1 && growth >= r.Threshold, false
	if !grows && len(steady) > 0 && len(looks) > steadyCycles {
		grows, small = true, true
	}
	s := &sentence{
		r: r, routes: last.Routes, growth: growth, content: content, slack: v.SlackBytes,
		retained: res.Retained, total: v.RetainedBytes, cycles: res.Cycles, steady: steady,
	}
	switch why := r.incomplete(res, settled, grows, growth, content); {
	case why != "":
		v.Kind, v.Sentence = report.Incomplete, s.incomplete(why)
	case small:
		v.Kind, v.Sentence = report.Leak, s.smallLeak()
	case grows:
		v.Kind, v.Sentence = report.Leak, s.leak()
	case content < r.Threshold:
		v.Kind, v.Sentence = report.Clean, s.clean()
	default:
		v.Kind, v.Sentence = report.Held, s.held()
	}
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
