// SPDX-License-Identifier: Apache-2.0

package experiment

import (
	"slices"
	"testing"
	"time"

	"leakprof/bpf"
	"leakprof/profiler/plan"
	"leakprof/profiler/report"
)

func TestHitCost(t *testing.T) {
	cheap := plan.Site{Function: "free", Emulated: true}
	dear := plan.Site{Function: "free"}
	returns := plan.Site{Function: "malloc", Emulated: true, Return: true}
	for _, c := range []struct {
		name  string
		sites []plan.Site
		hits  map[string]bpf.Hits
		calls uint64
		cost  time.Duration
	}{
		{"nothing hit", []plan.Site{cheap}, map[string]bpf.Hits{}, 0, 0},
		{"an entry", []plan.Site{cheap}, map[string]bpf.Hits{"free": {Entered: 10}}, 10, 10 * cheap.Cost()},
		{"a call is one hit", []plan.Site{returns}, map[string]bpf.Hits{"malloc": {Entered: 10, Returned: 9}}, 10, 10 * returns.Cost()},
		{"two places of one function", []plan.Site{cheap, dear}, map[string]bpf.Hits{"free": {Entered: 10}}, 10, 5*cheap.Cost() + 5*dear.Cost()},
		{"a function without a site", []plan.Site{cheap}, map[string]bpf.Hits{"calloc": {Entered: 10}}, 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			if calls, cost := hitCost(c.sites, c.hits); calls != c.calls || cost != c.cost {
				t.Errorf("%d hits cost %v, want %d and %v", calls, cost, c.calls, c.cost)
			}
		})
	}
}

func TestFunctionHits(t *testing.T) {
	got := functionHits(map[string]bpf.Hits{"b": {Entered: 5}, "a": {Entered: 5}, "none": {}, "most": {Entered: 3, Returned: 3}})
	want := []report.FunctionHits{{Function: "most", Entered: 3, Returned: 3}, {Function: "a", Entered: 5}, {Function: "b", Entered: 5}}
	if !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}
