// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"fmt"

	"leakprof/profiler/plan"
)

// MaxLengths is how many ranges of lengths the programs can tell apart
// (MAX_LENGTHS in follow.h).
const MaxLengths = 16

// liveVariableLengths is followed_blocks and followed_objects of follow.h.
type liveVariableLengths [MaxLengths]liveLengths

func lengths(all []plan.Lengths) (v liveVariableLengths, err error) {
	if len(all) > len(v) {
		return v, fmt.Errorf("choose what to follow: %d ranges of lengths are more than %d", len(all), len(v))
	}
	for i, l := range all {
		v[i] = liveLengths{Least: l.Least, Most: l.Most}
	}
	return v, nil
}
