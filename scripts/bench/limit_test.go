// SPDX-License-Identifier: Apache-2.0

package main

import "testing"

func TestJudge(t *testing.T) {
	of := func(median float64) spread { return spread{N: 7, Median: median} }
	noisy := spread{N: 7, Median: 1, Min: 0.96, Max: 1.04}
	for _, c := range []struct {
		version, mode string
		ratio, again  spread
		floor         float64
		want          string
	}{
		{"2.20.0", "exact", of(5.9), noisy, 3, "6.00: within"},
		{"2.20.0", "exact", of(6.1), noisy, 3, "6.00: NOT within"},
		{"2.20.0", "exact", of(8.9), noisy, 6.1, "9.15: within (floor 6.10 > 6.00: 1.5 x 6.10)"},
		{"2.20.0", "exact", of(9.2), noisy, 6.1, "9.15: NOT within (floor 6.10 > 6.00: 1.5 x 6.10)"},
		{"2.20.0", "pages", of(2), noisy, 0, "2.00: within"},
		{"3.1.7", "exact", of(3.9), noisy, 2, "4.00: within"},
		{"3.1.7", "pages", of(1.6), noisy, 1, "1.50: NOT within"},
		{"2.13", "pages", of(5.9), noisy, 1, "6.00: within"},
		{"2.13.1", "exact", of(9.1), noisy, 1, "9.00: NOT within"},
		{"3.1.7", "walk", of(0.99), noisy, 0, "1.00: within"},
		{"3.1.7", "walk", of(1.03), noisy, 0, "1.00: within noise"},
		{"3.1.7", "auto", of(1.05), noisy, 0, "1.00: NOT within"},
		{"3.1.7", "walk", of(1.03), spread{}, 0, "1.00: NOT within"},
		{"3.1.7", "exact", spread{}, noisy, 0, "-"},
		{"3.1.7", "floor of exact", of(9), noisy, 0, "-"},
		{"3.10.1", "exact", of(9), noisy, 0, "-"},
		{"2.19.2", "exact", of(9), noisy, 0, "-"},
	} {
		if got := judge(c.version, c.mode, c.ratio, c.again, c.floor).String(); got != c.want {
			t.Errorf("%s, %s at %.2f: %q, want %q", c.version, c.mode, c.ratio.Median, got, c.want)
		}
	}
}
