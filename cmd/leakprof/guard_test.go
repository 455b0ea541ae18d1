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

// churning are BIRD's peers, whose routes come and go until it is ended.
type churning struct {
	*lab.Speakers
	cancel context.CancelFunc
	done   chan struct{}
}

// churnRoutes begins a churn of so many routes a second, and waits until all
// routes have been sent once.
func churnRoutes(t *testing.T, bird *lab.Bird, rate float64) *churning {
	t.Helper()
	speakers, err := lab.NewSpeakers(bird.BGPAddr(), attachPeers, lab.Flood{Routes: attachRoutes, Churn: rate, ChurnFor: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	c := &churning{Speakers: speakers, done: make(chan struct{})}
	var ctx context.Context
	ctx, c.cancel = context.WithCancel(t.Context())
	go func() {
		err = speakers.Up(ctx)
		close(c.done)
	}()
	t.Cleanup(func() {
		c.end()
		speakers.Close()
	})
	for !strings.Contains(speakers.Doing(), "churn") {
		select {
		case <-c.done:
			t.Fatalf("the churn did not begin: %v", err)
		case <-time.After(20 * time.Millisecond):
		}
	}
	return c
}

// end ends the churn; the sessions stay.
func (c *churning) end() {
	c.cancel()
	<-c.done
}

// sessionsStand: all sessions are up, and none ever broke.
func sessionsStand(t *testing.T, bird *lab.Bird, speakers *churning) {
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

// startGuarded attaches, and says where the report will be.
func startGuarded(t *testing.T, bird *lab.Bird, more ...string) (*running, string) {
	t.Helper()
	out := filepath.Join(t.TempDir(), "out")
	args := []string{"attach", "--pid", strconv.Itoa(bird.PID()), "--bmp", "", "--birdc", bird.Control(), "--settle", "300ms", "--out", out}
	return start(t, append(args, more...)...), out
}

// guarded waits for its end, and returns what the report says.
func guarded(t *testing.T, run *running, out string) (*report.Document, result) {
	t.Helper()
	got := run.wait()
	if got.status != exitDone {
		t.Fatalf("exit status %d\n%s", got.status, got.stderr)
	}
	d := readReport(t, out)
	if d.Guard == nil {
		t.Fatalf("no guard in the report\n%s", got.stderr)
	}
	return d, got
}

// saysAll: a text says all these, however its lines are broken.
func saysAll(t *testing.T, text string, all ...string) {
	t.Helper()
	for _, s := range all {
		if !strings.Contains(strings.Join(strings.Fields(text), " "), s) {
			t.Errorf("it does not say %q:\n%s", s, text)
		}
	}
}

// TestGuard: a BIRD that is busy is followed or not, as the limit is.
func TestGuard(t *testing.T) {
	bird := startBird(t, lab.Config{Binary: findBird(t, birds[0]), Peers: attachPeers})
	routes := churnRoutes(t, bird, 2_000)

	t.Run("generous", func(t *testing.T) {
		run, out := startGuarded(t, bird, "--estimate", "1s", "--max-overhead", "100000", "--duration", "2s")
		d, got := guarded(t, run, out)
		sessionsStand(t, bird, routes)
		g := d.Guard
		if len(g.Steps) > 0 || g.WatchedSeconds == 0 || g.Peak <= 0 {
			t.Errorf("guard %+v, want that it watched and did nothing", g)
		}
		e := g.Estimate
		if e == nil || len(e.Modes) != 2 || e.Modes[0].Mode != "exact" || e.Modes[1].Mode != "pages" || e.Modes[1].HitsPerSecond <= 0 ||
			e.Modes[0].HitsPerSecond <= e.Modes[1].HitsPerSecond || e.Modes[0].Extra <= e.Modes[1].Extra || e.BIRD <= 0 {
			t.Fatalf("estimate %+v, want that exact costs more than pages", e)
		}
		saysAll(t, got.stderr, "counting for 1s", "leakprof: "+e.Sentence)
		saysAll(t, got.stdout, "before attaching: "+e.Sentence, "and nothing had to be done")
	})

	t.Run("refused", func(t *testing.T) {
		run, _ := startGuarded(t, bird, "--estimate", "500ms", "--max-overhead", "0.0001")
		if got := run.wait(); got.status != exitError || !strings.Contains(got.stderr, "even pages would take more than --max-overhead 0.0001; ") {
			t.Errorf("exit status %d, want it to be refused:\n%s", got.status, got.stderr)
		}
		sessionsStand(t, bird, routes)
	})

	// Where even the cheapest mode takes more than it may, the probes are taken off
	// within seconds.
	t.Run("detached", func(t *testing.T) {
		run, out := startGuarded(t, bird, "--max-overhead", "0.01%", "--estimate", "0")
		d, got := guarded(t, run, out)
		sessionsStand(t, bird, routes)
		g := d.Guard
		if len(g.Steps) == 0 || g.Steps[len(g.Steps)-1].To != "" || g.MaxOverhead == nil || *g.MaxOverhead != 0.01 || g.Peak <= 0.01 || g.WatchedSeconds > 5 {
			t.Errorf("guard %+v, want that it took the probes off within 5 s", g)
		}
		if d.Verdict != report.Incomplete || !strings.Contains(d.VerdictSentence, "the guard took the probes off in cycle 0 (baseline)") {
			t.Errorf("verdict %s: %s", d.Verdict, d.VerdictSentence)
		}
		saysAll(t, got.stderr, "took all probes off: probes took ")
		saysAll(t, got.stdout, "probes may take 0.01% of a core", "took all probes off: probes took ")
	})
}

// TestGuardStepsDown: in a flood exact takes more than it may, and pages do not.
// The experiment begins anew, and knows all that it did before.
func TestGuardStepsDown(t *testing.T) {
	bird := startBird(t, lab.Config{Binary: findBird(t, "bird2-sid"), Peers: attachPeers})
	run, out := startGuarded(t, bird, "--max-overhead", "4", "--estimate", "0", "--cycles", "1")
	run.says(t, "baseline, quiet")
	routes := churnRoutes(t, bird, 20_000)
	run.says(t, "stepped down from exact to pages")
	routes.end()
	if n := established(t, bird); n != attachPeers {
		t.Errorf("%d sessions are up, want %d", n, attachPeers)
	}
	// The sessions are the new baseline's.
	run.says(t, "begins anew")
	for strings.Count(run.err.String(), "baseline, quiet") < 2 {
		select {
		case <-run.done:
			t.Fatalf("it ended before it began anew:\n%s", run.err.String())
		case <-time.After(20 * time.Millisecond):
		}
	}
	if got := start(t, "mark", "flooding", "--pid", strconv.Itoa(bird.PID())).wait(); got.status != exitDone {
		t.Fatalf("mark: %s", got.stderr)
	}
	run.says(t, "cycle 1: flooded")
	if err := routes.Down(t.Context()); err != nil {
		t.Fatal(err)
	}
	d, got := guarded(t, run, out)
	if g := d.Guard; len(g.Steps) != 1 || g.Steps[0].From != "exact" || g.Steps[0].To != "pages" || g.Steps[0].Percent <= 4 {
		t.Errorf("guard %+v, want one step from exact to pages", g)
	}
	if d.Verdict != report.Clean || len(d.Phases) != 5 || d.Phases[0].Name != "baseline" {
		t.Errorf("verdict %s, %d phases\n%s", d.Verdict, len(d.Phases), got.stdout)
	}
	for _, p := range d.Reconciliation.Phases {
		if p.Account == nil || p.Quiet && !p.Tree.Equal {
			t.Errorf("%s of cycle %d: live set and tree differ: %+v", p.Name, p.Cycle, p.Account)
		}
	}
	for _, s := range d.Stacks {
		if s.Frames[0].Function == "sl_alloc" {
			t.Errorf("a stack of an object of a slab: %+v", s)
		}
	}
	saysAll(t, got.stdout, "stepped down from exact to pages: probes took ", "the experiment begins anew", "in this mode: a stack means who took the page")
}

func TestEstimateFlag(t *testing.T) {
	for estimate, ok := range map[time.Duration]bool{0: true, leastEstimate: true, time.Hour: true, 1: false, leastEstimate - 1: false, -time.Second: false} {
		if err := (&guardFlags{estimate: estimate}).validate(); (err == nil) != ok {
			t.Errorf("%v: %v", estimate, err)
		}
	}
}

func TestPercentFlag(t *testing.T) {
	for text, want := range map[string]float64{"20": 20, "2.5": 2.5, "10%": 10, "0.01%": 0.01, "250": 250} {
		var p percentFlag
		if err := p.Set(text); err != nil || float64(p) != want {
			t.Errorf("%q: %v, %v; want %v", text, float64(p), err, want)
		}
	}
	for _, text := range []string{"", "%", "0", "-1", "NaN", "Inf", "1e9", "ten", "10 %"} {
		var p percentFlag
		if err := p.Set(text); err == nil {
			t.Errorf("%q is taken as %v", text, float64(p))
		}
	}
}
