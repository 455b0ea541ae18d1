// SPDX-License-Identifier: Apache-2.0

package profiler_test

import (
	"context"
	"slices"
	"testing"

	"leakprof/collector/bmp"
	"leakprof/collector/lab"
	"leakprof/collector/session"
	"leakprof/profiler/attribution"
	"leakprof/profiler/experiment"
	"leakprof/profiler/reachability"
	"leakprof/profiler/report"
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
	l, end, err := startCut(t, binary, nil, cutConfig{peers: cutPeers, driven: cutPeers, flood: lab.Flood{Routes: 20_000}})
	defer end()
	if err != nil {
		t.Fatal(err)
	}
	result, err := l.experiment(t.Context(), experiment.Config{Driver: &stalling{l.speakers, l.station}, Cycles: 1})
	if err != nil {
		t.Fatal(err)
	}
	run := &cutRun{result: result}
	logRetained(t, run)
	t.Log(result.Verdict.Sentence)
	if result.Verdict.Kind != report.Held {
		t.Errorf("verdict %s, want held", result.Verdict.Kind)
	}
	top := result.Retained[0]
	if top.Allocator != attribution.AllocatorPage || top.Class != sendQueue {
		t.Errorf("the most is %s, class %q, want pages of %q", top.Allocator, top.Class, sendQueue)
	}
	if top.Reach() != reachability.Held || len(top.Holders) == 0 {
		t.Errorf("the queue is %v, held by %v", top.Reach(), top.Holders)
	}
	// The experiment has the station read again.
	i := slices.IndexFunc(result.Phases, func(p report.Phase) bool { return p.Name == string(session.Resumed) })
	if i < 0 || result.Phases[i].Heap == nil {
		t.Fatal("nobody has looked once the station read again")
	}
	for _, s := range attribution.Grown(result.Phases[0].Heap, result.Phases[i].Heap) {
		if s.Class == sendQueue {
			t.Errorf("%d bytes are in the queue once the station reads again", s.Bytes)
		}
	}
	if result, err = l.experiment(t.Context(), experiment.Config{Driver: l.speakers, Cycles: 1}); err != nil {
		t.Fatal(err)
	}
	if result.Verdict.Kind != report.Clean {
		t.Errorf("verdict %s, want clean: the station reads", result.Verdict.Kind)
	}
}
