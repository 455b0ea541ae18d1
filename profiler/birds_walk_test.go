// SPDX-License-Identifier: Apache-2.0

package profiler_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"leakprof/collector/lab"
	"leakprof/profiler"
	"leakprof/profiler/experiment"
	"leakprof/profiler/internal/cut"
	"leakprof/profiler/live"
	"leakprof/profiler/plan"
	"leakprof/profiler/report"
	quiet "leakprof/profiler/snapshot"
	"leakprof/profiler/symbol"
)

// TestWalkFindsTheLiveSet: what a walk through BIRD's memory finds is what the
// probes have seen, page for page and block for block.
func TestWalkFindsTheLiveSet(t *testing.T) {
	for _, binary := range birds(t) {
		t.Run(binary.name, func(t *testing.T) {
			t.Parallel()
			ctx := t.Context()
			bird, err := lab.Start(ctx, lab.Config{Binary: binary.Binary, Peers: 1, PausedAtEntry: true})
			if err != nil {
				t.Fatal(err)
			}
			defer bird.Stop(context.WithoutCancel(ctx))
			probes, err := profiler.Attach(ctx, profiler.Options{PID: bird.PID(), FromStart: true})
			if err != nil {
				t.Fatal(err)
			}
			defer probes.Close()
			if err := bird.Resume(); err != nil {
				t.Fatal(err)
			}
			if err := bird.Ready(ctx); err != nil {
				t.Fatal(err)
			}
			walk, err := profiler.Attach(ctx, profiler.Options{PID: bird.PID(), Plan: plan.Options{Mode: plan.Walk}})
			if err != nil {
				t.Fatal(err)
			}
			defer walk.Close()
			sameLiveSet(t, "ready", probes, walk)
			speakers, err := bird.Speakers(lab.Flood{Routes: 3000})
			if err != nil {
				t.Fatal(err)
			}
			defer speakers.Close()
			if err := speakers.Up(ctx); err != nil {
				t.Fatal(err)
			}
			sameLiveSet(t, "flooded", probes, walk)
			if err := speakers.Down(ctx); err != nil {
				t.Fatal(err)
			}
			sameLiveSet(t, "dropped", probes, walk)
		})
	}
}

// sameLiveSet waits for two looks between which nothing came or went, and
// compares them.
func sameLiveSet(t *testing.T, when string, probes, walk *profiler.Profiler) {
	t.Helper()
	for begin := time.Now(); ; {
		before, err := probes.Look(t.Context(), quiet.Options{})
		if err != nil {
			t.Fatal(err)
		}
		walked, err := walk.Look(t.Context(), quiet.Options{})
		if err != nil {
			t.Fatal(err)
		}
		after, err := probes.Counters()
		if err != nil {
			t.Fatal(err)
		}
		if before.Quiet && walked.Quiet && before.Live.Counters == after {
			compareLiveSets(t, when, before, walked.Live.Blocks)
			return
		}
		if time.Since(begin) > birdPatience {
			t.Fatalf("%s: BIRD did not rest for %v: %s; %s", when, birdPatience, before.Why, walked.Why)
		}
	}
}

func compareLiveSets(t *testing.T, when string, probes *quiet.Snapshot, walked []live.Block) {
	t.Helper()
	found := make(map[uint64]live.Block)
	for _, b := range walked {
		found[b.Address] = b
	}
	pages := 0
	for _, b := range probes.Live.Blocks {
		w, ok := found[b.Address]
		_, _, known := probes.Tree.PoolOf(b.Address)
		switch {
		case !ok || w.IsPage() != b.IsPage():
			t.Errorf("%s: %+v is not walked, but %+v", when, b, w)
		case known && w.Size != b.Size, w.Size < b.Size:
			t.Errorf("%s: %+v has %d bytes as walked", when, b, w.Size)
		case b.IsPage():
			pages++
		}
	}
	n := 0
	for _, b := range walked {
		if b.IsPage() {
			n++
		}
	}
	if n != pages || pages == 0 {
		t.Errorf("%s: %d pages are walked, %d are live", when, n, pages)
	}
	t.Logf("%s: %d blocks and pages, %d walked", when, len(probes.Live.Blocks), len(walked))
}

