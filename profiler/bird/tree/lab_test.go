// SPDX-License-Identifier: Apache-2.0

package tree

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"leakprof/collector/birdc"
	"leakprof/collector/lab"
	"leakprof/collector/lab/labtest"
	"leakprof/profiler/bird"
	"leakprof/profiler/target"
)

// running is a lab's BIRD with all that is needed to read it.
type running struct {
	*lab.Bird
	control *birdc.Conn
	process *target.Process
	bird    *bird.Bird
}

func start(t *testing.T, c lab.Config) *running {
	t.Helper()
	r := &running{Bird: labtest.Start(t, c)}
	r.control = labtest.Dial(t, r.Bird)
	r.process, r.bird = open(t, r.PID())
	return r
}

// open finds BIRD in a process, until the test ends.
func open(t *testing.T, pid int) (*target.Process, *bird.Bird) {
	t.Helper()
	p, b, err := find(pid)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p, b
}

func find(pid int) (*target.Process, *bird.Bird, error) {
	p, err := target.Open(pid)
	if err != nil {
		return nil, nil, err
	}
	modules, err := p.Modules()
	if err != nil {
		return nil, nil, err
	}
	for _, m := range modules {
		defer m.Close()
	}
	b, err := bird.Find(p, modules[0])
	return p, b, err
}

