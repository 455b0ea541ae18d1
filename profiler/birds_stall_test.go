// SPDX-License-Identifier: Apache-2.0

package profiler_test

import (
	"context"
	"testing"
	"time"

	"leakprof/collector/bmp"
	"leakprof/collector/lab"
	"leakprof/profiler/attribution"
	"leakprof/profiler/reachability"
	"leakprof/profiler/report"
	quiet "leakprof/profiler/snapshot"
)

// stalling drives speakers whose routes the station does not want to hear of.
type stalling struct {
	*lab.Speakers
	station *bmp.Station
}

func (s *stalling) Up(ctx context.Context) error {
	s.station.Stall()
	return s.Speakers.Up(ctx)
}

// TestStall: what a station does not read stays in BIRD, held, until it reads.
func TestStall(t *testing.T) {
	t.Parallel()
	binary := birds(t)[1] // its queue is of pages
	l, end, err := startCut(t, binary, nil, lab.Flood{Routes: 20_000})
	defer end()
	if err != nil {
		t.Fatal(err)
	}
	result, err := l.experiment(t.Context(), &stalling{l.speakers, l.station}, 1)
	if err != nil {
		t.Fatal(err)
	}
	run := &cutRun{result: result}
	logRetained(t, run)
	t.Log(result.Verdict.Sentence)
	if result.Verdict.Kind != report.Held {
		t.Errorf("verdict %s, want held", result.Verdict.Kind)
	}
	if top := result.Retained[0]; top.Allocator != attribution.AllocatorPage || top.Class != sendQueue {
		t.Errorf("the most is %s, class %q, want pages of %q", top.Allocator, top.Class, sendQueue)
	}
	snapshot, err := l.prof.Look(t.Context(), quiet.Options{})
	if err != nil {
		t.Fatal(err)
	}
	reach, err := reachability.Classify(l.prof.Process, l.prof.BIRD, snapshot, reachability.Options{})
	if err != nil {
		t.Fatal(err)
	}
	queued := 0
	for p := range snapshot.Tree.Pages() {
		if p.Class != sendQueue {
			continue
		}
		queued++
		if c, by := reach.Of(p.Address); c != reachability.Held {
			t.Errorf("a page of the queue is %v: %s", c, by.Why)
		} else if queued == 1 {
			t.Logf("the queue is held by %s", by)
		}
	}
	if queued == 0 {
		t.Error("nothing is in the queue")
	}

	l.station.Resume()
	for deadline := time.Now().Add(birdPatience); queued > 0; {
		if snapshot, err = l.prof.Look(t.Context(), quiet.Options{}); err != nil {
			t.Fatal(err)
		}
		queued = 0
		for p := range snapshot.Tree.Pages() {
			if p.Class == sendQueue {
				queued++
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d pages are in the queue %v after the station reads again", queued, birdPatience)
		}
	}
	if result, err = l.experiment(t.Context(), l.speakers, 1); err != nil {
		t.Fatal(err)
	}
	if result.Verdict.Kind != report.Clean {
		t.Errorf("verdict %s, want clean: the station reads", result.Verdict.Kind)
	}
}
