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

// TestInterval: a BIRD that takes routes and keeps them grows in each interval
// but the first and the last, and what is known is there after each.
func TestInterval(t *testing.T) {
	bird := startBird(t, lab.Config{Binary: findBird(t, birds[0]), Peers: attachPeers})
	out := filepath.Join(t.TempDir(), "out")
	run := start(t, "attach", "--pid", strconv.Itoa(bird.PID()), "--bmp", "", "--birdc", bird.Control(), "--settle", "200ms", "--interval", "3s", "--cycles", "3", "--out", out)
	run.says(t, "interval 1")
	speakers := startSpeakers(t, bird, 3*attachRoutes)
	if err := speakers.Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	run.says(t, "interval 2")
	// The interim report is complete, and about the first interval.
	d := readReport(t, out)
	if len(d.Cycles) != 1 || len(d.Phases) != 2 || d.Phases[1].Name != "interval" {
		t.Errorf("%d cycles and %d phases after the first interval", len(d.Cycles), len(d.Phases))
	}
	got := run.wait()
	if got.status != exitDone {
		t.Fatalf("exit status %d\n%s", got.status, got.stderr)
	}
	d = readReport(t, out)
	if len(d.Cycles) != 3 {
		t.Errorf("%d cycles, want 3", len(d.Cycles))
	}
	// It holds routes, and does not grow any more.
	if d.Verdict != report.Held || !strings.Contains(d.VerdictSentence, "27000 routes") {
		t.Errorf("verdict: %s", d.VerdictSentence)
	}
	for _, want := range []string{"interval 3, 3s: ", "  pool  ", "  stack ", "allocated in interval 1", "routes"} {
		if !strings.Contains(got.stdout, want) {
			t.Errorf("no %q in\n%s", want, got.stdout)
		}
	}
	if p := pprof(t, "-top", filepath.Join(out, report.SettledFile)); !strings.Contains(p, "malloc") {
		t.Errorf("settled:\n%s", p)
	}
}
