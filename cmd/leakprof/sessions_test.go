// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"leakprof/collector/birdc"
	"leakprof/collector/lab"
	"leakprof/profiler/report"
)

// argument is that after a flag in a process's command line.
func argument(t *testing.T, pid int, flag string) string {
	t.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, after, found := bytes.Cut(raw, []byte("\x00"+flag+"\x00"))
	if !found {
		t.Fatalf("no %s in %q", flag, raw)
	}
	value, _, _ := bytes.Cut(after, []byte{0})
	// A BIRD in a root of its own sees it there.
	return fmt.Sprintf("/proc/%d/root%s", pid, value)
}

// TestSessionDropped breaks a session of a running lab: the report says which.
func TestSessionDropped(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	run := start(t, "lab", "--bird", birdPath(t, birds[1]), "--peers", "2", "--routes", "500", "--cycles", "1", "--settle", "700ms", "--limit", "5s", "--out", out)
	run.says(t, "cycle 1: flooding")
	_, after, _ := strings.Cut(run.err.String(), ", pid ")
	number, _, _ := strings.Cut(after, ",")
	pid, err := strconv.Atoi(number)
	if err != nil {
		t.Fatal(err)
	}
	c, err := birdc.Dial(t.Context(), argument(t, pid, "-s"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	// All routes are in, and nothing is quiet yet.
	for in := uint64(0); in < 2*500; time.Sleep(10 * time.Millisecond) {
		tables, err := c.ShowRouteCount(t.Context(), "table all")
		if err != nil {
			t.Fatal(err)
		}
		in = 0
		for _, table := range tables {
			in += uint64(table.Total)
		}
	}
	if _, err := c.Command(t.Context(), "restart peer2"); err != nil {
		t.Fatal(err)
	}
	got := run.wait()
	s := readReport(t, out).Sessions
	if s == nil || s.Dropped == nil || *s.Dropped != 1 || s.Downs != 2 || len(s.Down) != 2 {
		t.Fatalf("sessions %+v, want one dropped of two\n%s", s, got.stderr)
	}
	if d := s.Down[0]; d.Cause != report.Dropped || d.Protocol != "peer2" || d.Peer != lab.PeerAddr(1).String() || d.Phase != "flooding" || d.Cycle != 1 {
		t.Errorf("dropped was %+v, want peer2 in flooding", d)
	}
	if d := s.Down[1]; d.Cause != report.ByExperiment || d.Protocol != "peer1" {
		t.Errorf("then went %+v, want peer1", d)
	}
	if !strings.Contains(got.stdout, "1 DROPPED, not by the experiment: "+lab.PeerAddr(1).String()+" (peer2) at ") {
		t.Errorf("the report does not say which session dropped:\n%s", got.stdout)
	}
}

// TestSessionsFollowed: the phases are made of what goes down, and nothing else
// is said of it; here the control socket tells.
func TestSessionsFollowed(t *testing.T) {
	bird := startBird(t, lab.Config{Binary: findBird(t, birds[0]), Peers: attachPeers})
	out := filepath.Join(t.TempDir(), "out")
	run := start(t, "attach", "--pid", strconv.Itoa(bird.PID()), "--bmp", "", "--birdc", bird.Control(), "--settle", "300ms", "--cycles", "1", "--out", out)
	run.says(t, "baseline, quiet")
	speakers := startSpeakers(t, bird, 500)
	if err := speakers.Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	run.says(t, "cycle 1: flooded")
	if err := speakers.Down(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := run.wait()
	s := readReport(t, out).Sessions
	if s == nil || s.ToldBy != "control socket" || s.Driven || s.Ups != attachPeers || s.Downs != attachPeers || s.Dropped != nil || len(s.Down) != attachPeers {
		t.Fatalf("sessions %+v, want %d up and down, told by the control socket\n%s", s, attachPeers, got.stderr)
	}
	for _, d := range s.Down {
		if d.Cause != report.Followed || !strings.HasPrefix(d.Protocol, "peer") || !strings.HasPrefix(d.Peer, "127.") {
			t.Errorf("%+v went down, want a peer that was followed", d)
		}
	}
	if want := fmt.Sprintf("\nSessions %d up and %d down, which the phases are made of: ", attachPeers, attachPeers); !strings.Contains(got.stdout, want) {
		t.Errorf("the report does not say %q:\n%s", want, got.stdout)
	}
}
