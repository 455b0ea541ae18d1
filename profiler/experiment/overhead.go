// SPDX-License-Identifier: Apache-2.0

package experiment

import (
	"sync"
	"time"

	"leakprof/bpf"
	"leakprof/profiler/plan"
	"leakprof/profiler/report"
)

// overhead measures what the probes cost the target: how much of a CPU it has
// used since the run began, how often probes were hit, and how long programs
// ran then, by samples.
type overhead struct {
	begun time.Time
	cpu   time.Duration // at the begin, as the next two
	hits  map[string]bpf.Hits
	ran   bpf.Runtime
	sites []plan.Site // some of them may be given up later

	ticks  int
	events uint64 // as of the last observation
	stop   func() // ends the measurement, nil if there is none
	many   bool   // manyRuns are measured
}

// Measuring costs a program some 50 ns a run, and others on the machine too, and
// to turn it on and off has the kernel change code on all CPUs. So it is left on in
// a run's first minute until there are many runs: a small experiment is one burst of
// them, shorter than an observation. After that nothing is measured of a BIRD that
// does nothing, and once there are many runs, it is done in one observation of so
// many. Few runs say nothing.
const (
	opening      = time.Minute
	sampledTicks = 10
	manyRuns     = 10_000
	fewRuns      = 500
	busyEvents   = 100 // between two observations
)

// observe takes the process's CPU time and how many blocks came or went, as they
// are now. What comes first is what the run begins with.
func (o *overhead) observe(r *run, cpu time.Duration, events uint64) {
	if o.begun.IsZero() {
		o.begun, o.cpu = time.Now(), cpu
		if r.Profiler != nil {
			// Unknown, they count from the time of attaching: a few more.
			o.hits, _ = r.Profiler.Hits()
			o.ran, _ = r.Profiler.Runtime()
			o.sites = r.Profiler.Plan.Sites
		}
	}
	o.ticks++
	busy := events-o.events >= busyEvents
	o.events = events
	if r.Profiler == nil || !r.Profiler.Probes() {
		return
	}
	// Runs are counted while that is measured.
	if o.stop != nil {
		ran, err := r.Profiler.Runtime()
		o.many = err != nil || ran.Runs-o.ran.Runs > manyRuns
	}
	if left := opening - time.Since(o.begun); left > 0 && !o.many {
		if o.stop == nil {
			o.measure(r, left)
		}
		return
	}
	o.end()
	if busy && (!o.many || o.ticks%sampledTicks == 0) {
		o.measure(r, pollInterval)
	}
}

// measure begins a sample that ends by itself: the next observation may be long in
// coming. A kernel that cannot measure leaves the programs out of the estimate.
func (o *overhead) measure(r *run, d time.Duration) {
	c, err := r.MeasureRuntime()
	if err != nil {
		return
	}
	o.stop = sync.OnceFunc(func() { c.Close() })
	time.AfterFunc(d, o.stop)
}

// end ends a sample that is being taken.
func (o *overhead) end() {
	if o.stop != nil {
		o.stop()
		o.stop = nil
	}
}

// result is the CPU time of the run, nil if nothing was observed.
func (o *overhead) result(r *run) *report.Overhead {
	o.end()
	// Hits are counted until now; of a process that has ended only the last
	// observation is left.
	cpu := r.last.CPU
	if now, err := r.Process.CPUTime(); err == nil {
		cpu = max(cpu, now)
	}
	if o.begun.IsZero() || cpu < o.cpu {
		return nil
	}
	res := &report.Overhead{BIRD: cpu - o.cpu}
	if r.Profiler == nil || !r.Profiler.Probes() {
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
	res.Hits, res.Probes = hitCost(o.sites, hits)
	ran, err := r.Profiler.Runtime()
	if err != nil || ran.Runs-o.ran.Runs < fewRuns {
		return res
	}
	res.Sampled = ran.Runs - o.ran.Runs
	each := float64(ran.Time-o.ran.Time) / float64(res.Sampled)
	var runs uint64
	for _, h := range hits {
		runs += h.Entered + h.Returned
	}
	// Run times are by the clock: a program that has to wait for a CPU takes
	// longer than it costs.
	res.Probes = min(res.Probes+time.Duration(each*float64(runs)), res.BIRD)
	return res
}

// hitCost estimates what so many hits cost the target without what programs do
// then, and how many there are: a call whose return is probed as well is one.
// Hits are counted by function: where one is probed at several places, none is
// taken to be hit more than another.
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
