// SPDX-License-Identifier: Apache-2.0

package main

import (
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"leakprof/collector/birdc"
	"leakprof/collector/lab"
	"leakprof/profiler/report"
)

// endings are the ways in which a BIRD ends while it is followed.
var endings = []struct {
	name string
	end  func(t *testing.T, bird *lab.Bird)
}{
	{"killed", func(_ *testing.T, bird *lab.Bird) { unix.Kill(bird.PID(), unix.SIGKILL) }},
	{"crashing", func(_ *testing.T, bird *lab.Bird) { unix.Kill(bird.PID(), unix.SIGSEGV) }},
	{"told to go down", func(t *testing.T, bird *lab.Bird) {
		c, err := birdc.Dial(t.Context(), bird.Control())
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		c.Command(t.Context(), "down") // it may end before it answers
	}},
}

// TestBirdEndsAtAnyMoment: BIRD ends, by a crash or in order, at any moment of
// an attach. That ends too, by itself, with a whole report of what it had, or, if
// it had nothing yet, with one line that says why; and nothing is left in the
// kernel.
func TestBirdEndsAtAnyMoment(t *testing.T) {
	t.Parallel()
	moments := []moment{
		{"set-up", func(*testing.T, *running, string) {}, 1500 * time.Millisecond, nil},
		{"attached", func(t *testing.T, run *running, _ string) { run.says(t, "attached to pid") }, 300 * time.Millisecond, nil},
		{"looking", func(t *testing.T, run *running, _ string) { run.says(t, "attached to pid") },
			3 * time.Second, []string{"--interval", "100ms", "--settle", "50ms"}},
		{"ending", func(t *testing.T, run *running, _ string) {
			run.says(t, "attached to pid")
			run.Process.Signal(os.Interrupt)
		}, 2 * time.Second, nil},
	}
	n := rounds(len(moments)/2, 60) // on each BIRD
	for b, name := range birds[:2] {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tally := make(map[string]int)
			for i := range n {
				m, ending := moments[(b*n+i)%len(moments)], endings[rand.IntN(len(endings))]
				bird := startBird(t, lab.Config{Binary: findBird(t, name), Peers: attachPeers})
				churn := startChurn(t, bird)
				objects := kernelObjects(t)
				out := filepath.Join(t.TempDir(), "out")
				args := []string{"attach", "--pid", strconv.Itoa(bird.PID()), "--bmp", "", "--birdc", bird.Control(), "--max-memory", "64M", "--out", out}
				run := start(t, append(args, m.args...)...)
				m.come(t, run, out)
				time.Sleep(rand.N(m.within))
				ending.end(t, bird)
				<-bird.Exited()
				ended := time.Now()
				got := run.wait()
				took := time.Since(ended)
				churn.cancel()
				<-churn.done
				churn.Close()
				if left := leftObjects(t, objects); len(left) > 0 {
					t.Errorf("in the kernel are left: %v", left)
				}
				what := "a report"
				_, err := os.Stat(filepath.Join(out, report.JSONFile))
				switch {
				case strings.Contains(got.stderr, "goroutine ") || strings.Contains(got.stderr, "panic"):
					t.Error("it crashed")
				case err == nil && got.status == exitDone:
					wholeReport(t, out)
				case err != nil && got.status == exitError:
					what = "an error"
					if lines := strings.Split(strings.TrimSpace(got.stderr), "\n"); !strings.Contains(lines[len(lines)-1], "process has ended") && !strings.Contains(lines[len(lines)-1], "interrupted before") {
						t.Errorf("it does not say why it ended")
					}
				default:
					t.Errorf("exit status %d, %s: %v", got.status, report.JSONFile, err)
				}
				if took > patience {
					t.Errorf("it ended %v after BIRD", took)
				}
				if t.Failed() {
					t.Fatalf("BIRD was %s while %s\n%s", ending.name, m.name, got.stderr)
				}
				tally[m.name+", BIRD "+ending.name+": "+what]++
			}
			for _, what := range slices.Sorted(maps.Keys(tally)) {
				t.Logf("%3d %s", tally[what], what)
			}
		})
	}
}

// TestUpgradedAndRestarted replaces BIRD's file while it is followed, and then restarts BIRD:
// what was followed is reported, and the new one can be followed.
func TestUpgradedAndRestarted(t *testing.T) {
	t.Parallel()
	binary := *findBird(t, birds[1])
	dir, err := os.MkdirTemp(filepath.Join(binary.Root, "run"), "leakprof-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "bird")
	install := func() {
		t.Helper()
		from, err := os.Open(binary.Path)
		if err != nil {
			t.Fatal(err)
		}
		defer from.Close()
		to, err := os.OpenFile(path+".new", os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o755)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(to, from); err != nil {
			t.Fatal(err)
		}
		if err := to.Close(); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil { // as dpkg does
			t.Fatal(err)
		}
	}
	install()
	installed := binary
	installed.Path = path
	follow := func(bird *lab.Bird, out string) *running {
		return start(t, "attach", "--pid", strconv.Itoa(bird.PID()), "--bmp", "", "--birdc", bird.Control(), "--settle", "200ms", "--out", out)
	}
	for _, round := range []string{"old", "new"}[:rounds(1, 2)] {
		bird := startBird(t, lab.Config{Binary: &installed, Peers: attachPeers})
		objects := kernelObjects(t)
		out := filepath.Join(t.TempDir(), "out")
		run := follow(bird, out)
		run.says(t, "baseline, quiet")
		install()
		speakers := startSpeakers(t, bird, attachRoutes)
		if err := speakers.Up(t.Context()); err != nil {
			t.Fatal(err)
		}
		run.says(t, "cycle 1: flooded")
		if err := bird.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		speakers.Close()
		if got := run.wait(); got.status != exitDone {
			t.Fatalf("%s: exit status %d\n%s", round, got.status, got.stderr)
		}
		wholeReport(t, out)
		d := readReport(t, out)
		if !strings.Contains(d.VerdictSentence, "the process ended in cycle 1") {
			t.Errorf("%s: %s", round, d.VerdictSentence)
		}
		for _, p := range d.Phases {
			if p.Name == "flooded" && (p.Routes == nil || *p.Routes != attachPeers*attachRoutes) {
				t.Errorf("%s: flooded with %v routes, want %d", round, p.Routes, attachPeers*attachRoutes)
			}
		}
		if left := leftObjects(t, objects); len(left) > 0 {
			t.Errorf("%s: in the kernel are left: %v", round, left)
		}
	}
}
