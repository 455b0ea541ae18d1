// SPDX-License-Identifier: Apache-2.0

package bmp

import (
	"bytes"
	"context"
	"errors"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"leakprof/collector/bgp"
	"leakprof/collector/birdc"
	"leakprof/collector/lab"
)

// birdRoots are what scripts/bird-root makes.
var birdRoots = []string{"bird3-trixie", "bird2-sid", "bird3-sid"}

// startBIRD starts a BIRD that reports to the station, and ends with the test or before.
// It has connected: to a station that comes after the peers, BIRD 3.1.7 does not report
// them.
func startBIRD(t *testing.T, s *Station, root string, peers int) *lab.Bird {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("../../.bird", root, "usr/sbin/bird"))
	if err != nil {
		t.Fatal(err)
	}
	binary, err := lab.Find(t.Context(), path)
	if err != nil {
		t.Fatalf("find BIRD: %v (scripts/bird-root %s makes it)", err, root)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	before := s.Counts().ByType[TypeInitiation]
	b, err := lab.Start(ctx, lab.Config{Binary: binary, Peers: peers, Station: s.Addr()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Stop(context.Background()) })
	await(t, s, func(c Counts) bool { return c.ByType[TypeInitiation] > before })
	return b
}

// flood brings the peers up and announces routes. BIRD may report some of them twice: as
// they come, and in the dump that a Peer Up begins.
func flood(t *testing.T, b *lab.Bird, peers int, f lab.Flood) *lab.Speakers {
	t.Helper()
	speakers, err := lab.NewSpeakers(b.BGPAddr(), peers, f)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := speakers.Up(ctx); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { speakers.Down(context.Background()) })
	return speakers
}

