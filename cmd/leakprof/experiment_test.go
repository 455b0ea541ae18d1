// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"strings"
	"testing"

	"leakprof/profiler/report"
)

func TestJudge(t *testing.T) {
	cycles := func(bytes ...int64) (all []report.Cycle) {
		for i, b := range bytes {
			all = append(all, report.Cycle{Number: i + 1, Bytes: b})
		}
		return all
	}
	for _, c := range []struct {
		name    string
		failOn  sizeFlag
		verdict report.Verdict
		cycles  []report.Cycle
		says    string // "" for no error
	}{
		{"not asked", -1, report.Verdict{Kind: report.Incomplete, LostBytes: 1 << 30}, cycles(1<<30, 1<<30), ""},
		{"healthy", 1000, report.Verdict{Kind: report.Clean}, cycles(5000, 1000, -200), ""},
		{"first cycle alone", 1000, report.Verdict{Kind: report.Held}, cycles(1 << 30), ""},
		{"a later cycle", 1000, report.Verdict{Kind: report.Leak}, cycles(0, 10, 1001), "1001 B in cycle 3"},
		{"nothing at all allowed", 0, report.Verdict{Kind: report.Clean}, cycles(0, 1), "1 B in cycle 2"},
		{"lost", 1000, report.Verdict{Kind: report.Leak, LostBytes: 1001}, cycles(1001), "1001 B lost"},
		{"little lost", 1000, report.Verdict{Kind: report.Clean, LostBytes: 1000}, cycles(1000), ""},
		{"incomplete", 1000, report.Verdict{Kind: report.Incomplete}, nil, "the answer is incomplete"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := experimentFlags{failOn: c.failOn}
			err := f.judge(&report.Result{Verdict: c.verdict, Cycles: c.cycles})
			if (err == nil) != (c.says == "") || err != nil && (!errors.Is(err, errRetained) || !strings.HasSuffix(err.Error(), ": "+c.says)) {
				t.Errorf("got %v, want %q", err, c.says)
			}
		})
	}
}
