// SPDX-License-Identifier: Apache-2.0

package main

import (
	"math"
	"slices"
	"testing"
)

func TestSpread(t *testing.T) {
	for _, c := range []struct {
		name   string
		values []float64
		want   spread
	}{
		{"none", nil, spread{}},
		{"one", []float64{3}, spread{1, 3, 3, 3, 3, 3}},
		{"two", []float64{4, 2}, spread{2, 3, 2.5, 3.5, 2, 4}},
		{"odd", []float64{5, 1, 4, 2, 3}, spread{5, 3, 2, 4, 1, 5}},
		{"even", []float64{4, 1, 3, 2}, spread{4, 2.5, 1.75, 3.25, 1, 4}},
		{"seven", []float64{7, 6, 5, 4, 3, 2, 1}, spread{7, 4, 2.5, 5.5, 1, 7}},
		{"outlier", []float64{1, 1, 1, 1, 100}, spread{5, 1, 1, 1, 1, 100}},
	} {
		before := slices.Clone(c.values)
		if got := spreadOf(c.values); got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
		if !slices.Equal(before, c.values) {
			t.Errorf("%s: the values have been moved", c.name)
		}
	}
}

// TestRatios: a run is compared with that of its own round, and with none if that or
// itself went wrong.
func TestRatios(t *testing.T) {
	cpu := func(variant string, round int, flood, drop float64, err string) run {
		return run{Variant: variant, Round: round, Flood: phase{CPU: flood}, Drop: phase{CPU: drop}, Error: err}
	}
	runs := []run{
		cpu("exact", 1, 8, 1, ""), cpu(none, 1, 2, 1, ""),
		cpu(none, 2, 4, 2, ""), cpu("exact", 2, 10, 2, ""),
		cpu("exact", 3, 6, 6, ""), cpu(none, 3, 9, 9, "ended"),
		cpu("exact", 4, 6, 6, "no answer"), cpu(none, 4, 1, 1, ""),
		cpu("exact", 5, 6, 6, ""), cpu(none, 5, 0, 0, ""),
		cpu("exact", 6, 6, 6, ""),
	}
	if got, want := ratios(runs, "exact", none, run.cpu), []float64{3, 2}; !slices.Equal(got, want) {
		t.Errorf("ratios %v, want %v", got, want)
	}
	if got, want := ratios(runs, "exact", none, run.dropCPU), []float64{1, 1}; !slices.Equal(got, want) {
		t.Errorf("ratios of the drop %v, want %v", got, want)
	}
	if got := ratios(runs, none, none, run.cpu); !slices.Equal(got, []float64{1, 1, 1}) {
		t.Errorf("ratios of nothing to itself %v", got)
	}
	if got := ratios(runs, "pages", none, run.cpu); len(got) != 0 {
		t.Errorf("ratios of what was not run %v", got)
	}
}

// TestShuffled: an order has everything once, is the same for the same seed and another
// one in another round, and no place is anybody's.
func TestShuffled(t *testing.T) {
	const n, rounds = 8, 4000
	first := make([]int, n)
	for round := range rounds {
		order := shuffled(n, 7, round)
		if !slices.Equal(order, shuffled(n, 7, round)) {
			t.Fatalf("round %d has two orders", round)
		}
		if sorted := slices.Sorted(slices.Values(order)); !slices.Equal(sorted, []int{0, 1, 2, 3, 4, 5, 6, 7}) {
			t.Fatalf("round %d: %v", round, order)
		}
		first[order[0]]++
	}
	for i, times := range first {
		if math.Abs(float64(times)-rounds/n) > rounds/n/4 {
			t.Errorf("%d comes first in %d of %d rounds", i, times, rounds)
		}
	}
}
