// SPDX-License-Identifier: Apache-2.0

package reconciliation

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"leakprof/bpf"
	"leakprof/collector/birdc"
	"leakprof/collector/lab"
	"leakprof/collector/lab/labtest"
	"leakprof/profiler/bird/tree"
	"leakprof/profiler/live"
	"leakprof/profiler/snapshot"
)

// TestLab reconciles with Debian's BIRDs through a flood for which their station
// has no ears, a drop, and what frees many things at once.
func TestLab(t *testing.T) {
	for name, binary := range labtest.Binaries(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const peers, routes = 4, 20_000
			station := labtest.NewStation(t)
			b := start(t, lab.Config{Binary: binary, Peers: peers, Station: netip.MustParseAddrPort(station.Addr().String())})
			select {
			case <-station.Up:
			case <-time.After(patience):
				t.Fatal("BIRD does not connect to its station")
			}
			b.check(t, "before")
			speakers, err := lab.NewSpeakers(b.BGPAddr(), peers, lab.Flood{Routes: routes})
			if err != nil {
				t.Fatal(err)
			}
			if err := speakers.Up(t.Context()); err != nil {
				t.Fatal(err)
			}
			labtest.WaitRoutes(t, b.control, peers*routes)
			a := b.check(t, "station stalls")
			// BMP sends from pages since 2.16. BIRD 3.0 sends its station no routes.
			want := uint64(0)
			if b.sendsPages() && !strings.HasPrefix(b.Version(), "3.0.") {
				want = 1
			}
			if n := a.of(socketPage).Objects; n != want {
				t.Errorf("%d pages in sockets, want the station's", n)
			}
			close(station.Read)
			for deadline := time.Now().Add(patience); account(t, b.settled(t)).of(socketPage).Objects > 0; {
				if time.Now().After(deadline) {
					t.Fatal("BIRD does not send all to its station")
				}
			}
			b.check(t, "flooded")
			if err := speakers.Down(t.Context()); err != nil {
				t.Fatal(err)
			}
			labtest.WaitRoutes(t, b.control, 0)
			b.check(t, "dropped")
			for _, c := range []string{"disable all", "enable all", "configure"} {
				if _, err := b.control.Command(t.Context(), c); err != nil {
					t.Fatal(err)
				}
				b.check(t, c)
			}
		})
	}
}

// TestLate attaches when BIRD has its routes already.
func TestLate(t *testing.T) {
	for name, binary := range labtest.Binaries(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const peers, routes = 2, 5000
			b := launch(t, lab.Config{Binary: binary, Peers: peers})
			speakers, err := lab.NewSpeakers(b.BGPAddr(), peers, lab.Flood{Routes: routes})
			if err != nil {
				t.Fatal(err)
			}
			if err := speakers.Up(t.Context()); err != nil {
				t.Fatal(err)
			}
			control, err := birdc.Dial(t.Context(), b.Control())
			if err != nil {
				t.Fatal(err)
			}
			b.control = control
			labtest.WaitRoutes(t, b.control, peers*routes)
			control.Close()
			b.attach(t, false)
			if err := b.prof.Before.Unknown; err != nil || b.prof.Before.Blocks == 0 || b.prof.Before.Pages == 0 {
				t.Fatalf("taken in: %+v", b.prof.Before)
			}
			b.connect(t)
			b.check(t, "attached late")
			if err := speakers.Down(t.Context()); err != nil {
				t.Fatal(err)
			}
			labtest.WaitRoutes(t, b.control, 0)
			b.check(t, "dropped")
		})
	}
}

