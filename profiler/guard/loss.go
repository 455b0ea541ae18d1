// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Loss is a session of the router that went down because a timer ran out, or may
// have: BGP's hold timer, ours or the neighbor's, or BFD's detection time. It may
// also be that the router was too late in another way.
type Loss struct {
	What string // BIRD did, such as "lost the session peer1 with 192.0.2.1"
	Read string // what told of it
	// Stood is when all was last known to be well, Fell when it was not: as late as
	// that can have been.
	Stood, Fell time.Time
}

// String says it in one line.
func (l Loss) String() string {
	const clock = "15:04:05.0"
	return fmt.Sprintf("BIRD %s between %s and %s (%s)", l.What, l.Stood.Format(clock), l.Fell.Format(clock), l.Read)
}

// moment is what was seen in a part of a window, with the cost of the probes that
// were in force.
type moment struct {
	end                    time.Time
	took, bird, wait, cost time.Duration
}

// remember keeps what was seen in a part of a window.
func (d *decider) remember(w Window) {
	if w.Took <= 0 || d.rung >= len(d.rungs) {
		return
	}
	d.moments = append(d.moments, moment{w.End, w.Took, w.BIRD, w.Wait, w.Cost[d.rung]})
	first := slices.IndexFunc(d.moments, func(m moment) bool { return w.End.Sub(m.end) <= memory })
	d.moments = d.moments[max(first, 0):]
}

// until sums up the window that ends with a moment.
func (d *decider) until(i int) (w Window) {
	for ; i >= 0 && (w.Took == 0 || w.Took+d.moments[i].took <= window+sample/2); i-- {
		m := d.moments[i]
		w.add(Window{Took: m.took, BIRD: m.bird, Wait: m.wait, Cost: []time.Duration{m.cost}})
	}
	return w
}

// blame says by what the probes may have had a part in it that a session was lost,
// "" if by nothing, and how much of a core they took in the worst second. What came
// after it says nothing: BIRD is busy with the routes of a session that went down.
func (d *decider) blame(l Loss) (worst float64, why string) {
	isBusy, waits := false, false
	for i, m := range d.moments {
		if m.end.Before(l.Stood.Add(-Before)) || m.end.After(l.Fell) {
			continue
		}
		w := d.until(i)
		worst = max(worst, w.Cost[0].Seconds()/w.Took.Seconds())
		isBusy, waits = isBusy || w.isBusy(), waits || w.waits()
	}
	var all []string
	if l.Fell.Before(d.began.Add(window)) {
		all = append(all, "leakprof had begun to attach")
	}
	if worst > min(blameShare*d.limit, blameMost) {
		all = append(all, fmt.Sprintf("probes took up to %s of a core", percent(worst)))
	}
	if isBusy {
		all = append(all, "BIRD had no idle time")
	}
	if waits {
		all = append(all, "BIRD waited for a CPU")
	}
	return worst, strings.Join(all, ", ")
}