// TestWalkFindsLeaks: without a probe a healthy BIRD is clean, and of one that
// never frees an object of a slab it is told which objects are left.
func TestWalkFindsLeaks(t *testing.T) {
	for _, c := range []struct {
		bird  string
		cut   string // release that does nothing, "" for none
		want  report.VerdictKind
		kind  string // of what is retained
		every int64  // objects more in each cycle, at least
	}{
		{bird: "bird3-trixie", want: report.Clean},
		{bird: "bird2-sid", cut: "sl_free", want: report.Leak, kind: "objects of ", every: cutRoutes},
	} {
		t.Run(strings.TrimSpace(c.bird+" "+c.cut), func(t *testing.T) {
			t.Parallel()
			all := birds(t)
			binary := all[slices.IndexFunc(all, func(b labBinary) bool { return b.name == c.bird })]
			var site *cut.Site
			if c.cut != "" {
				sites := findSites(t, binary)
				site = &sites[slices.IndexFunc(sites, func(s cut.Site) bool { return s.Entry && s.Release == c.cut })]
			}
			l, end, err := startCut(t, binary, site, cutConfig{peers: 1, driven: 1, flood: lab.Flood{Routes: cutRoutes, AttributeSets: cutSets}, mode: plan.Walk})
			defer end()
			if err != nil {
				t.Fatal(err)
			}
			r, err := l.experiment(t.Context(), experiment.Config{Driver: l.speakers, Cycles: 2, Threshold: 4 * cutThreshold})
			if err != nil {
				t.Fatal(err)
			}
			t.Log(r.Verdict.Sentence)
			if r.Verdict.Kind != c.want {
				t.Fatalf("verdict %s, want %s", r.Verdict.Kind, c.want)
			}
			if r.Mode != "walk" || r.Overhead.Hits != 0 {
				t.Errorf("mode %s, %d hits", r.Mode, r.Overhead.Hits)
			}
			if c.want != report.Leak {
				return
			}
			top := r.Retained[0]
			if !strings.HasPrefix(top.Stack.Kind, c.kind) || top.Objects < c.every || top.Pool == "" {
				t.Errorf("the most is %d %s in pool %q", top.Objects, top.Stack.Kind, top.Pool)
			}
			if !strings.HasSuffix(r.Verdict.Sentence, "; no call stack: --mode walk") {
				t.Errorf("the sentence does not say that there is no stack")
			}
		})
	}
}

// TestAutoFollowsWhatGrew: where objects of a slab are never freed, the first
// cycle costs no hit, and the others have the call stacks of such objects, by
// probes on nothing else.
func TestAutoFollowsWhatGrew(t *testing.T) {
	t.Parallel()
	all := birds(t)
	binary := all[slices.IndexFunc(all, func(b labBinary) bool { return b.name == "bird2-sid" })]
	sites := findSites(t, binary)
	site := sites[slices.IndexFunc(sites, func(s cut.Site) bool { return s.Entry && s.Release == "sl_free" })]
	l, end, err := startCut(t, binary, &site, cutConfig{peers: 1, driven: 1, flood: lab.Flood{Routes: cutRoutes, AttributeSets: cutSets}, mode: plan.Auto})
	defer end()
	if err != nil {
		t.Fatal(err)
	}
	if l.prof.Probes() || len(l.prof.Plan.Sites) > 0 {
		t.Fatalf("%d probes before the first cycle", len(l.prof.Plan.Sites))
	}
	r, err := l.experiment(t.Context(), experiment.Config{Driver: l.speakers, Cycles: 3})
	if err != nil {
		t.Fatal(err)
	}
	t.Log(r.Verdict.Sentence)
	if r.Verdict.Kind != report.Leak || !strings.Contains(r.Verdict.Sentence, "what came from cycle 2 on has call stacks") {
		t.Errorf("verdict %s: %s", r.Verdict.Kind, r.Verdict.Sentence)
	}
	if !slices.ContainsFunc(r.Notes, func(n report.Note) bool {
		return strings.Contains(n.Text, "from cycle 2 on objects of ") && strings.Contains(n.Text, " are followed, by 2 probes")
	}) {
		t.Errorf("no note says what was followed: %v", r.Notes)
	}
	var byStack, total int64
	for _, g := range r.Retained {
		if total += g.Bytes; g.Stack.Kind == "" {
			byStack += g.Bytes
			if !slices.ContainsFunc(g.Stack.Frames(), func(f symbol.Frame) bool { return f.Function == "sl_alloc" || f.Function == "alloc_page" }) {
				t.Errorf("%d bytes of another stack: %v", g.Bytes, g.Stack.Frames())
			}
		}
	}
	// Two of three cycles, and a first one that leaves more.
	if byStack < total/2 {
		t.Errorf("%d of %d bytes have a call stack", byStack, total)
	}
	hits, err := l.prof.Hits()
	if err != nil {
		t.Fatal(err)
	}
	for function, h := range hits {
		if followed := function == "sl_alloc" || function == "alloc_page"; !followed && h.Entered+h.Returned > 0 {
			t.Errorf("%s was hit: %+v", function, h)
		}
	}
	if hits["sl_alloc"].Returned == 0 {
		t.Error("sl_alloc was not hit")
	}
}
