// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"leakprof/collector/bgp"
)

// Flood describes what the peers announce.
type Flood struct {
	Routes        int // per peer
	AttributeSets int // distinct sets of path attributes per peer; 0: as few as possible
	PerUpdate     int // most prefixes per UPDATE; 0: as many as fit
	// Overlap lets all peers announce the same prefixes.
	Overlap bool
	Drop    bgp.Drop
}

// Speakers are the peers of a lab's BIRD. They announce the same routes each
// time they come up.
type Speakers struct {
	remote   netip.AddrPort
	drop     bgp.Drop
	tables   []*bgp.Table
	speakers []*bgp.Speaker
}

// NewSpeakers encodes what n peers of a BIRD that listens at remote announce.
func NewSpeakers(remote netip.AddrPort, n int, f Flood) (*Speakers, error) {
	s := &Speakers{remote: remote, drop: f.Drop}
	for i := range n {
		t, err := bgp.Routes{
			Count: f.Routes, AttributeSets: f.AttributeSets, Overlap: f.Overlap, PerUpdate: f.PerUpdate,
			Peer: i, NextHop: PeerAddr(i), ASN: PeerASN(i),
		}.Encode()
		if err != nil {
			return nil, fmt.Errorf("encode routes of peer %d: %w", i+1, err)
		}
		s.tables = append(s.tables, t)
	}
	return s, nil
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

// Up brings all sessions up and then floods them all at once. It returns when
// BIRD has taken the last byte, which does not mean that it has done with it.
func (s *Speakers) Up(ctx context.Context) error {
	for i := range s.tables {
		sp, err := bgp.Dial(ctx, bgp.Config{
			Local: netip.AddrPortFrom(PeerAddr(i), 0), Remote: s.remote,
			ASN: PeerASN(i), RemoteASN: LocalASN, RouterID: PeerAddr(i),
		})
		if err != nil {
			return fmt.Errorf("bring up peer %d: %w", i+1, err)
		}
		s.speakers = append(s.speakers, sp)
	}
	return s.each(func(i int, sp *bgp.Speaker) error {
		if _, err := sp.Flood(ctx, s.tables[i]); err != nil {
			return fmt.Errorf("flood from peer %d: %w", i+1, err)
		}
		return sp.EndOfRIB(ctx)
	})
}

// Down ends all sessions.
func (s *Speakers) Down(ctx context.Context) error {
	err := s.each(func(i int, sp *bgp.Speaker) error {
		if err := sp.Drop(ctx, s.drop); err != nil {
			return fmt.Errorf("take down peer %d: %w", i+1, err)
		}
		return nil
	})
	s.speakers = nil
	return err
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