// TestBIRD has each BIRD through a whole session, recorded, and plays that again.
func TestBIRD(t *testing.T) {
	const peers, routes = 3, 100
	for _, root := range birdRoots {
		t.Run(root, func(t *testing.T) {
			var recording bytes.Buffer
			recorder, err := NewRecorder(&recording)
			if err != nil {
				t.Fatal(err)
			}
			var live, again history
			s := listen(t, live.options(Options{Record: recorder}))
			b := startBIRD(t, s, root, peers)
			speakers := flood(t, b, peers, lab.Flood{Routes: routes, Drop: bgp.DropNotification})
			c := await(t, s, func(c Counts) bool { return c.UpPeers() == peers && c.Announced >= peers*routes })
			conn := c.Connections[0]
			if conn.Initiation == nil || c.PeerUps != peers || c.MalformedUpdates+c.MalformedUpDowns+c.UnknownTypes+c.UnknownTLVs+c.BeforeInitiation != 0 {
				t.Errorf("counts %+v", c)
			}
			for i, p := range slices.SortedFunc(slices.Values(conn.Peers), func(a, b PeerCounts) int { return a.Peer.Addr.Compare(b.Peer.Addr) }) {
				if p.Peer.Type != PeerGlobal || p.Peer.Addr != lab.PeerAddr(i) || p.Peer.AS != lab.PeerASN(i) || p.Peer.BGPID != lab.PeerAddr(i) ||
					!p.Up || p.RIBs[AdjRIBInPre].Announced < routes || p.Routes().Announced != p.RIBs[AdjRIBInPre].Announced {
					t.Errorf("peer %d: %+v", i, p)
				}
			}

			if err := speakers.Down(t.Context()); err != nil {
				t.Fatal(err)
			}
			c = await(t, s, func(c Counts) bool { return c.PeerDowns == peers })
			for _, p := range c.Connections[0].Peers {
				// BIRD 3 names this reason for all ends.
				if want := []PeerDownReason{RemoteNotification, RemoteNoData}; p.Up || p.Downs != 1 || !slices.Contains(want, p.LastReason) {
					t.Errorf("peer %+v", p)
				}
			}
			if err := b.Stop(t.Context()); err != nil {
				t.Fatal(err)
			}
			if _, end := events(t, s); end.PeersUp != 0 || end.Offset != int64(s.Counts().Bytes) {
				t.Errorf("ended with %+v", end)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if _, err := replay(t, recording.Bytes(), MaxSpeed, again.options(Options{})); err != nil {
				t.Error(err)
			}
			if !reflect.DeepEqual(again.of, live.of) {
				t.Errorf("replayed:\n%v\nlive:\n%v", again.of, live.of)
			}
		})
	}
}

// TestSeveralBIRDs has all BIRDs at one station: each has its own peers, of the same
// addresses, and when one is gone the others go on.
func TestSeveralBIRDs(t *testing.T) {
	const routes = 50
	s := listen(t, Options{})
	var birds []*lab.Bird
	for i, root := range birdRoots {
		b := startBIRD(t, s, root, 2)
		flood(t, b, 2, lab.Flood{Routes: routes * (i + 1)})
		await(t, s, func(c Counts) bool {
			return len(c.Connections) == i+1 && c.Connections[i].Announced >= uint64(2*routes*(i+1))
		})
		birds = append(birds, b)
	}
	if n := s.Counts().UpPeers(); n != 6 {
		t.Errorf("%d peers up, want 6", n)
	}
	if err := birds[1].Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	c := await(t, s, func(c Counts) bool { return c.UpPeers() == 4 })
	for _, conn := range c.Connections {
		if conn.Open != (conn.Connection != 2) || len(conn.Peers) != 2 {
			t.Errorf("connection %+v", conn)
		}
	}
}

// pending is what BIRD has in its queue to the station, in bytes.
func pending(t *testing.T, b *lab.Bird) int64 {
	t.Helper()
	control, err := birdc.Dial(t.Context(), b.Control())
	if err != nil {
		t.Fatal(err)
	}
	defer control.Close()
	lines, err := control.ProtocolDetails(t.Context(), lab.BMPName)
	if err != nil {
		t.Fatal(err)
	}
	all := strings.Join(lines, "\n")
	m := regexp.MustCompile(`Pending TX: +([0-9.]+) +(k?)B`).FindStringSubmatch(all)
	if m == nil {
		t.Fatalf("no Pending TX in:\n%s", all)
	}
	n, err := strconv.ParseFloat(m[1], 64)
	if err != nil {
		t.Fatal(err)
	}
	if m[2] == "k" {
		n *= 1024
	}
	return int64(n)
}

// TestBIRDWaits makes a BIRD's queue grow by a station that stalls after its first
// messages, and empties it by resuming; and again on demand.
func TestBIRDWaits(t *testing.T) {
	const routes, after = 60_000, 10
	s := listen(t, Options{Behavior: StallAfter(after), ReceiveBuffer: 4096})
	b := startBIRD(t, s, "bird2-sid", 1)
	speakers := flood(t, b, 1, lab.Flood{Routes: routes, Drop: bgp.DropReset})
	waiting := func() {
		t.Helper()
		for deadline := time.Now().Add(30 * time.Second); pending(t, b) < 1<<20; {
			if time.Now().After(deadline) {
				t.Fatalf("after 30 s of stall BIRD's queue has %d bytes", pending(t, b))
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
	taken := func(c Counts) (n uint64) {
		for _, of := range c.ByType {
			n += of
		}
		return n
	}
	waiting()
	if n := taken(s.Counts()); n != after {
		t.Errorf("the stalled station took %d messages, want %d", n, after)
	}
	s.Resume()
	await(t, s, func(c Counts) bool { return c.Announced >= routes && c.UpPeers() == 1 })
	if n := pending(t, b); n != 0 {
		t.Errorf("BIRD's queue has %d bytes when all has been taken", n)
	}

	announced := s.Counts().Announced
	s.Stall()
	if err := speakers.Down(t.Context()); err != nil {
		t.Fatal(err)
	}
	flood(t, b, 1, lab.Flood{Routes: routes})
	waiting()
	if c := s.Counts(); c.PeerDowns != 0 || c.Announced != announced || !s.Stalled() {
		t.Errorf("counts %+v in a stall", c.Totals)
	}
	s.Resume()
	await(t, s, func(c Counts) bool { return c.PeerDowns == 1 && c.PeerUps == 2 && c.Announced >= announced+routes })
}

// TestBIRDComesBack closes the connection of a BIRD, which comes back after its retry
// time of 10 s and repeats its Peer Ups.
func TestBIRDComesBack(t *testing.T) {
	t.Parallel()
	s := listen(t, Options{})
	b := startBIRD(t, s, "bird2-sid", 1)
	flood(t, b, 1, lab.Flood{Routes: 10})
	await(t, s, func(c Counts) bool { return c.UpPeers() == 1 && c.Announced >= 10 })
	s.CloseConnections()
	if _, end := events(t, s); !errors.Is(end.Err, ErrClosedByStation) || end.PeersUp != 1 {
		t.Errorf("ended with %+v", end)
	}
	if n := s.Counts().UpPeers(); n != 0 {
		t.Errorf("%d peers are up without a connection", n)
	}
	await(t, s, func(c Counts) bool { return c.Accepted == 2 && c.UpPeers() == 1 })
}
