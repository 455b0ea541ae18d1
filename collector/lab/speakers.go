// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"leakprof/collector/bgp"
)

// Flood describes what the peers announce.
type Flood struct {
	Routes        int // per peer
	IPv6          int // of the Routes, how many are IPv6
	AttributeSets int // distinct sets of path attributes per peer; 0: as few as possible
	PerUpdate     int // most prefixes per UPDATE; 0: as many as fit
	// Overlap lets all peers announce the same prefixes.
	Overlap bool
	// Dump is announced instead of all these, if it is not nil.
	Dump *Dump
	// Churn is how many routes a second, over all peers, are withdrawn and announced again
	// once all are there; 0: none. It goes on for ChurnFor.
	Churn    float64
	ChurnFor time.Duration
	// Drop is how the sessions are ended.
	Drop bgp.Drop
}

// HasIPv6 says whether some routes are IPv6, for which the lab needs Config.IPv6.
func (f Flood) HasIPv6() bool {
	if f.Dump != nil {
		return f.Dump.Stats.IPv6 > 0
	}
	return f.IPv6 > 0
}

// peerIdentity is what peer i puts into its routes. Where they go into the kernel's table
// their next hops must resolve.
func peerIdentity(i int, kernel bool) bgp.Identity {
	id := bgp.Identity{ASN: PeerASN(i), NextHop: PeerAddr(i)}
	if kernel {
		hop := nextHops.Addr().As4()
		hop[3] = byte(2 + i)
		id.NextHop = netip.AddrFrom4(hop)
	}
	hop := netip.MustParseAddr("2001:db8::").As16() // RFC 3849
	hop[15] = byte(2 + i)
	id.NextHop6 = netip.AddrFrom16(hop)
	return id
}

// Dump is what peers announce of an MRT table dump.
type Dump struct {
	Stats  bgp.DumpStats
	tables []*bgp.Table
}

// ReadDump reads the routes of a table dump that as many peers are to announce, at most
// perPeer each if that is not 0, for a lab with Config.Kernel or without. progress is as
// in bgp.Dump.
func ReadDump(ctx context.Context, path string, peers, perPeer int, kernel bool, progress func(read, size int64, routes int)) (*Dump, error) {
	d := bgp.Dump{PerPeer: perPeer, Avoid: LocalASN, Progress: progress}
	for i := range peers {
		d.Peers = append(d.Peers, peerIdentity(i, kernel))
	}
	tables, stats, err := d.Read(ctx, path)
	if err != nil {
		return nil, err
	}
	return &Dump{Stats: stats, tables: tables}, nil
}

const (
	// silentHoldTime is the hold time of sessions that are to end by silence: the least
	// that RFC 4271 §4.2 allows, and the time that dropping them takes.
	silentHoldTime = 3 * time.Second
	// silentPatience is how long we wait for a BIRD that is too busy for its KEEPALIVEs.
	silentPatience = 2 * time.Minute
)

// Speakers are the peers of a lab's BIRD. They announce the same routes each
// time they come up.
type Speakers struct {
	remote   netip.AddrPort
	flood    Flood
	net      *Namespace
	tables   []*bgp.Table
	prefixes routeCounts  // distinct ones
	kernel   *kernelTable // nil: nobody waits for it
	before   *routeCounts // in the kernel, other than ours: a user's configuration may have some
	shared   bool         // with routes of a user's configuration, which nobody can foretell
	speakers []*bgp.Speaker

	mu    sync.Mutex
	doing string
}

// NewSpeakers encodes what n peers of a BIRD that listens at remote announce. It is for
// a BIRD in this process's network namespace; others have Bird.Speakers.
func NewSpeakers(remote netip.AddrPort, n int, f Flood) (*Speakers, error) {
	return newSpeakers(remote, n, f, false)
}

