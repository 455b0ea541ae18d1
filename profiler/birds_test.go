// SPDX-License-Identifier: Apache-2.0

package profiler_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"leakprof/collector/birdc"
	"leakprof/collector/lab"
	"leakprof/profiler"
	"leakprof/profiler/attribution"
	"leakprof/profiler/plan"
	quiet "leakprof/profiler/snapshot"
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
		Objects: b.prof.ObjectClasses(), LinpoolObjects: b.prof.FollowsLinpoolObjects(),
	})
}

// step is something that happens to a BIRD. What it does has come to its end
// when done says so of a look at a BIRD at rest; nil: at once.
type step struct {
	name string
	do   func(t *testing.T, b *labBIRD)
	done func(b *labBIRD, s *quiet.Snapshot) bool
}

// isGone says that the routes are: less than half as many objects of slabs are
// left as there were before. (BIRD 3.1.7 may crash when it is asked for routes
// that go away.)
func isGone(b *labBIRD, s *quiet.Snapshot) bool { return slabObjects(s) < b.objects/2 }

func slabObjects(s *quiet.Snapshot) (n int) {
	for p := range s.Tree.Pages() {
		n += p.Used
	}
	return n
}

var (
	started = step{name: "started", do: func(t *testing.T, b *labBIRD) { b.awaitStation(t) }}
	flooded = step{name: "flooded", do: func(t *testing.T, b *labBIRD) { b.flood(t) }}
	dropped = step{"dropped", func(t *testing.T, b *labBIRD) { b.drop(t) }, isGone}
	again   = step{name: "flooded again", do: func(t *testing.T, b *labBIRD) { b.flood(t) }}

	reconfigured = step{name: "reconfigured", do: func(t *testing.T, b *labBIRD) {
		b.configure(t, b.ConfigText()+furtherConfig)
		b.awaitProtocols(t, "further", "up", "")
	}}
	back = step{name: "configured back", do: func(t *testing.T, b *labBIRD) {
		b.configure(t, b.ConfigText())
		b.await(t, "protocol further to be gone", func() bool { return len(b.protocols(t, "further")) == 0 })
	}}
	stationDisabled = step{name: "station disabled", do: func(t *testing.T, b *labBIRD) {
		if b.station != nil {
			b.command(t, "disable "+lab.BMPName)
			b.awaitProtocols(t, lab.BMPName, "down", "")
		}
	}}
	peersDisabled = step{"peers disabled", func(t *testing.T, b *labBIRD) {
		b.command(t, `disable "peer*"`)
		b.awaitProtocols(t, "peer", "down", "")
		b.drop(t) // the sessions have ended already
	}, isGone}
	stalled = step{name: "stalled", do: func(t *testing.T, b *labBIRD) {
		if b.station != nil {
			b.station.stall()
			b.command(t, "enable "+lab.BMPName)
			b.awaitStation(t)
		}
		b.command(t, `enable "peer*"`)
		b.flood(t)
	}, done: func(b *labBIRD, s *quiet.Snapshot) bool { return b.queued(s) > 0 || !b.queuesPages() }}
	cutOff = step{name: "cut off", do: func(t *testing.T, b *labBIRD) {
		if b.station != nil {
			b.station.cut()
			b.await(t, "BMP to notice", func() bool { return !b.isUp(t, lab.BMPName) })
		}
	}, done: func(b *labBIRD, s *quiet.Snapshot) bool { return b.queued(s) == 0 }}
	reconnected = step{name: "reconnected", do: func(t *testing.T, b *labBIRD) {
		b.awaitStation(t) // after 10 s
	}}
	allDown = step{name: "all down", do: func(t *testing.T, b *labBIRD) {
		b.drop(t)
		b.command(t, "disable all")
		b.awaitProtocols(t, "", "down", "")
	}}
)

// sendQueue is the class of BMP's queue of pages, which came with 2.16.
const sendQueue = "BMP TX buffers"

