// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"strings"
	"testing"
	"time"

	"leakprof/profiler/plan"
)

// TestLoss: what was before a session went down is held against the probes, with a
// limit of a fifth of a core, and nothing that came after.
func TestLoss(t *testing.T) {
	const ms = time.Millisecond
	start := time.Date(2026, 1, 2, 3, 4, 0, 0, time.UTC)
	// What BIRD used and waited, and the probes cost, in ms of each second.
	type second struct{ bird, wait, cost time.Duration }
	idle, full := second{5, 0, 1}, second{950, 0, 1}
	many := func(n int, s second) (all []second) {
		for range n {
			all = append(all, s)
		}
		return all
	}
	for _, c := range []struct {
		name        string
		limit       float64
		began       time.Duration
		seconds     []second
		stood, fell time.Duration // after the start
		says        string        // "": it is spared
	}{
		{"at rest", 0.2, 0, many(8, idle), 5 * time.Second, 5500 * ms, ""},
		{"probes", 0.2, 0, append(many(5, idle), second{300, 0, 60}, idle), 4 * time.Second, 6500 * ms, "and before that probes took up to 6.0% of a core"},
		{"probes, a little", 0.2, 0, append(many(5, idle), second{300, 0, 49}, idle), 4 * time.Second, 6500 * ms, ""},
		{"probes, with a high limit", 50, 0, append(many(5, idle), second{300, 0, 60}, idle), 4 * time.Second, 6500 * ms, "6.0% of a core"},
		{"probes, with a low limit", 0.02, 0, append(many(5, idle), second{300, 0, 6}, idle), 4 * time.Second, 6500 * ms, "0.6% of a core"},
		{"no idle time", 0.2, 0, append(many(5, idle), full, idle), 4 * time.Second, 6500 * ms, "and before that BIRD had no idle time"},
		{"waited", 0.2, 0, append(many(5, idle), second{100, 300, 1}, idle), 4 * time.Second, 6500 * ms, "BIRD waited for a CPU"},
		{"waited and used all", 0.2, 0, append(many(5, idle), second{500, 400, 100}, idle), 4 * time.Second, 6500 * ms, "probes took up to 10% of a core, BIRD had no idle time, BIRD waited for a CPU"},
		{"shortly before it was last seen up", 0.2, 0, append([]second{full}, many(12, idle)...), 10 * time.Second, 12 * time.Second, "no idle time"},
		{"long before", 0.2, 0, append([]second{full}, many(14, idle)...), 13 * time.Second, 14 * time.Second, ""},
		{"busy with its routes afterwards", 0.2, 0, append(many(5, idle), second{1000, 0, 400}, second{1000, 0, 400}), 4 * time.Second, 5 * time.Second, ""},
		{"busy with its routes from the middle of a second", 0.2, 0, append(many(5, idle), second{500, 0, 200}), 4 * time.Second, 5200 * ms, ""},
		{"as the probes were placed", 0.2, 2 * time.Second, many(5, idle), 0, 2500 * ms, "leakprof had begun to attach"},
		{"after they were placed", 0.2, 2 * time.Second, many(5, idle), 0, 3500 * ms, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := &decider{limit: c.limit, rungs: ladder(plan.Options{}), began: start.Add(c.began - time.Hour)}
			if c.began > 0 {
				d.began = start.Add(c.began)
			}
			for i, s := range c.seconds {
				w := Window{Took: time.Second, End: start.Add(time.Duration(i+1) * time.Second), BIRD: s.bird * ms, Wait: s.wait * ms, Cost: []time.Duration{s.cost * ms, 0}}
				d.remember(w)
				if i == len(c.seconds)-1 {
					w.Lost = []Loss{{What: "lost the session peer1", Read: "Hold timer expired", Stood: start.Add(c.stood), Fell: start.Add(c.fell)}}
				}
				w.Cost[0] = 0 // the limit is another test's
				got := d.take(w)
				if (got != nil) != (c.says != "" && w.Lost != nil) {
					t.Fatalf("second %d: decision %+v", i, got)
				}
				if got != nil && (got.to != len(d.rungs) || !strings.Contains(got.reason, c.says) || !strings.HasPrefix(got.reason, "BIRD lost the session peer1 between 03:04:")) {
					t.Errorf("%+v, want to detach because of %q", got, c.says)
				}
			}
			if spared := len(d.spared) == 1; spared != (c.says == "") {
				t.Errorf("spared: %q", d.spared)
			}
		})
	}
}

// TestMoments: parts of a second are summed up to whole ones, and not kept for ever.
func TestMoments(t *testing.T) {
	d := &decider{limit: 1, rungs: ladder(plan.Options{})}
	end := time.Date(2026, 1, 2, 3, 4, 0, 0, time.UTC)
	for range 2 * memory / sample {
		end = end.Add(sample)
		d.remember(Window{End: end, Took: sample, BIRD: sample / 2, Wait: sample / 4, Cost: []time.Duration{sample / 10, 0}})
	}
	if n, want := len(d.moments), int(memory/sample)+1; n != want {
		t.Errorf("%d moments, want %d", n, want)
	}
	if w := d.until(len(d.moments) - 1); w.Took != window || w.BIRD != window/2 || w.Wait != window/4 || w.Cost[0] != window/10 {
		t.Errorf("window %+v, want a second", w)
	}
	if w := d.until(1); w.Took != 2*sample {
		t.Errorf("window %+v of two moments", w)
	}
}
