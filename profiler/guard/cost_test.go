// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"slices"
	"testing"
	"time"

	"leakprof/bpf"
	"leakprof/profiler/plan"
)

// sites are as in a BIRD: two places of free_page, and one that is single-stepped.
var sites = []plan.Site{
	{Event: plan.BlockAllocated, Function: "malloc", Entry: true, Return: true, Emulated: true},
	{Event: plan.BlockFreed, Function: "free", Entry: true, Emulated: true},
	{Event: plan.PageReturned, Function: "free_page", Entry: true, Emulated: true},
	{Event: plan.PageReturned, Function: "free_page", Entry: true},
	{Event: plan.SlabObjectAllocated, Function: "sl_alloc", Return: true, Emulated: true},
	{Event: plan.LinpoolObjectAllocated, Function: "lp_alloc", Entry: true, Return: true, Emulated: true},
}

func TestLadder(t *testing.T) {
	var names []string
	for _, o := range ladder(plan.Options{LinpoolObjects: true}) {
		names = append(names, o.String())
	}
	if want := []string{"exact with linpool objects", "exact", "pages"}; !slices.Equal(names, want) {
		t.Errorf("%v, want %v", names, want)
	}
}

func TestMeter(t *testing.T) {
	m := newMeter(sites, ladder(plan.Options{LinpoolObjects: true}), map[string]bpf.Hits{"free": {Entered: 1000}})
	for rung, want := range [][]string{nil, {"lp_alloc"}, {"lp_alloc", "sl_alloc"}} {
		got := m.functionsAbove(rung)
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("rung %d gives up %v, want %v", rung, got, want)
		}
	}
	hits := map[string]bpf.Hits{
		"malloc": {Entered: 100, Returned: 99}, "free": {Entered: 1100}, "free_page": {Entered: 10},
		"sl_alloc": {Returned: 300}, "lp_alloc": {Entered: 50, Returned: 50}, "other": {Entered: 1e6},
	}
	costs := m.cost(hits)
	// By hand: 1.2 us and 3.15 us a malloc, 0.7 and 1.3 a free, (0.7 + 10) / 2 and
	// 1.3 a free_page, 1.2 and 3 a sl_alloc, 1.2 and 3.15 a lp_alloc.
	const us = time.Microsecond
	pages := (435*us + 200*us) + 66500*time.Nanosecond
	exact := pages + 1260*us
	if want := []time.Duration{exact + 217500*time.Nanosecond, exact, pages}; !slices.Equal(costs, want) {
		t.Errorf("costs %v, want %v", costs, want)
	}
	if again := m.cost(hits); !slices.Equal(again, make([]time.Duration, 3)) {
		t.Errorf("without hits it cost %v", again)
	}
}

// TestMeterLearns how long programs run here, if there are enough of them.
func TestMeterLearns(t *testing.T) {
	for _, c := range []struct {
		each  time.Duration
		runs  uint64
		scale float64
	}{
		{1300 * time.Nanosecond, 10_000, 1},
		{650 * time.Nanosecond, 10_000, 0.5},
		{2600 * time.Nanosecond, 10_000, 2},
		{2600 * time.Nanosecond, fewSampled - 1, 1},
		{time.Second, 10_000, maxScale},
		{0, 10_000, minScale},
	} {
		m := newMeter(sites, ladder(plan.Options{}), nil)
		m.learn(bpf.Runtime{Runs: 1e6, Time: time.Hour}) // nothing to compare it with
		m.cost(map[string]bpf.Hits{"free": {Entered: 20_000}})
		m.learn(bpf.Runtime{Runs: c.runs, Time: c.each * time.Duration(c.runs)})
		if m.scale != c.scale {
			t.Errorf("%d runs of %v: scale %v, want %v", c.runs, c.each, m.scale, c.scale)
		}
	}
}

func TestWithin(t *testing.T) {
	got := within([]time.Duration{400, 100}, 200)
	if want := []time.Duration{200, 50}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if got := within([]time.Duration{400, 100}, 400); !slices.Equal(got, []time.Duration{400, 100}) {
		t.Errorf("%v, want them as they were", got)
	}
}