// queuesPages says whether BMP has a queue of pages to its station.
func (b *labBIRD) queuesPages() bool {
	for _, c := range b.prof.BIRD.Classes {
		if c.Name == sendQueue {
			return b.station != nil
		}
	}
	return false
}

// queued counts the pages that wait to be sent to the station.
func (b *labBIRD) queued(s *quiet.Snapshot) (n int) {
	for p := range s.Tree.Pages() {
		if p.Class == sendQueue {
			n++
		}
	}
	return n
}

// furtherConfig is a table and a protocol more.
var furtherConfig = func() string {
	var s strings.Builder
	s.WriteString("\nipv4 table further_table;\nprotocol static further {\n\tipv4 { table further_table; };\n")
	for i := range 2000 {
		fmt.Fprintf(&s, "\troute 10.%d.%d.0/24 blackhole;\n", i/256, i%256)
	}
	s.WriteString("}\n")
	return s.String()
}()

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

func (b *labBIRD) command(t *testing.T, line string) {
	t.Helper()
	if _, err := b.control.Command(t.Context(), line); err != nil {
		t.Fatal(err, b.Err())
	}
}

// await polls until done.
func (b *labBIRD) await(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(birdPatience); !done(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited %v for %s", birdPatience, what)
		}
	}
}

func (b *labBIRD) protocols(t *testing.T, prefix string) []birdc.Protocol {
	t.Helper()
	all, err := b.control.ShowProtocols(t.Context())
	if err != nil {
		t.Fatal(err, b.Err())
	}
	return slices.DeleteFunc(all, func(p birdc.Protocol) bool { return !strings.HasPrefix(p.Name, prefix) })
}

// awaitProtocols waits until all protocols whose names begin so are in a state.
func (b *labBIRD) awaitProtocols(t *testing.T, prefix, state, info string) {
	t.Helper()
	b.await(t, fmt.Sprintf("protocols %s* to be %s %s", prefix, state, info), func() bool {
		all := b.protocols(t, prefix)
		return len(all) > 0 && !slices.ContainsFunc(all, func(p birdc.Protocol) bool {
			return p.State != state || !strings.HasPrefix(p.Info, info)
		})
	})
}

func (b *labBIRD) isUp(t *testing.T, name string) bool {
	t.Helper()
	all := b.protocols(t, name)
	return len(all) == 1 && all[0].State == "up"
}

// awaitStation waits for BIRD's connection to its station.
func (b *labBIRD) awaitStation(t *testing.T) {
	t.Helper()
	if b.station == nil {
		return
	}
	select {
	case <-b.station.connected:
	case <-time.After(birdPatience):
		t.Fatalf("BIRD does not connect to its station in %v", birdPatience)
	}
	b.await(t, "BMP to be up", func() bool { return b.isUp(t, lab.BMPName) })
}

// flood brings the sessions up and waits for the routes.
func (b *labBIRD) flood(t *testing.T) {
	t.Helper()
	b.awaitProtocols(t, "peer", "start", "Passive") // not in the wait after an error
	if err := b.speakers.Up(t.Context()); err != nil {
		t.Fatal(err, b.Err())
	}
	b.await(t, "the routes", func() bool {
		counts, err := b.control.ShowRouteCount(t.Context(), "table all")
		if err != nil {
			t.Fatal(err, b.Err())
		}
		var sum uint64
		for _, c := range counts {
			sum += c.Total
		}
		return sum == uint64(birdPeers*b.routes)
	})
}

// drop ends the sessions.
func (b *labBIRD) drop(t *testing.T) {
	t.Helper()
	if err := b.speakers.Down(t.Context()); err != nil {
		t.Fatal(err, b.Err())
	}
}

// configure has BIRD read another configuration.
func (b *labBIRD) configure(t *testing.T, text string) {
	t.Helper()
	if err := b.WriteConfig(t.Context(), text); err != nil {
		t.Fatal(err)
	}
	b.command(t, "configure")
}