// Speakers encodes what the peers of this BIRD announce. Close ends them.
func (b *Bird) Speakers(f Flood) (*Speakers, error) {
	if f.HasIPv6() && !b.config.IPv6 {
		return nil, errors.New("encode routes: some are IPv6, and the lab has no IPv6")
	}
	s, err := newSpeakers(b.bgp, b.config.Peers, f, b.config.Kernel)
	if err != nil {
		return nil, err
	}
	s.net, s.shared = b.config.Namespace, b.config.Include != ""
	if b.config.Kernel {
		if s.kernel, err = openKernelTable(s.net); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func newSpeakers(remote netip.AddrPort, n int, f Flood, kernel bool) (*Speakers, error) {
	s := &Speakers{remote: remote, flood: f}
	if f.Dump != nil {
		if len(f.Dump.tables) != n {
			return nil, fmt.Errorf("encode routes: the dump was read for %d peers, there are %d", len(f.Dump.tables), n)
		}
		s.tables = f.Dump.tables
		s.prefixes = routeCounts{f.Dump.Stats.Prefixes - f.Dump.Stats.IPv6, f.Dump.Stats.IPv6}
		return s, nil
	}
	for i := range n {
		id := peerIdentity(i, kernel)
		t, err := bgp.Routes{
			Count: f.Routes, IPv6: f.IPv6, AttributeSets: f.AttributeSets, Overlap: f.Overlap, PerUpdate: f.PerUpdate,
			Peer: i, NextHop: id.NextHop, NextHop6: id.NextHop6, ASN: id.ASN,
		}.Encode()
		if err != nil {
			return nil, fmt.Errorf("encode routes of peer %d: %w", i+1, err)
		}
		s.tables = append(s.tables, t)
		if i == 0 || !f.Overlap {
			s.prefixes.ipv4 += t.Prefixes() - t.IPv6()
			s.prefixes.ipv6 += t.IPv6()
		}
	}
	return s, nil
}

// Close ends the sessions, without a word, and what else was open.
func (s *Speakers) Close() {
	s.each(func(_ int, sp *bgp.Speaker) error { return sp.Drop(context.Background(), bgp.DropReset) })
	s.speakers = nil
	if s.kernel != nil {
		s.kernel.close()
		s.kernel = nil
	}
}

// Routes is how many routes BIRD has when all peers have announced theirs.
func (s *Speakers) Routes() int64 {
	var sum int64
	for _, t := range s.tables {
		sum += int64(t.Prefixes())
	}
	return sum
}

// Messages is how many UPDATE messages the peers send.
func (s *Speakers) Messages() int {
	sum := 0
	for _, t := range s.tables {
		sum += t.Messages()
	}
	return sum
}

// Doing says in words what Up or Down is at; "" if neither runs. It may be called
// concurrently.
func (s *Speakers) Doing() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.doing
}

func (s *Speakers) does(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.doing = fmt.Sprintf(format, args...)
}

// Up brings all sessions up, floods them all at once, waits until the routes are in the
// kernel's table where they go there, and then lets them churn. It returns when BIRD has
// taken the last byte, which does not mean that it has done with it.
func (s *Speakers) Up(ctx context.Context) error {
	defer s.does("")
	if err := s.countBefore(); err != nil {
		return err
	}
	s.does("sessions coming up")
	if err := s.net.Do(func() error { return s.dial(ctx) }); err != nil {
		return err
	}
	s.does("speakers sending")
	if err := s.each(func(i int, sp *bgp.Speaker) error {
		if _, err := sp.Flood(ctx, s.tables[i]); err != nil {
			return fmt.Errorf("flood from peer %d: %w", i+1, err)
		}
		return sp.EndOfRIB(ctx)
	}); err != nil {
		return err
	}
	if err := s.awaitKernel(ctx, s.prefixes); err != nil || s.flood.Churn <= 0 {
		return err
	}
	if err := s.churn(ctx); err != nil {
		return err
	}
	return s.awaitKernel(ctx, s.prefixes)
}

// dial brings all sessions up.
func (s *Speakers) dial(ctx context.Context) error {
	for i := range s.tables {
		c := bgp.Config{
			Local: netip.AddrPortFrom(PeerAddr(i), 0), Remote: s.remote,
			ASN: PeerASN(i), RemoteASN: LocalASN, RouterID: PeerAddr(i), IPv6: s.prefixes.ipv6 > 0,
		}
		if s.flood.Drop == bgp.DropSilence {
			c.HoldTime, c.Patience = silentHoldTime, silentPatience
		}
		sp, err := bgp.Dial(ctx, c)
		if err != nil {
			return fmt.Errorf("bring up peer %d: %w", i+1, err)
		}
		s.speakers = append(s.speakers, sp)
	}
	return nil
}

// stillFor is for how long a kernel's table that is shared has to stand still if the number
// of its routes is not what was expected: a user's configuration may have routes that come
// late, or that are preferred to ours.
const stillFor = 3 * time.Second

// awaitKernel waits until ours have been put into the kernel's table or taken out, beside
// those that were there before.
func (s *Speakers) awaitKernel(ctx context.Context, ours routeCounts) error {
	if s.kernel == nil {
		return nil
	}
	want := routeCounts{s.before.ipv4 + ours.ipv4, s.before.ipv6 + ours.ipv6}
	still := time.Duration(0)
	if s.shared {
		still = stillFor
	}
	return s.kernel.await(ctx, func(have routeCounts) bool {
		if ours.total() == 0 {
			return have.ipv4 <= want.ipv4 && have.ipv6 <= want.ipv6
		}
		return have.ipv4 >= want.ipv4 && have.ipv6 >= want.ipv6
	}, still, func(have routeCounts) {
		s.does("%d routes in the kernel, to be %d", have.total(), want.total())
	})
}

// countBefore counts what is in the kernel's table before the first flood.
func (s *Speakers) countBefore() error {
	if s.kernel == nil || s.before != nil {
		return nil
	}
	before, err := s.kernel.counts()
	if err != nil && !errors.Is(err, errChanged) {
		return err
	}
	s.before = &before
	return nil
}

// churn lets each peer do its share of the churn.
func (s *Speakers) churn(ctx context.Context) error {
	s.does("churn of %g routes/s for %v", s.flood.Churn, s.flood.ChurnFor)
	return s.each(func(i int, sp *bgp.Speaker) error {
		if _, err := sp.Churn(ctx, s.tables[i], s.flood.Churn/float64(len(s.tables)), s.flood.ChurnFor); err != nil {
			return fmt.Errorf("churn of peer %d: %w", i+1, err)
		}
		return nil
	})
}

// Down ends all sessions, and waits until their routes are gone from the kernel's table
// where they were there.
func (s *Speakers) Down(ctx context.Context) error {
	defer s.does("")
	s.does("sessions going down by %v", s.flood.Drop)
	err := s.each(func(i int, sp *bgp.Speaker) error {
		if err := sp.Drop(ctx, s.flood.Drop); err != nil {
			return fmt.Errorf("take down peer %d: %w", i+1, err)
		}
		return nil
	})
	s.speakers = nil
	if err != nil {
		return err
	}
	return s.awaitKernel(ctx, routeCounts{})
}

func (s *Speakers) each(f func(int, *bgp.Speaker) error) error {
	errs := make(chan error, len(s.speakers))
	for i, sp := range s.speakers {
		go func() { errs <- f(i, sp) }()
	}
	var all []error
	for range s.speakers {
		all = append(all, <-errs)
	}
	return errors.Join(all...)
}

// Dropped counts sessions that have ended although nobody asked them to, and
// returns the reason of one of them.
func (s *Speakers) Dropped() (n int, why error) {
	for _, sp := range s.speakers {
		select {
		case <-sp.Done():
			n, why = n+1, sp.Err()
		default:
		}
	}
	return n, why
}
