// SPDX-License-Identifier: Apache-2.0

package main

import (
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"leakprof/collector/lab"
	"leakprof/profiler/report"
)

// TestTwoAtOnce: two leakprofs follow the same BIRD, and both are right; the
// second only takes no marks, and says so.
func TestTwoAtOnce(t *testing.T) {
	t.Parallel()
	bird := startBird(t, lab.Config{Binary: findBird(t, birds[1]), Peers: attachPeers})
	before := tracesOf(t, bird)
	var runs []*running
	var outs []string
	for range 2 {
		out := filepath.Join(t.TempDir(), "out")
		run := start(t, "attach", "--pid", strconv.Itoa(bird.PID()), "--bmp", "", "--birdc", bird.Control(), "--settle", "300ms", "--cycles", "1", "--out", out)
		run.says(t, "attached to pid")
		runs, outs = append(runs, run), append(outs, out)
	}
	for _, run := range runs {
		run.says(t, "baseline, quiet")
	}
	speakers := startSpeakers(t, bird, attachRoutes)
	if err := speakers.Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, run := range runs {
		run.says(t, "cycle 1: flooded")
	}
	if err := speakers.Down(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i, run := range runs {
		got := run.wait()
		if got.status != exitDone {
			t.Fatalf("exit status %d\n%s", got.status, got.stderr)
		}
		const marks = "warning: take marks: another leakprof that is attached to pid"
		if strings.Contains(got.stderr, marks) != (i == 1) {
			t.Errorf("number %d says\n%s", i+1, got.stderr)
		}
		d := readReport(t, outs[i])
		if d.Verdict == report.Incomplete || d.Verdict == report.Leak {
			t.Errorf("number %d: %s", i+1, d.VerdictSentence)
		}
		equal := 0
		for _, p := range d.Reconciliation.Phases {
			if p.Account != nil && p.Tree.Equal {
				equal++
			}
		}
		if equal != 3 {
			t.Errorf("number %d: live set and tree are equal at %d of %d looks\n%s", i+1, equal, len(d.Reconciliation.Phases), got.stdout)
		}
		for _, p := range d.Phases {
			if p.Name == "flooded" && (p.Routes == nil || *p.Routes != attachPeers*attachRoutes) {
				t.Errorf("number %d: flooded with %v routes, want %d", i+1, p.Routes, attachPeers*attachRoutes)
			}
		}
		if !strings.Contains(pprof(t, "-top", filepath.Join(outs[i], report.FloodedFile)), "malloc") {
			t.Errorf("number %d: no stack in %s", i+1, report.FloodedFile)
		}
	}
	before.gone(t)
}
