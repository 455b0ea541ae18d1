// SPDX-License-Identifier: Apache-2.0

package report

import "time"

// MaxPoints bounds a series, however long the run was.
const MaxPoints = 1024

// Point is what was counted over a short time of the run.
type Point struct {
	Time time.Time // the end of that time
	// LiveBytes is the most that was live in it, by the probes' counters; -1
	// without probes.
	LiveBytes int64
	// Routes is BIRD's own count of routes in all tables as last asked for, -1 if
	// unknown.
	Routes int64
	// PeerUps and PeerDowns count sessions that came and went since the run
	// began, by BMP, or by the control socket where there is no BMP.
	PeerUps, PeerDowns uint64
}

// Recorder keeps the course of a run in at most MaxPoints points. The zero value
// is ready for use.
type Recorder struct {
	points []Point
	step   time.Duration // a point stands for at least so long
	begin  time.Time     // of the last point's time
}

// Add takes in what was counted, in the order of time. When there are too many
// points, each two become one: peaks stay, and so do the counts of sessions.
func (r *Recorder) Add(p Point) {
	if n := len(r.points); n > 0 && p.Time.Sub(r.begin) < r.step {
		r.points[n-1] = r.points[n-1].merge(p)
		return
	}
	if len(r.points) == MaxPoints {
		for i := range MaxPoints / 2 {
			r.points[i] = r.points[2*i].merge(r.points[2*i+1])
		}
		r.points = r.points[:MaxPoints/2]
		r.step = 2 * max(r.step, p.Time.Sub(r.points[0].Time)/MaxPoints)
	}
	r.points = append(r.points, p)
	r.begin = p.Time
}

// Points are what was recorded, oldest first.
func (r *Recorder) Points() []Point { return r.points }

// merge is both times as one.
func (p Point) merge(later Point) Point {
	later.LiveBytes = max(p.LiveBytes, later.LiveBytes)
	return later
}

// DocumentPoint is Point in report.json.
type DocumentPoint struct {
	Time      time.Time `json:"time"`
	LiveBytes *int64    `json:"live_bytes"`
	Routes    *int64    `json:"routes"`
	PeerUps   uint64    `json:"peer_ups"`
	PeerDowns uint64    `json:"peer_downs"`
}

func newPoint(p Point) DocumentPoint {
	d := DocumentPoint{Time: p.Time.UTC(), PeerUps: p.PeerUps, PeerDowns: p.PeerDowns}
	if p.LiveBytes >= 0 {
		d.LiveBytes = &p.LiveBytes
	}
	if p.Routes >= 0 {
		d.Routes = &p.Routes
	}
	return d
}
