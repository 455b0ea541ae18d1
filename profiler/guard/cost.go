// SPDX-License-Identifier: Apache-2.0

// Package guard keeps what probes cost a router in bounds: it estimates
// beforehand what they will cost, watches what they do cost, and steps down to
// cheaper options or takes them off when that is more than was asked for, or
// when timers of the router's sessions are at risk.
package guard

import (
	"time"

	"leakprof/bpf"
	"leakprof/profiler/plan"
)

// What a program takes for a hit, beside the probe itself (plan.Site.Cost): with
// BIRD 2.13 to 3.4 under flood on Linux 6.18 in a virtual machine 2.1 to 4.5 us
// where a stack of BIRD's usual 10 to 20 frames is walked and recorded, 1.1 to
// 2.5 us where something is taken out of the live set, and 0.13 to 0.2 us at the
// entry of a call whose return does the work.
const (
	recordTime  = 3 * time.Microsecond
	takeOutTime = 1300 * time.Nanosecond
	enterTime   = 150 * time.Nanosecond
)

// programTime is about how long the programs at a site run for a call.
func programTime(s plan.Site) (d time.Duration) {
	switch {
	case s.Event == plan.BlockFreed, s.Event == plan.PageReturned, s.Event == plan.BlockResized:
		d = takeOutTime
	case s.Entry:
		d = enterTime
	}
	if s.Return {
		d += recordTime
	}
	return d
}

// ladder returns options and all that are cheaper, the cheapest last.
func ladder(o plan.Options) []plan.Options {
	rungs := []plan.Options{o}
	for {
		next, ok := o.Cheaper()
		if !ok {
			return rungs
		}
		rungs, o = append(rungs, next), next
	}
}

// lastRung is the last of a ladder's rungs that follows an event.
func lastRung(rungs []plan.Options, e plan.Event) (last int) {
	for i, o := range rungs {
		if o.Follows(e) {
			last = i
		}
	}
	return last
}

// function is what a call of a probed function costs, on the average of the
// places where it is probed: hits are counted by function.
type function struct {
	probe, program time.Duration
	places         int
	last           int // rung of the ladder that follows it
}

// meter turns hits into what they cost.
type meter struct {
	rungs     []plan.Options
	functions map[string]*function
	before    map[string]bpf.Hits
	// scale is by how much programs take longer on this machine than programTime
	// says, as far as it was measured.
	scale float64
	total tally
}

// tally adds up runs of programs, and how long they take by programTime.
type tally struct {
	runs uint64
	time time.Duration
}

// newMeter begins with the hits there are already.
func newMeter(sites []plan.Site, rungs []plan.Options, hits map[string]bpf.Hits) *meter {
	m := &meter{rungs: rungs, functions: make(map[string]*function), before: hits, scale: 1}
	for _, s := range sites {
		f := m.functions[s.Function]
		if f == nil {
			f = &function{}
			m.functions[s.Function] = f
		}
		f.probe, f.program, f.places = f.probe+s.Cost(), f.program+programTime(s), f.places+1
		f.last = max(f.last, lastRung(rungs, s.Event))
	}
	return m
}

// functionsAbove are those that a rung does not follow any more.
func (m *meter) functionsAbove(rung int) (names []string) {
	for name, f := range m.functions {
		if f.last < rung {
			names = append(names, name)
		}
	}
	return names
}

// cost is what the hits since the last call cost with the probes of each rung,
// those of the first together with all others.
func (m *meter) cost(hits map[string]bpf.Hits) []time.Duration {
	costs := make([]time.Duration, len(m.rungs))
	for name, f := range m.functions {
		now, before := hits[name], m.before[name]
		calls := max(now.Entered-before.Entered, now.Returned-before.Returned)
		program := time.Duration(float64(calls) * float64(f.program) / float64(f.places))
		m.total.runs += now.Entered - before.Entered + now.Returned - before.Returned
		m.total.time += program
		each := time.Duration(float64(calls)*float64(f.probe)/float64(f.places)) + time.Duration(m.scale*float64(program))
		for i := range costs[:f.last+1] {
			costs[i] += each
		}
	}
	m.before = hits
	return costs
}

// Bounds of a scale: what lies beyond was not measured well.
const (
	fewSampled         = 500 // runs say nothing
	minScale, maxScale = 0.1, 10
)

// learn takes how long programs ran, as far as the kernel has measured it.
func (m *meter) learn(r bpf.Runtime) {
	if r.Runs < fewSampled || m.total.runs == 0 || m.total.time == 0 {
		return
	}
	each := float64(r.Time) / float64(r.Runs)
	expected := float64(m.total.time) / float64(m.total.runs)
	m.scale = min(max(each/expected, minScale), maxScale)
}
