// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"fmt"
	"time"

	"leakprof/profiler/plan"
)

// Window is what was seen of the process in a second or so, or in a part of it.
type Window struct {
	End  time.Time
	Took time.Duration
	// BIRD is the CPU time of all its threads, what probes cost included; Wait is
	// for how long they waited for a CPU.
	BIRD, Wait time.Duration
	// Cost is what the probes cost, of those that each rung of the ladder has.
	Cost []time.Duration
	// BFD: the router has BFD sessions, whose timers are short.
	BFD bool
	// Lost are sessions that the router lost because a timer ran out, as far as
	// that was read in this window.
	Lost []Loss
}

// Limits of what is harmless to the router's timers.
const (
	// patience is for how many windows the cost may be above the limit, and
	// hurry where timers are nearer.
	patience, hurry = 2, 1
	// busyShare of a core: a thread that uses it and waits for the rest has no
	// idle time, so all that probes cost delays its timers.
	busyShare = 0.9
	// waitShare of the time that threads wait for a CPU: the machine has none
	// to spare.
	waitShare = 0.25
	// blameShare of the limit, and blameMost of a core however high it is: if
	// probes took more before a session was lost, it may have been their doing.
	// BFD's timers are of tenths of a second, and this is what is left of them.
	blameShare = 0.25
	blameMost  = 0.05
	// memory is for how long moments are kept.
	memory = 10 * time.Minute
)

// Before is what counts of the time before a session was last seen up: a timer runs
// out some time after what has delayed it.
const Before = 10 * time.Second

// decider decides when to step down. It is a function of windows alone.
type decider struct {
	limit float64 // of one core
	began time.Time
	rungs []plan.Options
	rung  int // in force
	over  int // windows in a row above the limit
	peak  float64
	after bool // the next window is the one in which a step was made
	// moments are of the last minutes, the oldest first, and spared the sessions
	// that were lost and not held against the probes.
	moments []moment
	spared  []string
}

// decision is what to do: go to another rung, or detach.
type decision struct {
	from, to int // indices of rungs; to len(rungs): detach
	share    float64
	reason   string
}

// take takes the next window, and returns what is to be done, nil for nothing.
func (d *decider) take(w Window) *decision {
	if w.Took <= 0 || d.rung >= len(d.rungs) {
		return nil
	}
	share := w.Cost[d.rung].Seconds() / w.Took.Seconds()
	after := d.after
	d.after = false
	d.peak = max(d.peak, share)
	for _, l := range w.Lost {
		worst, why := d.blame(l)
		if why != "" {
			return d.step(len(d.rungs), worst, fmt.Sprintf("%v, and before that %s", l, why))
		}
		d.spared = append(d.spared, fmt.Sprintf("%v; the probes stay: before that they took at most %s of a core, and BIRD had idle time", l, percent(worst)))
	}
	// The window in which a step was made has hits of before.
	if share <= d.limit || after {
		d.over = 0
		return nil
	}
	d.over++
	allowed, why := patience, ""
	switch {
	case w.BFD:
		allowed, why = hurry, ", and there are BFD sessions"
	case w.isBusy():
		allowed, why = hurry, ", and BIRD had no idle time"
	case w.waits():
		allowed, why = hurry, ", and BIRD waited for a CPU"
	}
	if d.over < allowed {
		return nil
	}
	to := d.rung + 1
	for to < len(d.rungs) && w.expect(d.rung, to) > d.limit {
		to++
	}
	return d.step(to, share, fmt.Sprintf("probes took %s of a core%s", percent(share), why))
}

// isBusy: there was no idle time, so that whatever is done delays timers.
func (w *Window) isBusy() bool { return float64(w.BIRD+w.Wait) >= busyShare*float64(w.Took) }

// waits: the machine had no CPU to spare.
func (w *Window) waits() bool { return float64(w.Wait) >= waitShare*float64(w.Took) }

// add appends what was seen next.
func (w *Window) add(n Window) {
	w.End, w.Took, w.BIRD, w.Wait = n.End, w.Took+n.Took, w.BIRD+n.BIRD, w.Wait+n.Wait
	if w.Cost == nil {
		w.Cost = make([]time.Duration, len(n.Cost))
	}
	for i, c := range n.Cost {
		w.Cost[i] += c
	}
}

// expect is how much of a core the probes of a rung would take. A process that
// uses all of a core does more when probes take less of it.
func (w *Window) expect(now, to int) float64 {
	total := w.BIRD.Seconds()
	cost, own := w.Cost[to].Seconds(), max(total-w.Cost[now].Seconds(), 0)
	if total < busyShare*w.Took.Seconds() || own+cost <= 0 {
		return cost / w.Took.Seconds()
	}
	return total * cost / (own + cost) / w.Took.Seconds()
}

func (d *decider) step(to int, share float64, reason string) *decision {
	from := d.rung
	d.rung, d.over, d.after = to, 0, true
	return &decision{from, to, share, reason}
}

// percent prints a share of a core.
func percent(share float64) string {
	if share < 0.0995 {
		return fmt.Sprintf("%.1f%%", 100*share)
	}
	return fmt.Sprintf("%.0f%%", 100*share)
}
