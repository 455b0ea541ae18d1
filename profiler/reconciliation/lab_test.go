// SPDX-License-Identifier: Apache-2.0

package reconciliation

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
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
	"leakprof/profiler"
	"leakprof/profiler/bird/pagecache"
	"leakprof/profiler/bird/tree"
	"leakprof/profiler/live"
	"leakprof/profiler/snapshot"
)

func birds(t *testing.T) map[string]*lab.Binary {
	t.Helper()
	all := make(map[string]*lab.Binary)
	for _, root := range []string{"bird3-trixie", "bird2-sid", "bird3-sid"} {
		path, err := filepath.Abs(filepath.Join("../../.bird", root, "usr/sbin/bird"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(path); err != nil {
			t.Fatalf("BIRD %s is missing: scripts/bird-root %s", root, root)
		}
		if all[root], err = lab.Find(t.Context(), path); err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range filepath.SplitList(os.Getenv("LEAKPROF_BIRD_PATHS")) {
		var err error
		if all[filepath.Base(filepath.Dir(path))], err = lab.Find(t.Context(), path); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

type running struct {
	*lab.Bird
	control *birdc.Conn
	prof    *profiler.Profiler
	source  snapshot.Source
	reader  *tree.Reader
}

// start starts a BIRD with probes in place before its first instruction.
func start(t *testing.T, c lab.Config) *running {
	t.Helper()
	ctx := t.Context()
	c.PausedAtEntry = true
	l, err := lab.Start(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Stop(context.WithoutCancel(ctx)); err != nil {
			t.Error(err)
		}
	})
	r := &running{Bird: l}
	if r.prof, err = profiler.Attach(ctx, profiler.Options{PID: l.PID(), FromStart: true}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.prof.Close() })
	if err := l.Resume(); err != nil {
		t.Fatal(err)
	}
	if err := l.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	if r.control, err = birdc.Dial(ctx, l.Control()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.control.Close() })
	reader, err := tree.NewReader(r.prof.Process, r.prof.BIRD, tree.Options{})
	if err != nil {
		t.Fatal(err)
	}
	cache, err := pagecache.Find(r.prof.Process, r.prof.BIRD, r.prof.Modules()[0])
	if err != nil {
		t.Fatal(err)
	}
	r.reader = reader
	r.source = snapshot.Source{Counters: r.prof.Counters, Live: r.prof.Snapshot, Tree: reader, FreePages: cache}
	return r
}

// patience bounds the wait for BIRD on a loaded machine.
const patience = 60 * time.Second

// settled returns what is to be compared when BIRD rests: what it says of its
// memory is the same before and after.
func (r *running) settled(t *testing.T) Input {
	t.Helper()
	last := "it never answered twice the same"
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		before, err := r.control.ShowMemory(t.Context())
		if err != nil {
			t.Fatal(err, r.Err())
		}
		s, err := snapshot.Take(t.Context(), r.source, snapshot.Options{Timeout: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		after, err := r.control.ShowMemory(t.Context())
		if err != nil {
			t.Fatal(err, r.Err())
		}
		if !s.Quiet {
			last = s.Why
			continue
		}
		if before.Raw != after.Raw {
			continue
		}
		return r.input(s, before, after)
	}
	t.Fatalf("BIRD does not come to rest: %s", last)
	return Input{}
}

func (r *running) input(s *snapshot.Snapshot, memory ...*birdc.Memory) Input {
	return Input{
		Snapshot: s, Memory: memory,
		Process: r.prof.Process, BIRD: r.prof.BIRD, Tree: r.reader, Modules: r.prof.Modules(),
	}
}

func account(t *testing.T, in Input) *Account {
	t.Helper()
	a, err := New(in)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// check fails the test unless the live set is what BIRD has, to the byte.
func (r *running) check(t *testing.T, phase string) *Account {
	t.Helper()
	a := account(t, r.settled(t))
	var text strings.Builder
	if err := a.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	t.Logf("%s\n%s", phase, &text)
	if !a.Tree.Equal || len(a.Lines) < 6 {
		t.Errorf("%s: live set and tree differ", phase)
	}
	for _, l := range a.Lines {
		if l.WithinRounding == nil || !*l.WithinRounding {
			t.Errorf("%s: %s differs by %d bytes", phase, l.Name, l.Difference)
		}
	}
	for _, reason := range a.Tree.Reasons {
		if !reason.Known {
			t.Errorf("%s: not explained: %+v", phase, reason)
		}
	}
	if a.MissedReturns > 0 {
		t.Errorf("%s: %d returns of pages were missed", phase, a.MissedReturns)
	}
	if a.Control.Objects == 0 || a.Control.Effective == 0 {
		t.Errorf("%s: control connection %+v", phase, a.Control)
	}
	return a
}

// TestLab reconciles with Debian's BIRDs through a flood for which their station
// has no ears, a drop, and what frees many things at once.
func TestLab(t *testing.T) {
	for name, binary := range birds(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const peers, routes = 4, 20_000
			station := newStation(t)
			b := start(t, lab.Config{Binary: binary, Peers: peers, Station: netip.MustParseAddrPort(station.Addr().String())})
			select {
			case <-station.up:
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
			b.waitRoutes(t, peers*routes)
			a := b.check(t, "station stalls")
			// That BIRD has what it sends in pages came with 2.16.
			if n := a.of(socketPage).Objects; n != 1 {
				t.Errorf("%d pages in sockets, want the station's", n)
			}
			close(station.read)
			for deadline := time.Now().Add(patience); account(t, b.settled(t)).of(socketPage).Objects > 0; {
				if time.Now().After(deadline) {
					t.Fatal("BIRD does not send all to its station")
				}
			}
			b.check(t, "flooded")
			if err := speakers.Down(t.Context()); err != nil {
				t.Fatal(err)
			}
			b.waitRoutes(t, 0)
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

// TestBFD has pools that are not below Root: BIRD 2's of a thread of BFD's.
func TestBFD(t *testing.T) {
	t.Parallel()
	b := start(t, lab.Config{Binary: birds(t)["bird2-sid"], Peers: 1})
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
	b := start(t, lab.Config{Binary: birds(t)["bird3-trixie"], Peers: 1})
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
	for name, binary := range birds(t) {
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

func threadsOf(t *testing.T, pid int) []string {
	t.Helper()
	all, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/[0-9]*", pid))
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// waitRoutes waits until BIRD has so many routes in all tables.
func (r *running) waitRoutes(t *testing.T, want uint64) {
	t.Helper()
	var sum uint64
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		counts, err := r.control.ShowRouteCount(t.Context(), "table all")
		if err != nil {
			t.Fatal(err, r.Err())
		}
		sum = 0
		for _, c := range counts {
			sum += c.Total
		}
		if sum == want {
			return
		}
	}
	t.Fatalf("BIRD has %d routes, want %d", sum, want)
}

func (a *Account) of(reason string) (s Sum) {
	for _, r := range a.Tree.Reasons {
		if r.Reason == reason {
			s = r.Sum
		}
	}
	return s
}

// stallingStation accepts BMP connections, and reads from them while read is
// closed.
type stallingStation struct {
	net.Listener
	up   chan struct{} // receives when BIRD has connected
	read chan struct{}
}

func newStation(t *testing.T) *stallingStation {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &stallingStation{Listener: l, up: make(chan struct{}, 16), read: make(chan struct{})}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			// Accepted with a small buffer, so that BIRD has to keep the rest.
			c.(*net.TCPConn).SetReadBuffer(4096)
			s.up <- struct{}{}
			go func() {
				defer c.Close()
				<-s.read
				c.(*net.TCPConn).SetReadBuffer(1 << 20)
				io.Copy(io.Discard, c)
			}()
		}
	}()
	return s
}
