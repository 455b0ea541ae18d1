// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"slices"
	"strings"
	"testing"
	"time"

	"leakprof/profiler/plan"
)

// TestDecider: windows of a second, with a limit of a fifth of a core.
func TestDecider(t *testing.T) {
	const ms = time.Millisecond
	// bird and the costs of exact and pages, in ms of a second.
	w := func(bird, exact, pages time.Duration) Window {
		return Window{Took: time.Second, BIRD: bird * ms, Cost: []time.Duration{exact * ms, pages * ms}}
	}
	bfd := w(500, 300, 20)
	bfd.BFD = true
	waits := w(500, 300, 20)
	waits.Wait = 300 * ms
	const none, toPages, off = -1, 1, 2
	for _, c := range []struct {
		name    string
		windows []Window
		at, to  int    // the window that makes it step, and to which rung
		says    string // part of the reason
	}{
		{"at rest", []Window{w(0, 0, 0), w(0, 0, 0), w(0, 0, 0)}, none, 0, ""},
		{"at the limit", []Window{w(500, 200, 20), w(500, 200, 20), w(500, 200, 20)}, none, 0, ""},
		{"one window above it", []Window{w(500, 300, 20), w(500, 100, 20), w(500, 300, 20), w(500, 100, 20)}, none, 0, ""},
		{"two in a row", []Window{w(500, 100, 20), w(500, 300, 20), w(500, 300, 20)}, 2, toPages, "probes took 30% of a core"},
		{"pages would be above it, too", []Window{w(800, 600, 210), w(800, 600, 210)}, 1, off, "probes took 60% of a core"},
		{"no idle time", []Window{w(950, 300, 20)}, 0, toPages, "no idle time"},
		{"no idle time, and more of pages then", []Window{w(1000, 600, 150)}, 0, off, "no idle time"},
		{"BFD", []Window{bfd}, 0, toPages, "BFD"},
		{"waits for a CPU", []Window{waits}, 0, toPages, "waited for a CPU"},
		{"a window of no time", []Window{{}, {Took: -time.Second}}, none, 0, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := &decider{limit: 0.2, rungs: ladder(plan.Options{})}
			for i, window := range c.windows {
				got := d.take(window)
				if (got != nil) != (i == c.at) {
					t.Fatalf("window %d: decision %+v", i, got)
				}
				if got != nil && (got.from != 0 || got.to != c.to || !strings.Contains(got.reason, c.says)) {
					t.Errorf("%+v, want to %d because of %q", got, c.to, c.says)
				}
			}
		})
	}
}

// TestDeciderGoesOn: after a step the next window has hits of before; then the
// cheaper mode is held against the limit, and at last there is nothing to do.
func TestDeciderGoesOn(t *testing.T) {
	const ms = time.Millisecond
	d := &decider{limit: 0.2, rungs: ladder(plan.Options{LinpoolObjects: true})}
	window := Window{Took: time.Second, BIRD: 500 * ms, Cost: []time.Duration{400 * ms, 150 * ms, 100 * ms}}
	worse := Window{Took: time.Second, BIRD: 500 * ms, Cost: []time.Duration{400 * ms, 250 * ms, 210 * ms}}
	var steps []int
	for i, w := range []Window{window, window, worse, window, worse, worse, worse, worse, worse, worse} {
		if next := d.take(w); next != nil {
			steps = append(steps, i, next.to)
		}
	}
	if want := []int{1, 1, 5, 3}; !slices.Equal(steps, want) {
		t.Errorf("steps at windows and to rungs %v, want %v", steps, want)
	}
	if d.peak != 0.4 {
		t.Errorf("peak %v, want 0.4", d.peak)
	}
}
