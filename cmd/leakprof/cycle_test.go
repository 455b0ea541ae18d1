// SPDX-License-Identifier: Apache-2.0

package main

import (
	"path/filepath"
	"strings"
	"testing"

	"leakprof/profiler/report"
)

// TestCycleExec makes cycles of reconfigurations, while routes are in.
func TestCycleExec(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	got := start(t, "lab", "--bird", birdPath(t, birds[0]), "--bmp=false", "--routes", "2000", "--cycles", "2", "--settle", "300ms", "--out", out,
		"--cycle-exec", `test -S "$LEAKPROF_SOCKET" && kill -HUP $LEAKPROF_PID`).wait()
	if got.status != exitDone {
		t.Fatalf("exit status %d\n%s", got.status, got.stderr)
	}
	d := readReport(t, out)
	var names []string
	for _, p := range d.Phases {
		names = append(names, p.Name)
		if p.Name == "settled" && (p.Routes == nil || *p.Routes != 8000) {
			t.Errorf("%v routes after cycle %d, want 8000", p.Routes, p.Cycle)
		}
	}
	if got, want := strings.Join(names, " "), "baseline running settled running settled"; got != want {
		t.Errorf("phases %s, want %s", got, want)
	}
	if d.Verdict != report.Clean {
		t.Errorf("verdict %s: %s", d.Verdict, d.VerdictSentence)
	}
}

// TestCycleExecFails: a command that fails ends the run, in its own words.
func TestCycleExecFails(t *testing.T) {
	got := start(t, "lab", "--bird", birdPath(t, birds[0]), "--attach=false", "--routes", "10", "--settle", "100ms", "--out", t.TempDir(), "--cycle-exec", "echo first; echo no such thing >&2; exit 3").wait()
	if want := "in cycle 1: exit status 3: no such thing"; got.status != exitError || !strings.Contains(got.stderr, want) {
		t.Errorf("exit status %d, want %q in\n%s", got.status, want, got.stderr)
	}
}
