// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"leakprof/collector/lab"
	"leakprof/profiler"
	"leakprof/profiler/plan"
	"leakprof/profiler/report"
)

// TestAttachedAgainAndAgain attaches to BIRDs under churn and detaches, over
// and over, in one process: neither the kernel nor BIRD keeps anything of it,
// nor does that process.
func TestAttachedAgainAndAgain(t *testing.T) {
	n := rounds(2, 500) // on each BIRD
	files := openFiles(t, os.Getpid())
	t.Run("", func(t *testing.T) {
		for _, name := range birds[:2] {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				attachedAgainAndAgain(t, name, n)
			})
		}
	})
	const few = 6 // of Go's own, such as for waiting
	if now := openFiles(t, os.Getpid()); now > files+few {
		t.Errorf("%d files are open, and were %d", now, files)
	}
}

func attachedAgainAndAgain(t *testing.T, name string, n int) {
	bird := startBird(t, lab.Config{Binary: findBird(t, name), Peers: attachPeers})
	churn := startChurn(t, bird)
	before := tracesOf(t, bird)
	var attaching, detaching time.Duration
	var first use
	for i := range n {
		begin := time.Now()
		p, err := profiler.Attach(t.Context(), profiler.Options{
			PID: bird.PID(), MaxMemory: 64 << 20, Plan: plan.Options{Mode: []plan.Mode{plan.Exact, plan.Pages}[i%2]},
		})
		if err != nil {
			t.Fatalf("attach %d: %v", i+1, err)
		}
		attaching += time.Since(begin)
		time.Sleep(rand.N(100 * time.Millisecond))
		begin = time.Now()
		if err := p.Close(); err != nil {
			t.Fatalf("detach %d: %v", i+1, err)
		}
		detaching += time.Since(begin)
		if i == 0 {
			if first, err = processUse(bird.PID()); err != nil {
				t.Fatal(err)
			}
		}
	}
	before.gone(t)
	last, err := processUse(bird.PID())
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d times attached, in %v, and detached, in %v on the average; BIRD's anonymous memory is %s after the first and %s after the last",
		n, attaching/time.Duration(n), detaching/time.Duration(n), report.Size(first.anonymous), report.Size(last.anonymous))
	const breathes = 1 << 20 // BIRD's heap under churn
	if last.anonymous > first.anonymous+breathes {
		t.Error("BIRD has grown")
	}
	churn.stop(t)
}

// churn are peers whose routes go and come until it is stopped.
type churn struct {
	*lab.Speakers
	bird   *lab.Bird
	cancel context.CancelFunc
	done   chan error
}

// startChurn returns when BIRD has been sent all routes, and they change.
func startChurn(t *testing.T, bird *lab.Bird) *churn {
	t.Helper()
	s, err := lab.NewSpeakers(bird.BGPAddr(), attachPeers, lab.Flood{Routes: attachRoutes, Churn: 2000, ChurnFor: 24 * time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	c := &churn{s, bird, cancel, make(chan error, 1)}
	go func() { c.done <- s.Up(ctx) }()
	for !strings.HasPrefix(s.Doing(), "churn") {
		select {
		case err := <-c.done:
			t.Fatalf("churn: %v", err)
		case <-time.After(10 * time.Millisecond):
		}
	}
	return c
}

// controlUnderChurn is the --birdc for a BIRD that has to survive the test: one of
// 3.1.7 is asked for nothing, for it may crash, with leakprof or without, where it
// counts routes while some are withdrawn ("show route table all count": once in
// some 40,000).
func controlUnderChurn(bird *lab.Bird) string {
	if bird.Version() == "3.1.7" {
		return "none"
	}
	return bird.Control()
}

// stop ends the churn, and fails the test if one of the sessions has ended.
func (c *churn) stop(t *testing.T) {
	t.Helper()
	select {
	case err := <-c.done:
		t.Errorf("churn: %v", err)
	default:
	}
	if n, why := c.Dropped(); n > 0 {
		t.Errorf("%d sessions were dropped: %v", n, why)
	}
	if n := established(t, c.bird); n != attachPeers {
		t.Errorf("%d sessions are up, want %d", n, attachPeers)
	}
	c.cancel()
	<-c.done
	c.Close()
}
