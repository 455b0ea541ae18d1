// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"leakprof/collector/lab"
	"leakprof/profiler/report"
)

// churnBird starts a BIRD whose routes come and go all the time, until the test
// ends, and waits until they do.
func churnBird(t *testing.T, name string, rate float64) (*lab.Bird, *lab.Speakers) {
	t.Helper()
	bird := startBird(t, lab.Config{Binary: findBird(t, name), Peers: attachPeers})
	speakers, err := lab.NewSpeakers(bird.BGPAddr(), attachPeers, lab.Flood{Routes: attachRoutes, Churn: rate, ChurnFor: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- speakers.Up(ctx) }()
	t.Cleanup(func() {
		cancel()
		<-done
		speakers.Close()
	})
	for !strings.Contains(speakers.Doing(), "churn") {
		select {
		case err := <-done:
			done <- err
			t.Fatalf("the churn did not begin: %v", err)
		case <-time.After(20 * time.Millisecond):
		}
	}
	return bird, speakers
}

// sessionsStand: all sessions are up, and none ever broke.
func sessionsStand(t *testing.T, bird *lab.Bird, speakers *lab.Speakers) {
	t.Helper()
	if n := established(t, bird); n != attachPeers {
		t.Errorf("%d sessions are up, want %d", n, attachPeers)
	}
	if n, why := speakers.Dropped(); n > 0 {
		t.Errorf("%d sessions were dropped: %v", n, why)
	}
	if n := patched(t, bird.PID()); n > 0 {
		t.Errorf("%d probes are left in libc", n)
	}
}

// guarded attaches and returns what the report says of the guard.
func guarded(t *testing.T, bird *lab.Bird, more ...string) (*report.Document, result) {
	t.Helper()
	out := filepath.Join(t.TempDir(), "out")
	args := append([]string{"attach", "--pid", strconv.Itoa(bird.PID()), "--bmp", "", "--birdc", bird.Control(), "--settle", "300ms", "--out", out}, more...)
	got := start(t, args...).wait()
	if got.status != exitDone {
		t.Fatalf("exit status %d\n%s", got.status, got.stderr)
	}
	d := readReport(t, out)
	if d.Guard == nil {
		t.Fatalf("no guard in the report\n%s", got.stderr)
	}
	return d, got
}

// TestGuardDetaches: where even the cheapest mode takes more than it may, the
// probes are taken off within seconds, and the report says so.
func TestGuardDetaches(t *testing.T) {
	bird, speakers := churnBird(t, birds[0], 20_000)
	begin := time.Now()
	d, got := guarded(t, bird, "--estimate", "0", "--max-overhead", "0.01")
	if took := time.Since(begin); took > 30*time.Second {
		t.Errorf("it took %v", took)
	}
	sessionsStand(t, bird, speakers)
	g := d.Guard
	if len(g.Steps) == 0 || g.Steps[len(g.Steps)-1].To != "" || g.MaxOverhead == nil || *g.MaxOverhead != 0.01 || g.Peak <= 0.01 {
		t.Errorf("guard %+v, want that it took the probes off", g)
	}
	if d.Verdict != report.Incomplete || !strings.Contains(d.VerdictSentence, "the guard took the probes off in cycle 0 (baseline)") {
		t.Errorf("verdict %s: %s", d.Verdict, d.VerdictSentence)
	}
	for _, s := range []string{"probes may take 0.01% of a core", "took all probes off: probes took"} {
		if !strings.Contains(strings.Join(strings.Fields(got.stdout), " "), s) {
			t.Errorf("the report does not say %q:\n%s", s, got.stdout)
		}
	}
	if !strings.Contains(got.stderr, "took all probes off") {
		t.Errorf("nothing was said when the probes were taken off:\n%s", got.stderr)
	}
}
