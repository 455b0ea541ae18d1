// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strings"
)

// limits are how many times its CPU time without a profiler a BIRD may take at most,
// in a mode, for flood and drop of 4 x 290,000 routes with BMP; by the versions of
// BIRD for which there are any.
var limits = []struct {
	version string // what the version begins with
	ratio   map[string]float64
}{
	{"2.20", map[string]float64{"exact": 6, "pages": 2, "walk": 1, "auto": 1}},
	{"3.1", map[string]float64{"exact": 4, "pages": 1.5, "walk": 1, "auto": 1}},
	{"2.13", map[string]float64{"exact": 9, "pages": 6, "walk": 1, "auto": 1}},
}

// aboveFloor is how many times its floor a mode may take where the floor alone takes
// more than the limit.
const aboveFloor = 1.5

// judgement says whether a mode is within its limit.
type judgement struct {
	limit  float64 // 0: there is none
	why    string  // how the limit was come by, where it is not the table's
	within bool
	noise  bool // it is above the limit by no more than BIRD beside itself
}

// judge compares the median ratio of a mode with its limit. again is the ratio of BIRD
// alone to itself, floor the median of the mode's floor, 0 if there is none.
func judge(version, mode string, ratio, again spread, floor float64) judgement {
	var j judgement
	for _, l := range limits {
		if version == l.version || strings.HasPrefix(version, l.version+".") {
			j.limit = l.ratio[mode]
		}
	}
	if j.limit == 0 || ratio.N == 0 {
		return judgement{}
	}
	if floor > j.limit {
		j.why = fmt.Sprintf("floor %.2f > %.2f: %.1f x %.2f", floor, j.limit, aboveFloor, floor)
		j.limit = aboveFloor * floor
	}
	j.within = ratio.Median <= j.limit
	// That of two equal things one is above the other half of the time says nothing.
	if !j.within && j.limit == 1 && again.N > 0 && ratio.Median <= again.Max {
		j.within, j.noise = true, true
	}
	return j
}

func (j judgement) String() string {
	if j.limit == 0 {
		return "-"
	}
	text := fmt.Sprintf("%.2f: ", j.limit)
	switch {
	case j.noise:
		text += "within noise"
	case j.within:
		text += "within"
	default:
		text += "NOT within"
	}
	if j.why != "" {
		text += " (" + j.why + ")"
	}
	return text
}
