// SPDX-License-Identifier: Apache-2.0

package main

import (
	"math/rand/v2"
	"slices"
)

// spread is what several measurements of the same thing say.
type spread struct {
	N                   int
	Median              float64
	LowQuart, HighQuart float64
	Min, Max            float64
}

// spreadOf is the spread of values, which it leaves as they are; the zero spread of
// none. Between two values quantiles are interpolated (Hyndman and Fan 1996, type 7).
func spreadOf(values []float64) spread {
	if len(values) == 0 {
		return spread{}
	}
	v := slices.Sorted(slices.Values(values))
	return spread{
		N: len(v), Median: quantile(v, 0.5), LowQuart: quantile(v, 0.25), HighQuart: quantile(v, 0.75),
		Min: v[0], Max: v[len(v)-1],
	}
}

// quantile is that of sorted values, of which there is at least one.
func quantile(sorted []float64, q float64) float64 {
	at := q * float64(len(sorted)-1)
	i := int(at)
	if i+1 >= len(sorted) {
		return sorted[len(sorted)-1]
	}
	return sorted[i] + (at-float64(i))*(sorted[i+1]-sorted[i])
}

// ratios divides what value says of a variant's runs by what it says of another
// variant's, in the same round each. Rounds that lack one of both, or in which a run
// went wrong, are left out.
func ratios(runs []run, variant, base string, value func(run) float64) []float64 {
	of := make(map[int]float64)
	for _, r := range runs {
		if r.Variant == base && r.Error == "" {
			of[r.Round] = value(r)
		}
	}
	var all []float64
	for _, r := range runs {
		if b := of[r.Round]; r.Variant == variant && r.Error == "" && b > 0 {
			all = append(all, value(r)/b)
		}
	}
	return all
}

// values is what value says of each of a variant's runs that went well.
func values(runs []run, variant string, value func(run) float64) (all []float64) {
	for _, r := range runs {
		if r.Variant == variant && r.Error == "" {
			all = append(all, value(r))
		}
	}
	return all
}

// shuffled is the order of n things in a round: another one in each, and the same
// for the same seed.
func shuffled(n int, seed uint64, round int) []int {
	return rand.New(rand.NewPCG(seed, uint64(round))).Perm(n)
}
