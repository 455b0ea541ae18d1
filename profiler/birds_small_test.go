// SPDX-License-Identifier: Apache-2.0

package profiler_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"leakprof/collector/bgp"
	"leakprof/collector/lab"
	"leakprof/collector/session"
	"leakprof/profiler/attribution"
	"leakprof/profiler/experiment"
	"leakprof/profiler/internal/cut"
	"leakprof/profiler/reachability"
	"leakprof/profiler/report"
	quiet "leakprof/profiler/snapshot"
)

const (
	smallCycles = 10
	smallSettle = 100 * time.Millisecond
	// smallBytes is what a small block has at most, with BIRD 3's header of 48.
	smallBytes  = 56 + 48
	noisyPeers  = 2
	noisyRoutes = 10000 // at most, of each
	// noise is by how much what is live after a cycle moves in all, at least, bytes.
	noise = 2 << 20
)

// TestManyCycles: where BIRD has no BMP, nothing grows in each of many cycles. What
// our own commands leave in BIRD 3.1.7 does.
func TestManyCycles(t *testing.T) {
	all := birds(t)[:1]
	if torture() {
		all = birds(t)
	}
	for _, binary := range all {
		t.Run(binary.name, func(t *testing.T) {
			t.Parallel()
			flood := lab.Flood{Routes: 500, AttributeSets: 50}
			l, end, err := startCut(t, binary, nil, cutConfig{peers: cutPeers, driven: cutPeers, flood: flood, withoutBMP: true})
			defer end()
			if err != nil {
				t.Fatal(err)
			}
			r, err := l.experiment(t.Context(), experiment.Config{
				Driver: l.speakers, Cycles: smallCycles, ThresholdObjects: 1, Session: session.Options{Settle: smallSettle},
			})
			if err != nil {
				t.Fatal(err)
			}
			t.Log(r.Verdict.Sentence)
			if r.Verdict.Kind != report.Clean {
				logRetained(t, &cutRun{result: r})
				t.Errorf("verdict %s, want clean", r.Verdict.Kind)
			}
			own := slices.ContainsFunc(r.Health, func(h report.Health) bool { return strings.Contains(h.Name, "own commands") })
			if want := l.control.Version() == "3.1.7"; own != want {
				t.Errorf("our own commands left something: %v, want %v", own, want)
			}
		})
	}
}

// testSmallLeak has a BIRD lose one small block each time that a peer goes down,
// while other peers come and go with megabytes of routes all the time: even so
// small a leak is found, and its stack named.
func testSmallLeak(t *testing.T, binary labBinary, sites []cut.Site, perCycle []uint64) {
	// BMP lies behind BGP in the program. What it releases once for each peer that
	// goes down does not go with that peer's pool.
	for i, site := range slices.Backward(sites) {
		if site.Release == "mb_free" && !site.Entry && perCycle[i] == cutPeers && losesSmall(t, binary, site) {
			return
		}
	}
	t.Error("no cut loses a small block for each peer that goes down")
}

