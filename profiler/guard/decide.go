// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"fmt"
	"time"

	"leakprof/profiler/plan"
)

// Window is what was seen of the process in a second or so.
type Window struct {
	Took time.Duration
	// BIRD is the CPU time of all its threads, what probes cost included; Wait is
	// for how long they waited for a CPU.
	BIRD, Wait time.Duration
	// Cost is what the probes cost, of those that each rung of the ladder has.
	Cost []time.Duration
	// BFD: the router has BFD sessions, whose timers are short.
	BFD bool
	// Asked: the router was asked in this window which sessions it has lost since
	// it was last asked, and Expired says which because a timer ran out, "" if none.
	Asked   bool
	Expired string
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
	// blameShare of the limit: if probes cost that much when a session's timer
	// ran out, it may have been their doing.
	blameShare = 0.25
)

// decider decides when to step down. It is a function of windows alone.
type decider struct {
	limit float64 // of one core
	rungs []plan.Options
	rung  int // in force
	over  int // windows in a row above the limit
	peak  float64
	worst float64 // window since the router was last asked
	after bool    // the next window is the one in which a step was made
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
	seconds := w.Took.Seconds()
	share := w.Cost[d.rung].Seconds() / seconds
	after := d.after
	d.after = false
	d.peak, d.worst = max(d.peak, share), max(d.worst, share)
	if w.Asked {
		worst := d.worst
		d.worst = 0
		if w.Expired != "" && worst > blameShare*d.limit {
			return d.step(len(d.rungs), worst, fmt.Sprintf("%s while probes took %s of a core", w.Expired, percent(worst)))
		}
	}
	// The window in which a step was made has hits of before.
	if share <= d.limit || after {
		d.over = 0
		return nil
	}
	d.over++
	allowed, why := patience, ""
	switch busy := w.BIRD + w.Wait; {
	case w.BFD:
		allowed, why = hurry, ", and there are BFD sessions"
	case busy.Seconds() >= busyShare*seconds:
		allowed, why = hurry, ", and BIRD had no idle time"
	case w.Wait.Seconds() >= waitShare*seconds:
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