// settled returns the tree, and what BIRD says of its memory, of one time: what
// BIRD says is the same before and after, and the tree did not change.
func (r *running) settled(t *testing.T) (*Tree, *birdc.Memory) {
	t.Helper()
	last := "it never answered twice the same"
	for deadline := time.Now().Add(60 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		before, err := r.control.ShowMemory(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		tree, err := Read(r.process, r.bird, Options{})
		if err != nil {
			last = err.Error()
			continue
		}
		after, err := r.control.ShowMemory(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if before.Raw == after.Raw && tree.Consistent {
			return tree, after
		}
	}
	t.Fatalf("BIRD does not come to rest: %s", last)
	return nil, nil
}

// commandMemory is what a command costs BIRD while it runs, and no longer:
// pools of the parser and of the reply. "show memory" counts its own.
const commandMemory = 12 << 10

// compare compares the tree with "show memory".
func compare(t *testing.T, phase string, tree *Tree, memory *birdc.Memory) {
	t.Helper()
	between := func(line, column string, got uint64, s birdc.Size, more uint64) {
		t.Helper()
		mark := "="
		if got+more < s.Min || got > s.Max {
			mark = "DIFFERS"
			t.Errorf("%s: %s, %s: %d, BIRD says %d to %d", phase, line, column, got, s.Min, s.Max)
		}
		t.Logf("%-9s %-17s %-9s %11d  %11d to %11d  %s", phase, line, column, got, s.Min, s.Max, mark)
	}
	for _, l := range []struct{ line, pool string }{
		{"Routing tables", "Routing tables"}, {"Route attributes", "Attributes"},
		{"Protocols", "Protocols"}, {"Current config", "Configurations"},
	} {
		n, m := tree.Root.Child(l.pool), line(t, memory, l.line)
		if n == nil {
			t.Fatalf("%s: no pool %q", phase, l.pool)
		}
		between(l.line, "effective", n.Effective, m.Effective, 0)
		between(l.line, "overhead", n.Overhead, m.Overhead, 0)
	}
	total, standby := line(t, memory, "Total"), line(t, memory, "Standby memory")
	between("Total", "effective", tree.Root.Effective, total.Effective, commandMemory)
	kept := total.Overhead
	kept.Min -= min(kept.Min, standby.Overhead.Max)
	kept.Max -= min(kept.Max, standby.Overhead.Min)
	between("Total", "overhead", tree.Root.Overhead, kept, commandMemory)
	if len(tree.Warnings) > 0 {
		t.Errorf("%s: warnings: %q", phase, tree.Warnings)
	}
}

func line(t *testing.T, m *birdc.Memory, name string) birdc.MemoryLine {
	t.Helper()
	l, ok := m.Line(name)
	if !ok {
		t.Fatalf("show memory has no line %q", name)
	}
	return l
}

// TestShowMemory compares the tree with BIRD's own sums, line by line, while a
// lab is flooded, its station stalls, and its peers drop.
func TestShowMemory(t *testing.T) {
	for name, binary := range labtest.Binaries(t) {
		t.Run(name, func(t *testing.T) {
			const peers, routes = 4, 20_000
			station := labtest.NewStation(t)
			b := start(t, lab.Config{Binary: binary, Peers: peers, Station: netip.MustParseAddrPort(station.Addr().String())})
			check := func(phase string) *Tree {
				t.Helper()
				tree, memory := b.settled(t)
				compare(t, phase, tree, memory)
				checkIdentity(t, phase, tree)
				t.Logf("%-9s %d blocks, %d pages, read in %v by %d walks, %d reads; %+v", phase, len(tree.blocks), len(tree.pages), tree.Duration, tree.Walks, tree.Reads, tree.Layout)
				return tree
			}
			select {
			case <-station.Up: // BIRD 3.1 monitors only sessions that come later
			case <-time.After(30 * time.Second):
				t.Fatal("BIRD does not connect to its station")
			}
			tree := check("before")
			checkNames(t, tree, peers)

			speakers, err := lab.NewSpeakers(b.BGPAddr(), peers, lab.Flood{Routes: routes})
			if err != nil {
				t.Fatal(err)
			}
			if err := speakers.Up(t.Context()); err != nil {
				t.Fatal(err)
			}
			labtest.WaitRoutes(t, b.control, peers*routes)
			tree = check("stalled")
			t.Logf("%d pages wait to be sent", pending(tree))
			// BIRD 3.0 sends the station no routes.
			if hasClass(tree, "BMP TX buffers") && pending(tree) == 0 && !strings.HasPrefix(binary.Version, "3.0.") {
				t.Error("no page waits to be sent to a station that does not read")
			}
			close(station.Read)
			for deadline := time.Now().Add(30 * time.Second); pending(tree) > 0; tree, _ = b.settled(t) {
				if time.Now().After(deadline) {
					t.Fatalf("%d pages still wait to be sent", pending(tree))
				}
			}
			tree = check("flooded")
			checkNames(t, tree, peers)
			checkPoolOf(t, tree)
			if err := speakers.Down(t.Context()); err != nil {
				t.Fatal(err)
			}
			labtest.WaitRoutes(t, b.control, 0)
			check("dropped")
		})
	}
}

// pending counts the pages that wait to be sent to the station.
func pending(t *Tree) (n int) {
	for p := range t.Pages() {
		if p.Class == "BMP TX buffers" {
			n++
		}
	}
	return n
}

func hasClass(t *Tree, class string) bool {
	for _, n := range t.nodes {
		if n.class(class) != nil {
			return true
		}
	}
	return false
}

// checkNames looks for the pools of the lab's instances.
func checkNames(t *testing.T, tree *Tree, peers int) {
	t.Helper()
	want := map[string]string{lab.BMPName: "BMP", "device1": "Device"}
	for i := range peers {
		want[lab.PeerName(i)] = "BGP"
	}
	for _, n := range tree.Root.Child("Protocols").Children {
		if protocol, ok := want[n.Name]; ok && n.Protocol != protocol {
			t.Errorf("pool %s is of protocol %q, want %q", n.Path(), n.Protocol, protocol)
		}
		if n.Protocol == "" && len(n.Classes) > 1 {
			continue // a pool of all instances of a protocol
		}
		delete(want, n.Name)
	}
	// A passive BGP instance has no pool before its peer comes in BIRD 3.1.
	for name, protocol := range want {
		if protocol != "BGP" {
			t.Errorf("no pool Root/Protocols/%s", name)
		}
	}
}

// checkIdentity compares the sums with those of the blocks and pages that they
// are made of.
func checkIdentity(t *testing.T, phase string, tree *Tree) {
	t.Helper()
	effective, overhead, unknown := uint64(0), tree.RootOverhead(), false
	for b := range tree.Blocks() {
		e, o := tree.Memsize(b, b.Bytes)
		effective, overhead = effective+e, overhead+o
		unknown = unknown || b.Bytes == 0
	}
	for p := range tree.Pages() {
		effective, overhead = effective+p.Effective, overhead+p.Overhead
	}
	if unknown && effective < tree.Root.Effective {
		effective = tree.Root.Effective // of several large chunks only the sum is known
	}
	if effective != tree.Root.Effective || overhead != tree.Root.Overhead {
		t.Errorf("%s: sums to %d and %d, blocks and pages to %d and %d", phase, tree.Root.Effective, tree.Root.Overhead, effective, overhead)
	}
}

// checkPoolOf asks for the pools of blocks and pages by addresses in them.
func checkPoolOf(t *testing.T, tree *Tree) {
	t.Helper()
	n := 0
	ask := func(address uint64, path, class string) {
		t.Helper()
		n++
		if gotPath, gotClass, ok := tree.PoolOf(address); gotPath != path || gotClass != class || !ok {
			t.Fatalf("PoolOf(0x%x) = %q, %q, %v, want %q, %q", address, gotPath, gotClass, ok, path, class)
		}
	}
	for b := range tree.Blocks() {
		ask(b.Address, b.Pool.Path(), b.Class)
		ask(b.Address+max(b.Bytes, 1)-1, b.Pool.Path(), b.Class)
	}
	for p := range tree.Pages() {
		ask(p.Address, p.Pool.Path(), p.Class)
		ask(p.Address+pageSize-1, p.Pool.Path(), p.Class)
	}
	if _, _, ok := tree.PoolOf(8); ok {
		t.Error("there is a pool at address 8")
	}
	start := time.Now()
	for b := range tree.Blocks() {
		tree.PoolOf(b.Address)
	}
	t.Logf("PoolOf takes %v", time.Since(start)/time.Duration(max(n/2, 1)))
}

func ExampleTree_PoolOf() {
	t := &Tree{
		Root:   &Node{Name: "Root"},
		class:  []string{"Slab"},
		pages:  []page{{addr: 0x7f0000001000}},
		shapes: make([]shape, 1),
	}
	t.Root.path = "Root"
	t.nodes = []*Node{t.Root}
	fmt.Println(t.PoolOf(0x7f0000001234))
	// Output: Root Slab true
}
