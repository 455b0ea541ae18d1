// SPDX-License-Identifier: Apache-2.0

package experiment

import (
	"time"

	"leakprof/profiler"
	"leakprof/profiler/report"
)

// result puts together what was found.
func (r *run) result() (*report.Result, error) {
	res := &report.Result{
		Phases: r.phases, Series: r.course.Points(), Notes: r.notes, Started: r.started, Ended: time.Now(), CPU: r.cpu,
		Overhead: r.overhead.result(r), Sessions: r.sessions.result(r),
		Target: report.Target{PID: r.Process.PID, Exe: r.Process.Exe},
	}
	last := &res.Phases[len(res.Phases)-1]
	if last.End.IsZero() {
		last.End = res.Ended
	}
	res.Target.Version = r.version
	var err error
	if res.Health, err = r.health(); err != nil {
		return nil, err
	}
	res.Health = append(res.Health, r.stationHealth()...)
	if r.Profiler != nil {
		res.Mode = r.Profiler.Plan.Options.Mode.String()
		res.Coverage = r.Profiler.Plan.Covered
		res.NotCovered = r.Profiler.Plan.NotCovered
		res.Stacks = r.stackQuality()
		res.Before = before(r.Profiler)
		exe := r.Profiler.Modules()[0]
		res.Target.BuildID = exe.BuildID()
		res.Target.Symbols, res.NamesHint = names(res.Phases, exe.Name)
	}
	res.Guard = r.guardAccount()
	r.judge(res)
	r.judgeStuck(&res.Verdict)
	r.judgeGuarded(&res.Verdict)
	return res, nil
}

// before is what was there when the probes came, nil if that was nothing.
func before(p *profiler.Profiler) *report.Before {
	b := p.Before
	if p.Walks() {
		return nil // it is as well known as what came later
	}
	if b.Blocks+b.Pages == 0 && b.Unknown == nil {
		return nil
	}
	out := &report.Before{Bytes: b.Bytes, Blocks: b.Blocks, Pages: b.Pages}
	if b.Unknown != nil {
		out.Unknown = b.Unknown.Error()
	}
	return out
}

// hitRate is the probes' hits per second since the last call.
func (r *run) hitRate() float64 {
	now := time.Now()
	hits, err := r.Profiler.Hits()
	if err != nil {
		return 0
	}
	var total uint64
	for _, h := range hits {
		total += h.Entered + h.Returned
	}
	dt := now.Sub(r.hitsAt).Seconds()
	rate := 0.0
	if dt > 0 && !r.hitsAt.IsZero() {
		rate = float64(total-r.hits) / dt
	}
	r.hits, r.hitsAt = total, now
	return rate
}
