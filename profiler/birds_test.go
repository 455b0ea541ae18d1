// SPDX-License-Identifier: Apache-2.0

package profiler_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"leakprof/collector/birdc"
	"leakprof/collector/lab"
	"leakprof/profiler"
	"leakprof/profiler/attribution"
	"leakprof/profiler/plan"
)

const (
	birdPeers = 2
	// birdPatience bounds the wait for BIRD, which does a lot on a machine on which
	// all tests run at once.
	birdPatience = 2 * time.Minute
	// birdPathsVariable names further BIRDs to try, separated by colons, and
	// birdPathsWithoutBMPVariable those that are to run without BMP.
	birdPathsVariable           = "LEAKPROF_BIRD_PATHS"
	birdPathsWithoutBMPVariable = "LEAKPROF_BIRD_PATHS_WITHOUT_BMP"
)

// labBinary is a BIRD to try.
type labBinary struct {
	*lab.Binary
	name string
	bmp  bool
}

// birds returns those of scripts/bird-root, and what the environment names.
func birds(t *testing.T) (all []labBinary) {
	t.Helper()
	add := func(name, path string, bmp bool) {
		t.Helper()
		b, err := lab.Find(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, labBinary{b, name, bmp})
	}
	for _, root := range []string{"bird3-trixie", "bird2-sid", "bird3-sid"} {
		path, err := filepath.Abs(filepath.Join("../.bird", root, "usr/sbin/bird"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(path); err != nil {
			t.Fatalf("BIRD %s is missing: scripts/bird-root %s", root, root)
		}
		add(root, path, true)
	}
	for _, path := range filepath.SplitList(os.Getenv(birdPathsVariable)) {
		add(filepath.Base(filepath.Dir(path)), path, true)
	}
	for _, path := range filepath.SplitList(os.Getenv(birdPathsWithoutBMPVariable)) {
		add(filepath.Base(filepath.Dir(path)), path, false)
	}
	return all
}

// birdTest is a way to follow a BIRD, and what happens to it.
type birdTest struct {
	name    string
	options plan.Options
	late    bool // leakprof comes when BIRD has its routes
	routes  int  // per peer
	steps   []step
}

// labBIRD is a BIRD that is followed, and all that happens to it.
type labBIRD struct {
	*lab.Bird
	birdTest
	control  *birdc.Conn
	station  *bmpStation // nil: no BMP
	speakers *lab.Speakers

	prof       *profiler.Profiler
	attributor *attribution.Attributor

	// Of the last look: how many objects of slabs are in use, and how much of the
	// live set is from before leakprof came, bytes.
	objects int
	before  uint64
}

// startBIRD starts a BIRD, with leakprof there before its first instruction
// unless it is to come late.
func startBIRD(t *testing.T, binary labBinary, test birdTest) *labBIRD {
	t.Helper()
	ctx := t.Context()
	b := &labBIRD{birdTest: test}
	c := lab.Config{Binary: binary.Binary, Peers: birdPeers, PausedAtEntry: !b.late}
	if binary.bmp {
		b.station = newBMPStation(t)
		c.Station = b.station.addr()
	}
	var err error
	if b.Bird, err = lab.Start(ctx, c); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Err(); err != nil {
			t.Error(err)
		}
		if err := b.Stop(context.WithoutCancel(ctx)); err != nil {
			t.Error(err)
		}
	})
	if !b.late {
		b.attach(t)
		if err := b.Resume(); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	if b.control, err = birdc.Dial(ctx, b.Control()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.control.Close() })
	if b.speakers, err = lab.NewSpeakers(b.BGPAddr(), birdPeers, lab.Flood{Routes: b.routes}); err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *labBIRD) attach(t *testing.T) {
	t.Helper()
	var err error
	b.prof, err = profiler.Attach(t.Context(), profiler.Options{PID: b.PID(), FromStart: !b.late, Plan: b.options})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.prof.Close() })
	b.attributor = attribution.New(b.prof.Process, b.prof.BIRD, attribution.Options{
		Objects: b.prof.ObjectClasses(), LinpoolObjects: b.prof.FollowsLinpoolObjects(), Functions: b.prof.Plan.Functions,
	})
}

// TestBIRDs lets everything happen to real BIRDs that frees memory in bulk, and
// compares the live set with BIRD's own books after each step.
func TestBIRDs(t *testing.T) {
	const many = 20_000
	// BIRD 3 takes a linpool for each of many things, each time on other pages, and
	// the records of all are read at every look.
	const few = 4_000
	for _, test := range []birdTest{
		{"exact", plan.Options{}, false, many, []step{
			started, flooded, dropped, again, reconfigured, back, stationDisabled,
			peersDisabled, stalled, cutOff, reconnected, allDown,
		}},
		{"pages", plan.Options{Mode: plan.Pages}, false, many, []step{started, flooded, dropped, again, allDown}},
		{"linpool objects", plan.Options{LinpoolObjects: true}, false, few, []step{started, flooded, reconfigured, back, dropped, allDown}},
		{"late", plan.Options{}, true, many, []step{flooded, dropped, again, stationDisabled, peersDisabled, allDown}},
	} {
		for _, binary := range birds(t) {
			t.Run(test.name+"/"+binary.name, func(t *testing.T) {
				t.Parallel()
				b := startBIRD(t, binary, test)
				if b.late {
					b.awaitStation(t)
				}
				for _, s := range test.steps {
					b.take(t, s)
				}
			})
		}
	}
}

// take lets a step happen, waits for BIRD to come to rest, and compares.
func (b *labBIRD) take(t *testing.T, s step) {
	t.Helper()
	s.do(t, b)
	if b.prof == nil {
		b.attach(t)
	}
	begin := time.Now()
	for {
		look, memory := b.look(t, s.name)
		if s.done == nil || s.done(b, look) {
			b.reconcile(t, s.name, look, memory)
			b.objects = slabObjects(look)
			return
		}
		if time.Since(begin) > birdPatience {
			t.Fatalf("%s: BIRD is not done with it after %v: it has %d objects of slabs, had %d", s.name, birdPatience, slabObjects(look), b.objects)
		}
	}
}
