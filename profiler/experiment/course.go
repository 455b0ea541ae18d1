// SPDX-License-Identifier: Apache-2.0

package experiment

import (
	"leakprof/collector/session"
	"leakprof/profiler/report"
)

// record keeps what was observed for the run's course.
func (r *run) record(o session.Observation) {
	p := report.Point{Time: o.Time, LiveBytes: -1, Routes: o.Routes, PeerUps: o.PeerUps + r.guarded.ups, PeerDowns: o.PeerDowns + r.guarded.downs}
	if r.Profiler != nil && !r.walks() {
		p.LiveBytes = max(o.LiveBytes, 0)
	}
	r.course.Add(p)
	r.overhead.observe(r, o.CPU, o.Events)
	r.sessions.observe(r, o.Time)
}
