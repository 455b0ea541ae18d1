// SPDX-License-Identifier: Apache-2.0

package experiment

import (
	"fmt"
	"slices"
	"strings"

	"leakprof/collector/session"
	"leakprof/profiler/attribution"
	"leakprof/profiler/report"
)

// judge fills in what was retained and the verdict, by the rules of
// docs/design.md, "The session": growth decides, and what is lost.
func (r *run) judge(res *report.Result) {
	v := &res.Verdict
	v.Threshold = r.Threshold
	settled, ends := cycleLooks(res.Phases)
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
	for _, p := range ends {
		r.trend.take(base.Heap, p, r.ThresholdObjects)
	}
	res.Cycles = r.trend.cycles
	last := settled[len(settled)-1]
	res.Retained = attribution.Grown(base.Heap, last.Heap)
	attribution.Replace(res.Retained, attribution.Replacements(base.Heap, last.Heap, r.trend.standing))
	// What we leave in BIRD ourselves is no leak of its sessions.
	own := r.trend.own.sites()
	takeOutOwn(res, own)
	v.RetainedBytes, v.RetainedObjects = sumRetained(res.Retained)
	v.SlackBytes = sumEmpty(res.Retained)
	content := sumContent(res.Retained)
	steady := r.trend.steadySites(r.ThresholdObjects)
	noteSteady(res, r.trend.every, steady)
	// What was lost before the first cycle counts as well.
	end := ends[len(ends)-1]
	lost := slices.DeleteFunc(attribution.LostIn(end.Heap), func(s attribution.Retained) bool { return own[siteOf(s.Stack, s.Allocator)] })
	v.LostBytes, v.LostObjects = sumRetained(lost)
	res.LostBefore = lostBefore(lost, base.Heap)
	growth := r.trend.growth()
	grows := len(res.Cycles) > 1 && growth >= r.Threshold
	isLost := v.LostBytes >= r.Threshold
	small := len(steady) > 0 && len(res.Cycles) > steadyCycles
	pages, allPages := r.trend.pages.sum()
	s := &sentence{
		r: r, routes: last.Routes, baseRoutes: base.Routes, growth: growth, content: content, slack: v.SlackBytes,
		retained: res.Retained, total: v.RetainedBytes, cycles: res.Cycles, steady: steady, lost: lost,
		resumed: -1, replaced: v.RetainedBytes - v.SlackBytes - content,
	}
	if end != last {
		left := attribution.Grown(base.Heap, end.Heap)
		s.resumed, _ = sumRetained(left)
		s.resumedSlack = sumEmpty(left)
	}
	switch why := r.incomplete(res, settled, ends, grows || isLost || small, growth, content); {
	case isLost && (why != "" || !grows):
		// To what nothing points now nothing will, whatever came before this look.
		v.Kind, v.Sentence = report.Leak, s.lostLeak(why)
	case why != "":
		v.Kind, v.Sentence = report.Incomplete, s.incomplete(why)
	case grows:
		v.Kind, v.Sentence = report.Leak, s.leak()
	case pages >= r.Threshold:
		v.Kind, v.Sentence = report.Leak, s.lostPages(pages, allPages)
	case small:
		v.Kind, v.Sentence = report.Leak, s.smallLeak()
	case content < r.Threshold:
		v.Kind, v.Sentence = report.Clean, s.clean()
	default:
		v.Kind, v.Sentence = report.Held, s.held()
	}
	if r.walks() && (v.Kind == report.Leak || v.Kind == report.Held) {
		v.Sentence += r.withoutStack()
	}
}

// cycleLooks returns the phases that end with what a cycle retains, and those
// that end cycles. They are the same but where the station had stalled: what
// BIRD kept for it is retained and is no growth, for it goes once the station
// reads again.
func cycleLooks(phases []report.Phase) (settled, ends []*report.Phase) {
	for i := range phases {
		p := &phases[i]
		if p.Heap == nil && !p.Omitted {
			continue
		}
		switch n := len(ends) - 1; {
		case p.Name == string(session.Settled), p.Name == string(session.Interval) && p.Incomplete == "":
			// An interval that the run's end cut short is no cycle.
			settled, ends = append(settled, p), append(ends, p)
		case p.Name == string(session.Resumed) && n >= 0 && ends[n].Cycle == p.Cycle:
			ends[n] = p
		}
	}
	return settled, ends
}

