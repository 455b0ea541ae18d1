// SPDX-License-Identifier: Apache-2.0

package report

import (
	"slices"
	"testing"
	"time"

	"leakprof/profiler/guard"
	"leakprof/profiler/plan"
)

var (
	inExact = plan.Options{Mode: plan.Exact}
	inPages = plan.Options{Mode: plan.Pages}

	madeEstimate = guard.Estimate{
		Took: 10 * time.Second, Counted: 1900 * time.Millisecond, BIRD: 0.23,
		Modes: []guard.ModeCost{
			{Options: inExact, HitsPerSecond: 48_000, Extra: 0.19, Least: 800 * time.Nanosecond, Most: 4200 * time.Nanosecond},
			{Options: inPages, HitsPerSecond: 12_000, Extra: 0.041, Least: 800 * time.Nanosecond, Most: 4200 * time.Nanosecond},
		},
	}
	madeGuard = guard.Account{
		Estimate: &madeEstimate, Limit: 0.2, Windows: 341, Peak: 0.84,
		Steps: []guard.Step{
			{Time: minute(2), From: inExact, To: inPages, Share: 0.31, Reason: "probes took 31% of a core"},
			{Time: minute(5), From: inPages, Detached: true, Share: 0.84, Reason: "probes took 84% of a core, and BIRD had no idle time"},
		},
	}
)

func TestGuardSentences(t *testing.T) {
	const counted = "before attaching: in 10s BIRD used 23% of a core; exact would take 19% more (1.8 times BIRD's own) for 48000 hits/s, pages would take 4.1% more (1.2 times BIRD's own) for 12000 hits/s"
	for _, c := range []struct {
		name string
		a    *guard.Account
		want []string
	}{
		{"none", nil, nil},
		{"estimate alone", &guard.Account{Estimate: &madeEstimate}, []string{counted}},
		{"nothing to do", &guard.Account{Limit: 0.025, Windows: 1, Peak: 0.001}, []string{
			"probes may take 2.5% of a core; in 1 second they took at most 0.1%, and nothing had to be done",
		}},
		{"all", &madeGuard, []string{
			counted,
			"probes may take 20% of a core; in 341 seconds they took at most 84.0%",
			minute(2).Format(time.TimeOnly) + " stepped down from exact to pages: probes took 31% of a core",
			minute(5).Format(time.TimeOnly) + " took all probes off: probes took 84% of a core, and BIRD had no idle time",
		}},
	} {
		if got := newGuard(c.a).sentences(); !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}