// TestBFD has pools that are not below Root: BIRD 2's of a thread of BFD's.
func TestBFD(t *testing.T) {
	t.Parallel()
	b := start(t, lab.Config{Binary: labtest.Binaries(t)["bird2-sid"], Peers: 1})
	text := b.ConfigText() + "protocol bfd bfd1 { neighbor 127.0.0.1 local 127.0.0.2; }\n"
	if err := os.WriteFile(filepath.Join(b.Dir(), "bird.conf"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := b.control.Command(t.Context(), "configure"); err != nil {
		t.Fatal(err)
	}
	a := b.check(t, "with BFD")
	found := slices.ContainsFunc(a.Tree.Reasons, func(r Reason) bool { return strings.Contains(r.Reason, "not below Root") })
	if !found {
		t.Error("no pool that is not below Root")
	}
	in := b.settled(t)
	in.Tree = nil
	if a := account(t, in); a.Tree.Equal || a.of(outsideTree).Objects == 0 {
		t.Errorf("without walking there: %+v", a.Tree)
	}
}

// TestDamage changes the live set, and wants each change found.
func TestDamage(t *testing.T) {
	t.Parallel()
	b := start(t, lab.Config{Binary: labtest.Binaries(t)["bird3-trixie"], Peers: 1})
	in := b.settled(t)
	whole := in.Snapshot.Live
	sockets := slices.Collect(func(yield func(tree.Block) bool) {
		for b := range in.Snapshot.Tree.Blocks() {
			if b.Class == "Socket" && !yield(b) {
				return
			}
		}
	})
	index := func(page bool) int {
		i := slices.IndexFunc(whole.Blocks, func(l live.Block) bool {
			path, class, ok := in.Snapshot.Tree.PoolOf(l.Address)
			return ok && l.IsPage() == page && strings.HasPrefix(path, "Root/Attributes") && class != "Pool" && (page || l.Size > 1024)
		})
		if i < 0 {
			t.Fatalf("nothing in Root/Attributes, page %v", page)
		}
		return i
	}
	for _, c := range []struct {
		name   string
		change func(blocks []live.Block) []live.Block
		where  string
		bytes  uint64 // of the reason
		lines  int    // that differ: that of the pool and Total, and Active pages
	}{
		{"nothing", func(l []live.Block) []live.Block { return l }, "", 0, 0},
		{"no block", func(l []live.Block) []live.Block { i := index(false); return slices.Delete(l, i, i+1) }, OnlyTree, whole.Blocks[index(false)].Size, 1},
		{"no page", func(l []live.Block) []live.Block { i := index(true); return slices.Delete(l, i, i+1) }, OnlyTree, 4096, 1},
		{"another size", func(l []live.Block) []live.Block { l[index(false)].Size++; return l }, WrongSize, whole.Blocks[index(false)].Size + 1, 0},
		{"block as page", func(l []live.Block) []live.Block { l[index(false)].Function = bpf.FunctionAllocPage; return l }, OnlyTree, whole.Blocks[index(false)].Size, 1},
		{"one page more", func(l []live.Block) []live.Block {
			return slices.Insert(l, 0, live.Block{Address: 0x10000, Size: 4096, Function: bpf.FunctionAllocPage})
		}, OnlyLive, 4096, 0},
		{"one resource more", func(l []live.Block) []live.Block {
			// Looks like a socket: it is one, a second time.
			i, _ := search(l, sockets[0].Address)
			return slices.Insert(l, i, live.Block{Address: sockets[0].Address, Size: sockets[0].Bytes})
		}, OnlyLive, sockets[0].Bytes, 0},
	} {
		l := *whole
		l.Blocks = c.change(slices.Clone(whole.Blocks))
		s := *in.Snapshot
		s.Live = &l
		changed := in
		changed.Snapshot = &s
		a := account(t, changed)
		if a.Tree.Equal != (c.where == "") {
			t.Errorf("%s: equal %v", c.name, a.Tree.Equal)
		}
		if c.where != "" && !slices.ContainsFunc(a.Tree.Reasons, func(r Reason) bool {
			return r.Where == c.where && !r.Known && r.Objects == 1 && r.Bytes == c.bytes
		}) {
			t.Errorf("%s: reasons %+v, want %s of %d bytes", c.name, a.Tree.Reasons, c.where, c.bytes)
		}
		differ := 0
		for _, l := range a.Lines {
			if !*l.WithinRounding {
				differ++
			}
		}
		if differ < c.lines {
			t.Errorf("%s: %d lines differ, want %d at least: %+v", c.name, differ, c.lines, a.Lines)
		}
	}

	s := *in.Snapshot
	s.Quiet, s.FreePages, s.FreePagesErr = false, nil, nil
	in.Snapshot = &s
	a := account(t, in)
	if a.Tree.Equal || a.Quiet || a.FreePages == "" {
		t.Errorf("not quiet: %+v", a)
	}
	for _, l := range a.Lines {
		if unknown := l.WithinRounding == nil; unknown != (l.Name == standbyLine || l.Name == totalLine || l.Name == keptLine || l.Name == coldLine) {
			t.Errorf("without free pages %s is %+v", l.Name, l)
		}
	}
	s.Tree = nil
	if _, err := New(in); !errors.Is(err, ErrNoTree) {
		t.Errorf("without tree: %v", err)
	}
}

// TestFrozen reconciles with a BIRD that never rests, and is stopped for it.
// Each of its threads may be between taking memory and entering it.
func TestFrozen(t *testing.T) {
	for name, binary := range labtest.Binaries(t) {
		t.Run(name, func(t *testing.T) {
			b := start(t, lab.Config{Binary: binary, Peers: 2})
			ctx, stop := context.WithCancel(t.Context())
			var flood sync.WaitGroup
			defer flood.Wait()
			defer stop()
			flood.Go(func() {
				for ctx.Err() == nil {
					speakers, err := lab.NewSpeakers(b.BGPAddr(), 2, lab.Flood{Routes: 20_000})
					if err != nil {
						t.Error(err)
						return
					}
					if err := speakers.Up(ctx); err == nil {
						speakers.Down(ctx)
					}
				}
			})
			const limit = 2 * time.Second
			frozen := 0
			for deadline := time.Now().Add(patience); frozen < 3; {
				if time.Now().After(deadline) {
					t.Fatal("BIRD was not stopped")
				}
				s, err := snapshot.Take(t.Context(), b.source, snapshot.Options{Attempts: 2, Freeze: limit})
				if err != nil {
					t.Fatal(err)
				}
				if !s.Quiet || s.Frozen == 0 {
					continue
				}
				frozen++
				a := account(t, b.input(s))
				apart := a.Tree.OnlyTree.Objects + a.of(outsideTree).Objects + a.of(outsidePage).Objects + a.of(outsideBIRD).Objects
				if threads := len(threadsOf(t, b.PID())); apart > uint64(threads) {
					t.Errorf("%d blocks and pages are in one only, with %d threads: %+v", apart, threads, a.Tree)
				}
				if s.Frozen > limit {
					t.Errorf("stopped for %v", s.Frozen)
				}
			}
		})
	}
}
