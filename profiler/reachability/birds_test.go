// SPDX-License-Identifier: Apache-2.0

package reachability

import (
	"fmt"
	"testing"
	"time"

	"leakprof/collector/lab"
	"leakprof/collector/lab/labtest"
	"leakprof/profiler/bird"
	"leakprof/profiler/bird/tree"
	"leakprof/profiler/snapshot"
	"leakprof/profiler/target"
)

// open finds BIRD in a process, until the test ends.
func open(t testing.TB, pid int) (*target.Process, *bird.Bird) {
	t.Helper()
	p, err := target.Open(pid)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	modules, err := p.Modules()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range modules {
		defer m.Close()
	}
	b, err := bird.Find(p, modules[0])
	if err != nil {
		t.Fatal(err)
	}
	return p, b
}

// quiet classifies what is in the tree, which is the same before and after.
func quiet(t testing.TB, p *target.Process, b *bird.Bird) *Result {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); {
		before, err := tree.Read(p, b, tree.Options{})
		if err != nil {
			continue
		}
		r, err := Classify(p, b, &snapshot.Snapshot{Tree: before, Quiet: before.Consistent}, Options{})
		if err != nil {
			t.Fatal(err)
		}
		after, err := tree.Read(p, b, tree.Options{})
		if err == nil && r.Doubt == "" && r.Running == 0 && after.Fingerprint == before.Fingerprint {
			return r
		}
	}
	t.Fatal("BIRD did not rest for a minute")
	return nil
}

// known are what these BIRDs really lose in each cycle of peers that come up and
// go down, at most once for each peer.
//
//   - 2.14 to 2.20.0: the event that feeds a channel (channel_do_start,
//     nest/proto.c). BMP adds a channel for each table that it monitors, which
//     before policies is one for each peer, and proto_remove_channel leaves the
//     event in BMP's pool.
//   - 3.0.0 to 3.4.0: the name of BMP's export request, which bmp_add_table
//     (proto/bmp/bmp.c) prints into BMP's pool for each table, and nobody frees.
var known = map[string]Item{
	"bird2-sid":    {ResourceClass: "Event", Bytes: 56, Pool: "Root/Protocols/bmp1"},
	"bird3-trixie": {ResourceClass: "Memory", Bytes: 64, Pool: "Root/Protocols/bmp1"},
	"bird3-sid":    {ResourceClass: "Memory", Bytes: 64, Pool: "Root/Protocols/bmp1/Protocol bmp1"},
}

// TestBirds looks at healthy BIRDs: but for what is known they have lost nothing,
// idle, full of routes and after the peers are gone.
func TestBirds(t *testing.T) {
	for name, binary := range labtest.Binaries(t) {
		t.Run(name, func(t *testing.T) {
			const peers = 4
			ctx := t.Context()
			l := labtest.Start(t, lab.Config{Binary: binary, Peers: peers, Station: labtest.Discard(t)})
			p, b := open(t, l.PID())
			lost := 0 // of what is known
			look := func(when string) {
				t.Helper()
				r := quiet(t, p, b)
				lost = 0
				t.Logf("%s: lost %d, held %d, unknown %d bytes; %d waiting; read %d in %v", when,
					r.Bytes[Lost], r.Bytes[Held], r.Bytes[Unknown], r.Waiting, r.Read, r.Duration)
				for i := range r.Items(Lost) {
					if k := known[name]; i.ResourceClass == k.ResourceClass && i.Bytes == k.Bytes && i.Pool == k.Pool {
						lost++
						continue
					}
					t.Errorf("%s: %s of %d bytes at 0x%x in %q is lost", when, i.ResourceClass, i.Bytes, i.Address, i.Pool)
				}
				unknown := make(map[string]int)
				for i := range r.Items(Unknown) {
					unknown[fmt.Sprintf("%s in %q: %s", i.ResourceClass, i.Pool, i.Holder.Why)]++
				}
				for what, n := range unknown {
					t.Logf("%s: %d unknown: %s", when, n, what)
				}
			}
			look("idle")
			for cycle := range 2 {
				s, err := lab.NewSpeakers(l.BGPAddr(), peers, lab.Flood{Routes: 20000, AttributeSets: 500})
				if err != nil {
					t.Fatal(err)
				}
				if err := s.Up(ctx); err != nil {
					t.Fatal(err)
				}
				look("flooded")
				if err := s.Down(ctx); err != nil {
					t.Fatal(err)
				}
				look("dropped")
				if lost > (cycle+1)*peers {
					t.Errorf("%d of %+v are lost after %d cycles of %d peers", lost, known[name], cycle+1, peers)
				}
				t.Logf("%d of what is known are lost", lost)
			}
		})
	}
}
