// SPDX-License-Identifier: Apache-2.0

package main

import (
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"leakprof/collector/lab"
	"leakprof/profiler/report"
)

// TestStopped: a BIRD that is stopped is not waited for. One that is stopped
// while it is followed takes as long as phases may.
func TestStopped(t *testing.T) {
	t.Parallel()
	bird := startBird(t, lab.Config{Binary: findBird(t, birds[0]), Peers: 1})
	pid := strconv.Itoa(bird.PID())
	stop := func() {
		if err := unix.Kill(bird.PID(), unix.SIGSTOP); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { unix.Kill(bird.PID(), unix.SIGCONT) })
	out := filepath.Join(t.TempDir(), "out")
	args := []string{"attach", "--pid", pid, "--bmp", "", "--birdc", bird.Control(), "--settle", "200ms", "--limit", "2s", "--cycle-exec", "true", "--cycles", "1", "--out", out}

	run := start(t, args...)
	run.says(t, "attached to pid")
	stop()
	begin := time.Now()
	got := run.wait()
	// Four phases' worth, and a slow machine.
	if took := time.Since(begin); took > patience {
		t.Errorf("it ended %v after BIRD was stopped", took)
	}
	if got.status != exitDone {
		t.Errorf("exit status %d\n%s", got.status, got.stderr)
	}
	if d := readReport(t, out); d.Verdict != report.Incomplete && d.Verdict != report.Clean {
		t.Errorf("verdict: %s", d.VerdictSentence)
	}

	got = start(t, args...).wait()
	if want := "leakprof: attach to pid " + pid + ": it is stopped; let it run with kill -CONT " + pid + "\n"; got.status != exitError || got.stderr != want {
		t.Errorf("stopped before: exit status %d, %q, want %q", got.status, got.stderr, want)
	}
	if !strings.Contains(start(t, "tree", "--pid", pid).wait().stdout, "Root") {
		t.Error("a stopped BIRD has no tree")
	}
}
