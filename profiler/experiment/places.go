// SPDX-License-Identifier: Apache-2.0

package experiment

import (
	"fmt"
	"strings"

	"leakprof/profiler/attribution"
	"leakprof/profiler/report"
)

// places says where memory is in words: "2 call stacks"; without stacks "6,664
// blocks of 4096 B", "blocks of 4096 B and objects of 88 B" or "5 kinds of
// memory"; and where some has one, "2 call stacks and blocks of 96 B".
func places(all []attribution.Retained) string {
	var kinds []string
	var last *attribution.Retained
	seen := make(map[string]bool)
	stacks := int64(0)
	for i := range all {
		switch kind := all[i].Stack.Kind; {
		case kind == "":
			stacks++
		case !seen[kind]:
			seen[kind] = true
			kinds, last = append(kinds, kind), &all[i]
		}
	}
	var parts []string
	if stacks > 0 {
		parts = append(parts, count(stacks, "call stack"))
	}
	const most = 3
	switch {
	case len(kinds) == 1 && len(all) == 1:
		parts = append(parts, report.Pieces(last.Objects, last.Stack.Kind))
	case len(kinds) > most:
		parts = append(parts, fmt.Sprintf("%d kinds of memory", len(kinds)))
	default:
		parts = append(parts, kinds...)
	}
	if n := len(parts) - 1; n > 0 {
		return strings.Join(parts[:n], ", ") + " and " + parts[n]
	}
	return strings.Join(parts, "")
}

// steadyPlaces says where what grew in each cycle is; stacks are those of it that
// hold more than at the begin.
func (s *sentence) steadyPlaces(stacks []attribution.Retained) string {
	if len(stacks) >= len(s.steady) {
		return places(stacks)
	}
	return s.countPlaces(len(s.steady))
}

// countPlaces is a number of what a retained byte is told by.
func (s *sentence) countPlaces(n int) string {
	if s.r.walks() {
		return count(int64(n), "kind") + " of memory"
	}
	return count(int64(n), "call stack")
}

// placesWord is what there are many of.
func (s *sentence) placesWord() string {
	if s.r.walks() {
		return "kinds of memory"
	}
	return "call stacks"
}
