// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/pprof/profile"

	"leakprof/collector/lab"
	"leakprof/profiler/report"
)

// moment is what a run of the program is at.
type moment struct {
	name string
	// come waits until the run is there.
	come func(t *testing.T, run *running, out string)
	// within is how long it may stay there: it is killed at any time in it.
	within time.Duration
	args   []string
}

// moments are those of an attach.
var moments = []moment{
	{"set-up", func(*testing.T, *running, string) {}, 1500 * time.Millisecond, nil},
	{"attached", func(t *testing.T, run *running, _ string) { run.says(t, "attached to pid") }, 500 * time.Millisecond, nil},
	{"looking", func(t *testing.T, run *running, _ string) {
		run.says(t, "attached to pid")
		run.Process.Signal(os.Interrupt)
		run.says(t, "ending with what is known")
	}, 2 * time.Second, nil},
	{"writing", func(t *testing.T, run *running, out string) {
		run.says(t, "attached to pid")
		run.Process.Signal(os.Interrupt)
		run.makes(out, "*")
	}, 30 * time.Millisecond, nil},
	{"writing again", func(t *testing.T, run *running, out string) { run.makes(out, report.JSONFile) },
		time.Second, []string{"--interval", "100ms", "--settle", "50ms"}},
	{"detaching", func(t *testing.T, run *running, out string) {
		run.says(t, "attached to pid")
		run.Process.Signal(os.Interrupt)
		run.makes(out, report.JSONFile)
	}, time.Second, nil},
}

// makes waits until the run has made a file, or has ended.
func (r *running) makes(dir, pattern string) {
	for {
		if all, _ := filepath.Glob(filepath.Join(dir, pattern)); len(all) > 0 {
			return
		}
		select {
		case <-r.done:
			return
		case <-time.After(time.Millisecond):
		}
	}
}

// TestKilledAtAnyMoment kills leakprof with SIGKILL: whatever it is at, nothing
// of it is left but whole files, and BIRD's sessions stay.
func TestKilledAtAnyMoment(t *testing.T) {
	t.Parallel()
	n := rounds(len(moments)/2, 102) // on each BIRD
	for b, name := range birds[:2] {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bird := startBird(t, lab.Config{Binary: findBird(t, name), Peers: attachPeers})
			churn := startChurn(t, bird)
			before := tracesOf(t, bird)
			tally := make(map[string]int)
			for i := range n {
				m := moments[(b*n+i)%len(moments)]
				out := filepath.Join(t.TempDir(), "out")
				args := []string{"attach", "--pid", strconv.Itoa(bird.PID()), "--bmp", "", "--birdc", controlUnderChurn(bird), "--max-memory", "64M", "--out", out}
				run := start(t, append(args, m.args...)...)
				m.come(t, run, out)
				time.Sleep(rand.N(m.within))
				run.Process.Kill()
				got := run.wait()
				tally[fmt.Sprintf("%s: %s", m.name, ended(run))]++
				if run.ProcessState.Exited() && got.status != exitDone {
					t.Errorf("%s: exit status %d\n%s", m.name, got.status, got.stderr)
				}
				before.gone(t)
				wholeReport(t, out)
				if all, _ := os.ReadDir(run.Dir); len(all) > 0 {
					t.Errorf("%v are left where it ran", all)
				}
				if t.Failed() {
					t.Fatalf("killed while %s\n%s", m.name, got.stderr)
				}
			}
			for _, what := range slices.Sorted(maps.Keys(tally)) {
				t.Logf("%3d %s", tally[what], what)
			}
			churn.stop(t)
		})
	}
}

// ended says whether a run was killed, or was faster.
func ended(run *running) string {
	if !run.ProcessState.Exited() {
		return "killed"
	}
	return "had ended"
}

// wholeReport checks that each file of a directory is whole, and that the
// program says whether it is all of a run.
func wholeReport(t *testing.T, out string) {
	t.Helper()
	entries, err := os.ReadDir(out)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	complete := false
	for _, e := range entries {
		path := filepath.Join(out, e.Name())
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		switch e.Name() {
		case report.BaselineFile, report.FloodedFile, report.SettledFile, report.RetainedFile:
			p, err := profile.ParseData(raw)
			if err == nil {
				err = p.CheckValid()
			}
			if err != nil {
				t.Errorf("%s: %v", e.Name(), err)
			}
		case report.TextFile:
			if !strings.HasSuffix(string(raw), "\n") {
				t.Errorf("%s is cut: it ends with %q", e.Name(), raw[max(0, len(raw)-20):])
			}
		case report.HTMLFile:
			if !strings.HasSuffix(strings.TrimSpace(string(raw)), "</html>") {
				t.Errorf("%s is cut: it ends with %q", e.Name(), raw[max(0, len(raw)-20):])
			}
		case report.JSONFile:
			complete = true
			readReport(t, out)
		default:
			t.Errorf("%s, %d bytes, is left", e.Name(), len(raw))
		}
	}
	if complete && len(entries) < 4 {
		t.Errorf("%s is there, and only %d files", report.JSONFile, len(entries))
	}
	switch got := start(t, "report", out).wait(); {
	case complete && got.status != exitDone:
		t.Errorf("report %s: exit status %d\n%s", out, got.status, got.stderr)
	case !complete && (got.status != exitError || len(entries) > 0 && !strings.Contains(got.stderr, "or its run did not end")):
		t.Errorf("report of a run that was killed: exit status %d\n%s", got.status, got.stderr)
	}
}
