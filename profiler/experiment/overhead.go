// SPDX-License-Identifier: Apache-2.0

package experiment

import (
	"time"

	"leakprof/bpf"
	"leakprof/profiler/plan"
	"leakprof/profiler/report"
)

// overhead is how much of a CPU the process has used since the run began, and
// how often its probes were hit until then.
type overhead struct {
	begun bool
	cpu   time.Duration
	hits  map[string]bpf.Hits
}

// observe takes the process's CPU time as it is now. What comes first is what
// the run begins with.
func (o *overhead) observe(r *run, cpu time.Duration) {
	if o.begun {
		return
	}
	o.begun, o.cpu = true, cpu
	if r.Profiler != nil {
		// Unknown, they count from the time of attaching: a few more.
		o.hits, _ = r.Profiler.Hits()
	}
}

// result is the CPU time of the run, nil if nothing was observed.
func (o *overhead) result(r *run) *report.Overhead {
	if !o.begun || r.last.CPU < o.cpu {
		return nil
	}
	res := &report.Overhead{BIRD: r.last.CPU - o.cpu}
	if r.Profiler == nil {
		return res
	}
	hits, err := r.Profiler.Hits()
	if err != nil {
		return res
	}
	for name, before := range o.hits {
		h := hits[name]
		hits[name] = bpf.Hits{Entered: h.Entered - before.Entered, Returned: h.Returned - before.Returned}
	}
	res.Hits, res.Probes = hitCost(r.Profiler.Plan.Sites, hits)
	return res
}

// hitCost estimates what so many hits cost the target, and how many they are:
// a call whose return is probed as well is one. Hits are counted by function:
// where one is probed at several places, none is taken to be hit more than
// another.
func hitCost(sites []plan.Site, hits map[string]bpf.Hits) (calls uint64, cost time.Duration) {
	type places struct {
		n    int
		each time.Duration
	}
	functions := make(map[string]places)
	for _, s := range sites {
		p := functions[s.Function]
		functions[s.Function] = places{p.n + 1, p.each + s.Cost()}
	}
	for name, p := range functions {
		n := max(hits[name].Entered, hits[name].Returned)
		calls += n
		cost += time.Duration(float64(n) * float64(p.each) / float64(p.n))
	}
	return calls, cost
}
