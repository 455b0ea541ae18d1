// SPDX-License-Identifier: Apache-2.0

package profiler_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"leakprof/collector/birdc"
	"leakprof/collector/lab"
	quiet "leakprof/profiler/snapshot"
)

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
