// SPDX-License-Identifier: Apache-2.0

package session

import (
	"fmt"
	"time"
)

// What counts as quiet. BIRD is never quite idle: keepalives, timers and the
// control connection go on.
const (
	// quietCPU is the share of one CPU below which BIRD is at rest.
	quietCPU = 0.03
	// quietShare is the share of the phase's peak message and event rate that
	// may go on.
	quietShare = 0.01
	// steadyShare and steadyBytes bound how much live memory may move.
	steadyShare = 0.0005
	steadyBytes = 4096
)

// quiet judges whether things have become quiet: over the last settle time
// BIRD used next to no CPU, next to nothing was allocated, freed or sent, and
// live memory stood still; and a second look, after twice that time, finds
// live memory no lower.
type quiet struct {
	settle time.Duration
	// others: of what BIRD does, messages alone are the experiment's.
	others bool

	window  []Observation // of the last settle time, oldest first
	peak    float64       // highest rate so far, per second
	resting *Observation  // the first look
	reason  string
}

// Reasons that are none: there is nothing but the time to wait for.
const watching, secondLook = "watching", "second look"

func newQuiet(settle time.Duration, others bool) *quiet {
	return &quiet{settle: settle, others: others}
}

// activity is what the rate is taken of.
func (q *quiet) activity(o Observation) uint64 {
	if q.others {
		return o.Messages
	}
	return o.Messages + o.Events
}

// observe takes a look at o and says whether things are quiet now.
func (q *quiet) observe(o Observation) bool {
	if n := len(q.window); n > 0 {
		last := q.window[n-1]
		if dt := o.Time.Sub(last.Time).Seconds(); dt > 0 {
			q.peak = max(q.peak, float64(q.activity(o)-q.activity(last))/dt)
		}
	}
	q.window = append(q.window, o)
	// One observation older than the settle time stays, to span it.
	for len(q.window) > 2 && o.Time.Sub(q.window[1].Time) >= q.settle {
		q.window = q.window[1:]
	}
	first := q.window[0]
	span := o.Time.Sub(first.Time)
	if span < q.settle {
		q.reason = watching
		return false
	}
	if why := q.moving(first, o, span); why != "" {
		q.resting, q.reason = nil, why
		return false
	}
	if q.resting == nil {
		q.resting = &o
	}
	if !q.others && o.LiveBytes < q.resting.LiveBytes-tolerance(q.resting.LiveBytes) {
		q.resting, q.reason = &o, "live memory still shrinks"
		return false
	}
	q.reason = secondLook
	return o.Time.Sub(q.resting.Time) >= q.settle
}

// restless begins what quiet waits for where something goes on: the rest is what.
const restless = "quiet, but "

// words say what is waited for.
func (q *quiet) words() string {
	switch q.reason {
	case "", watching:
		return "quiet"
	case secondLook:
		return "quiet at a second look"
	}
	return restless + q.reason
}

// until is when things will have been quiet for long enough if they are from
// now on; the zero time if they are not.
func (q *quiet) until() time.Time {
	switch {
	case q.resting != nil:
		return q.resting.Time.Add(q.settle)
	case len(q.window) > 0 && q.reason == watching:
		return q.window[0].Time.Add(2 * q.settle)
	}
	return time.Time{}
}

// moving says why things are not quiet, or "".
func (q *quiet) moving(first, o Observation, span time.Duration) string {
	if share := float64(o.CPU-first.CPU) / float64(span); share > quietCPU && !q.others {
		return fmt.Sprintf("bird uses %.0f %% of a cpu", 100*share)
	}
	// A handful of events is never a flood, however low the peak was.
	const few = 64
	n := q.activity(o) - q.activity(first)
	if rate := float64(n) / span.Seconds(); n > few && rate > quietShare*q.peak {
		return fmt.Sprintf("%.0f events/s", rate)
	}
	if q.others {
		return ""
	}
	low, high := o.LiveBytes, o.LiveBytes
	for _, w := range q.window {
		low, high = min(low, w.LiveBytes), max(high, w.LiveBytes)
	}
	if high-low > tolerance(high) {
		return fmt.Sprintf("live memory moves by %d bytes", high-low)
	}
	return ""
}

func tolerance(live int64) int64 { return max(steadyBytes, int64(steadyShare*float64(live))) }