// incomplete says why the verdict cannot be given, or "". What cannot change
// it does not count: losses that together, on top of what was seen, stay below
// the threshold, or add to what is above it already.
func (r *run) incomplete(res *report.Result, settled, ends []*report.Phase, leaks bool, growth, content int64) string {
	// A leak is told by the later cycles; without one the baseline matters.
	if base := &res.Phases[0]; base.Incomplete != "" && !leaks {
		return fmt.Sprintf("the baseline was not quiet (%s)", base.Incomplete)
	}
	for _, p := range settled {
		if p.Incomplete != "" {
			return fmt.Sprintf("cycle %d never settled (%s)", p.Cycle, p.Incomplete)
		}
	}
	for _, p := range ends {
		if p.Incomplete != "" {
			return fmt.Sprintf("cycle %d never settled once the station read again (%s)", p.Cycle, p.Incomplete)
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
	if lost > 0 && !leaks && (crosses(content) || len(settled) > 1 && crosses(max(growth, 0))) {
		return strings.Join(what, ", ")
	}
	if unknown := sumUnknown(res.Retained); unknown >= r.Threshold && content >= r.Threshold && !leaks {
		return fmt.Sprintf("%s may be lost or held (%s)", report.Size(unknown), r.whyUnknown(settled[len(settled)-1].Heap, res.Retained))
	}
	return ""
}

// whyUnknown says why it is not known of retained memory whether anything
// points at it.
func (r *run) whyUnknown(h *attribution.Heap, retained []attribution.Retained) string {
	switch {
	case r.searchFailed != nil:
		return r.searchFailed.Error()
	case h.Reach == nil:
		return "pointers were not followed"
	case h.Reach.Doubt != "":
		return h.Reach.Doubt
	}
	for i := range retained {
		for _, by := range retained[i].Holders {
			if by.Why != "" && retained[i].Unknown > 0 {
				return by.Why
			}
		}
	}
	return "it came or went while pointers were followed"
}

// noteSteady notes at each stack how many bytes came in every cycle after the
// first, and at the greatest of each site how many objects.
func noteSteady(res *report.Result, every map[place]int64, steady map[site]int64) {
	noted := make(map[site]bool)
	for i := range res.Retained {
		s := &res.Retained[i]
		s.EveryBytes = every[placeOf(s)]
		if at := siteOf(s.Stack, s.Allocator); !noted[at] {
			s.EveryObjects, noted[at] = steady[at], true
			if s.EveryBytes == 0 && s.Objects > 0 {
				s.EveryBytes = s.EveryObjects * s.Bytes / s.Objects // in turns with other stacks
			}
		}
	}
}

// lostBefore returns what of the lost memory was lost before the first cycle.
func lostBefore(lost []attribution.Retained, base *attribution.Heap) []attribution.Retained {
	type place struct {
		stack           uint64
		allocator, pool string
	}
	now := make(map[place]*attribution.Retained)
	for i := range lost {
		now[place{lost[i].Stack.Key, lost[i].Allocator, lost[i].Pool}] = &lost[i]
	}
	var before []attribution.Retained
	for _, s := range attribution.LostIn(base) {
		if n := now[place{s.Stack.Key, s.Allocator, s.Pool}]; n != nil {
			s.Bytes, s.Objects = min(s.Bytes, n.Bytes), min(s.Objects, n.Objects)
			s.Lost, s.LostObjects = s.Bytes, s.Objects
			before = append(before, s)
		}
	}
	return before
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

func sumUnknown(all []attribution.Retained) (bytes int64) {
	for _, s := range all {
		bytes += s.Unknown
	}
	return bytes
}

// sumContent is what is retained, without free room and without what is in the
// place of what others held before.
func sumContent(all []attribution.Retained) (bytes int64) {
	for _, s := range all {
		bytes += s.Content()
	}
	return bytes
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
