// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"math"
	"strings"
	"testing"
	"time"

	"leakprof/profiler/plan"
)

// TestEstimate: periods count the same, whether a slice was cut or not.
func TestEstimate(t *testing.T) {
	const ms = time.Millisecond
	// Hits of malloc, free, free_page twice, sl_alloc, lp_alloc.
	full := slice{hits: []uint64{20, 20, 0, 0, 200, 0}, took: 200 * ms, cpu: 20 * ms, cost: 5 * ms, restTook: 800 * ms, restCPU: 80 * ms}
	// In 20 ms of its own it did so much, and elsewhere it used half of a core.
	cut := slice{hits: []uint64{0, 0, 0, 0, 1000, 0}, took: 30 * ms, cpu: 30 * ms, cost: 10 * ms, isCut: true, restTook: 900 * ms, restCPU: 450 * ms}
	idle := slice{hits: make([]uint64, 6), took: 200 * ms, restTook: 800 * ms}
	for _, c := range []struct {
		name         string
		slices       []slice
		exact, pages float64 // hits per second
		bird         float64
		says         string
	}{
		{"full", []slice{full}, 1200, 200, 0.1, "BIRD used 10% of a core; exact would take"},
		{"cut", []slice{cut}, 25_000, 0, 0.5, "exact would take 10% more (1.2 times BIRD's own) for 25000 hits/s, pages would take 0.0% more (1.0 times"},
		{"both", []slice{full, cut}, 13_100, 100, 530.0 / 1700, "31% of a core"},
		{"at rest", []slice{idle, idle}, 0, 0, 0, "used 0.0% of a core and passed no place of a probe; little goes on, which does not tell of a flood: 3 to 12 hits per route in exact"},
		{"a burst that nothing follows", []slice{{hits: cut.hits, took: cut.took, cpu: cut.cpu, cost: cut.cost, isCut: true, restTook: cut.restTook}}, 0, 0, 0, "little goes on"},
		{"costs more than there was", []slice{{hits: cut.hits, took: cut.took, cpu: 30 * ms, cost: 40 * ms, isCut: true, restTook: time.Second, restCPU: 3 * ms}}, 1000, 0, 0.003, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := estimate(&plan.Plan{Sites: sites}, c.slices, 10*time.Second)
			near := func(what string, got, want float64) {
				if math.Abs(got-want) > 1e-9+1e-6*want {
					t.Errorf("%s %v, want %v", what, got, want)
				}
			}
			if len(e.Modes) != 2 {
				t.Fatalf("modes %+v", e.Modes)
			}
			near("exact", e.Modes[0].HitsPerSecond, c.exact)
			near("pages", e.Modes[1].HitsPerSecond, c.pages)
			near("BIRD", e.BIRD, c.bird)
			if s := e.String(); !strings.Contains(s, c.says) {
				t.Errorf("%q does not say %q", s, c.says)
			}
		})
	}
}

func TestFitting(t *testing.T) {
	e := Estimate{Modes: []ModeCost{{Extra: 0.3}, {Extra: 0.1}}}
	for _, c := range []struct {
		limit float64
		i     int
		ok    bool
	}{{0.5, 0, true}, {0.3, 0, true}, {0.2, 1, true}, {0.05, 0, false}} {
		if i, ok := e.Fitting(c.limit); i != c.i || ok != c.ok {
			t.Errorf("limit %v: %d %v, want %d %v", c.limit, i, ok, c.i, c.ok)
		}
	}
}