// losesSmall makes a cut. It returns false if that is not one that loses a small
// block each time.
func losesSmall(t *testing.T, binary labBinary, site cut.Site) bool {
	t.Helper()
	ctx := t.Context()
	l, end, err := startCut(t, binary, &site, cutConfig{peers: 1 + noisyPeers, driven: 1, flood: lab.Flood{Routes: 500, AttributeSets: 50}})
	defer end()
	if err != nil {
		t.Logf("%s: BIRD does not live without it: %v", site, err)
		return false
	}
	// What goes with something else may take until the next session.
	if _, err := l.experiment(ctx, experiment.Config{Driver: l.speakers, Cycles: 1}); err != nil {
		t.Logf("%s: BIRD does not live without it: %v", site, err)
		return false
	}
	if stack, size := withheldStack(t, l); stack == 0 || size > smallBytes {
		t.Logf("%s: blocks of %d bytes, or none", site, size)
		return false
	}
	var noisy sync.WaitGroup
	defer noisy.Wait()
	noisyContext, calm := context.WithCancel(ctx)
	defer calm()
	for i := range noisyPeers {
		noisy.Go(func() {
			if err := flap(noisyContext, l.BGPAddr(), 1+i); err != nil {
				t.Errorf("peer %d: %v", 2+i, err)
			}
		})
	}
	r, err := l.experiment(ctx, experiment.Config{
		Driver: l.speakers, Peer: lab.PeerName(0), Cycles: smallCycles, Threshold: 256 << 10, ThresholdObjects: 1,
		Session: session.Options{Settle: smallSettle},
	})
	if err != nil {
		t.Fatal(err)
	}
	calm()
	noisy.Wait()
	if err := l.cut.Holds(); err != nil {
		t.Fatal(err)
	}
	stack, size := withheldStack(t, l)
	t.Logf("%s: %d bytes each. %s", site, size, r.Verdict.Sentence)
	if n := moves(r); n < noise {
		t.Errorf("there was little noise: what is live after a cycle moved by %d bytes in all", n)
	}
	if r.Verdict.Kind != report.Leak {
		t.Errorf("verdict %s, want leak", r.Verdict.Kind)
	}
	i := slices.IndexFunc(r.Retained, func(s attribution.Retained) bool { return s.Stack.Key == uint64(stack) })
	if i < 0 || r.Retained[i].EveryObjects == 0 {
		t.Fatalf("the stack of what was withheld is not said to grow in every cycle")
	}
	s := &r.Retained[i]
	for _, o := range r.Retained {
		if o.EveryObjects > 0 {
			t.Logf("%d in every cycle, %d of %d bytes in all, %s in %q, of what was withheld: %v", o.EveryObjects, o.Objects, o.Bytes, o.Class, o.Pool, o.Stack == s.Stack)
		}
	}
	// Of a BIRD that does not rest it is not known that they are lost.
	if s.Bytes != s.Objects*int64(size) || s.Objects < smallCycles || s.Reach() == reachability.Held {
		t.Errorf("%d objects of %d bytes in all are %v, want at least %d of %d", s.Objects, s.Bytes, s.Reach(), smallCycles, size)
	}
	return true
}

// withheldStack returns the stack of most of what a cut withheld, if all of it is
// there still, and how much each is; 0 if not.
func withheldStack(t *testing.T, l *cutLab) (stack uint32, size uint64) {
	t.Helper()
	_, withheld, err := l.cut.Withheld()
	if err != nil {
		t.Fatal(err)
	}
	s, err := l.prof.Look(t.Context(), quiet.Options{})
	if err != nil {
		t.Fatal(err)
	}
	stacks := make(map[uint32]int)
	for i, address := range withheld {
		k, n, ok := allocationOf(s.Live, address)
		if !ok || i > 0 && n != size {
			return 0, n
		}
		size = n
		if stacks[k]++; stacks[k] > stacks[stack] {
			stack = k
		}
	}
	return stack, size
}

// moves returns by how much what is live after a cycle moved up and down in all,
// bytes.
func moves(r *report.Result) (n uint64) {
	var last uint64
	for _, p := range r.Phases {
		if p.Name != string(session.Settled) {
			continue
		}
		bytes, _ := p.Heap.Totals()
		if last > 0 {
			n += max(bytes, last) - min(bytes, last)
		}
		last = bytes
	}
	return n
}

// flap brings a peer up and down, each time with other routes, until ctx ends.
func flap(ctx context.Context, remote netip.AddrPort, peer int) error {
	random := rand.New(rand.NewPCG(uint64(peer), 1))
	for ctx.Err() == nil {
		routes, stay := 100+random.IntN(noisyRoutes-100), time.Duration(random.Int64N(int64(4*smallSettle)))
		if err := comeAndGo(ctx, remote, peer, routes, stay); err != nil && ctx.Err() == nil {
			return err
		}
	}
	return nil
}

func comeAndGo(ctx context.Context, remote netip.AddrPort, peer, routes int, stay time.Duration) error {
	table, err := bgp.Routes{
		Count: routes, AttributeSets: 100, Peer: peer, NextHop: lab.PeerAddr(peer), ASN: lab.PeerASN(peer),
	}.Encode()
	if err != nil {
		return err
	}
	s, err := bgp.Dial(ctx, bgp.Config{
		Local: netip.AddrPortFrom(lab.PeerAddr(peer), 0), Remote: remote,
		ASN: lab.PeerASN(peer), RemoteASN: lab.LocalASN, RouterID: lab.PeerAddr(peer),
	})
	if err != nil {
		return err
	}
	_, err = s.Flood(ctx, table)
	select {
	case <-ctx.Done():
	case <-time.After(stay):
	}
	return errors.Join(err, s.Drop(context.WithoutCancel(ctx), bgp.DropNotification))
}
