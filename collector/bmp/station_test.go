// SPDX-License-Identifier: Apache-2.0

package bmp

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func listen(t testing.TB, opts Options) *Station {
	t.Helper()
	opts.Addr = netip.MustParseAddrPort("127.0.0.1:0")
	s, err := Listen(context.Background(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func connect(t testing.TB, s *Station) *net.TCPConn {
	t.Helper()
	c, err := net.DialTCP("tcp", nil, net.TCPAddrFromAddrPort(s.Addr()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// send writes to a new connection and closes it.
func send(t testing.TB, s *Station, messages ...[]byte) {
	t.Helper()
	c := connect(t, s)
	c.Write(bytes.Join(messages, nil)) // the station may have hung up
	c.CloseWrite()
}

// events reads events up to the end of a connection.
func events(t testing.TB, s *Station) (all []EventBody, end Disconnected) {
	t.Helper()
	timeout := time.After(30 * time.Second)
	for {
		select {
		case e, ok := <-s.Events():
			if !ok {
				t.Fatal("events end without Disconnected")
			}
			all = append(all, e.Body)
			if d, ok := e.Body.(Disconnected); ok {
				return all, d
			}
		case <-timeout:
			t.Fatalf("no Disconnected after %d events", len(all))
		}
	}
}

// TestRecordedSessions plays what BIRDs sent: four peers with six routes each come up, two
// go down with a NOTIFICATION and two with a reset. The golden files show that BIRD before
// 2.14 says nothing of a reset, and that BIRD 3 withdraws routes and names no reason.
func TestRecordedSessions(t *testing.T) {
	files, err := filepath.Glob("testdata/*.bmp")
	if err != nil || len(files) == 0 {
		t.Fatal("no recordings in testdata", err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".bmp")
		t.Run(name, func(t *testing.T) {
			recording, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var routes strings.Builder
			s := listen(t, Options{OnMessage: func(m Message) {
				if m.Type != TypeRouteMonitoring {
					return
				}
				u, err := DecodeRouteMonitoring(m.Bytes[commonLen:], m.AddPath...)
				if err != nil {
					t.Error(err)
					return
				}
				fmt.Fprintf(&routes, "%v %v: +%v -%v path %v next hop %v communities %x end %v\n",
					u.Peer, u.RIB(), u.Announced, u.Withdrawn, u.ASPath, u.NextHop, u.Communities, u.EndOfRIB)
			}})
			c := connect(t, s)
			for b := recording; len(b) > 0; {
				n := min(len(b), 997)
				if _, err := c.Write(b[:n]); err != nil {
					t.Fatal(err)
				}
				b = b[n:]
			}
			c.CloseWrite()
			all, end := events(t, s)
			if end.Err != nil || end.Offset != int64(len(recording)) {
				t.Errorf("ended with %+v, want no error after %d bytes", end, len(recording))
			}

			var got strings.Builder
			for _, e := range all[1:] { // Connected has a port
				fmt.Fprintf(&got, "%T %+v\n", e, e)
			}
			got.WriteString(routes.String())
			counts := s.Counts()
			counts.LastMessage = time.Time{}
			fmt.Fprintf(&got, "%+v\n", counts.Totals)
			for _, p := range counts.Connections[0].Peers {
				fmt.Fprintf(&got, "%v up %v, %d ups, %d downs, %+v\n", p.Peer, p.Up, p.Ups, p.Downs, p.Routes())
			}
			golden := filepath.Join("testdata", name+".golden")
			if *update {
				if err := os.WriteFile(golden, []byte(got.String()), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got.String() != string(want) {
				t.Errorf("differs from %s (rewrite it with -update):\n%s", golden, got.String())
			}
		})
	}
}

// TestMalformed wants that a bad message ends its connection, with the reason and the
// place, and nothing else.
func TestMalformed(t *testing.T) {
	h := peerHeader(PeerGlobal, 0, "127.0.0.2")
	for _, tt := range []struct {
		name, want string
		message    []byte
	}{
		{"version", "version 1, want 3", []byte{1, 0, 0, 0, 6, 4}},
		{"text", "version 71, want 3", []byte("GET / HTTP/1.1\r\n\r\n")},
		{"length 0", "of 0 bytes", []byte{3, 0, 0, 0, 0, 4}},
		{"length 5", "of 5 bytes", []byte{3, 0, 0, 0, 5, 4}},
		{"length 5 of an unknown type", "message type 99 of 5 bytes", []byte{3, 0, 0, 0, 5, 99}},
		{"length of 4 GB", "of 4294967295 bytes", []byte{3, 0xff, 0xff, 0xff, 0xff, 4}},
		{"length beyond the limit", "want 6 to 1048576", []byte{3, 0, 0x10, 0, 1, 4}},
		{"unknown type beyond the limit", "message type 99 of", []byte{3, 0, 0x10, 0, 1, 99}},
		{"no per-peer header", "Route Monitoring of 47 bytes: want at least 48", frame(TypeRouteMonitoring, h[1:])},
		{"short Peer Up", "Peer Up Notification of 67 bytes", frame(TypePeerUp, h, make([]byte, 19))},
		{"short Peer Down", "Peer Down Notification of 48 bytes", frame(TypePeerDown, h)},
		{"TLV header", "header of 3 bytes", frame(TypeInitiation, []byte{0, 1, 0})},
		{"TLV", "type 1 of 2 bytes, 1 left", frame(TypeInitiation, []byte{0, 1, 0, 2, 'x'})},
		{"termination reason", "reason of 1 bytes", frame(TypeTermination, tlv(1, "x"))},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := listen(t, Options{})
			bystander := connect(t, s)
			for s.Counts().Accepted == 0 {
				time.Sleep(time.Millisecond)
			}
			send(t, s, initiation(), tt.message, initiation())
			_, end := events(t, s)
			var m *MalformedError
			if !errors.As(end.Err, &m) || !strings.Contains(m.Error(), tt.want) {
				t.Fatalf("ended with %v, want %q", end.Err, tt.want)
			}
			if at := int64(len(initiation())); m.Offset != at || end.Offset != at {
				t.Errorf("offset %d and %d, want %d", m.Offset, end.Offset, at)
			}
			if c := s.Counts(); c.MalformedMessages != 1 || c.ByType[TypeInitiation] != 1 {
				t.Errorf("counts %+v", c)
			}
			bystander.Write(initiation())
			bystander.CloseWrite()
			if _, end := events(t, s); end.Err != nil {
				t.Errorf("the other connection ended with %v", end.Err)
			}
		})
	}
}

func TestCut(t *testing.T) {
	s := listen(t, Options{})
	send(t, s, initiation(), initiation()[:9])
	if _, end := events(t, s); !errors.Is(end.Err, io.ErrUnexpectedEOF) || end.Offset != int64(len(initiation())) {
		t.Errorf("ended with %+v", end)
	}
}

func TestMessagesAreCounted(t *testing.T) {
	s := listen(t, Options{})
	h := peerHeader(PeerGlobal, 0, "127.0.0.2")
	post := peerHeader(PeerGlobal, FlagPostPolicy, "127.0.0.2")
	locRIB := peerHeader(PeerLocRIB, FlagFiltered, "0.0.0.0")
	messages := [][]byte{
		oneRoute(t, h), // before the Initiation, as old BIRDs do
		initiation(),
		peerUp(t, h, "", ""),
		oneRoute(t, h), oneRoute(t, post), oneRoute(t, locRIB),
		frame(TypeRouteMonitoring, h, updateMessage(t, "", "", "")),                  // End-of-RIB
		frame(TypeRouteMonitoring, h, updateMessage(t, "18 010203 10 0102", "", "")), // two withdrawn
		frame(TypeRouteMonitoring, h, []byte("no UPDATE")),
		frame(TypeStatisticsReport, h, []byte{0, 0, 0, 3}, tlv(7, "\x00\x00\x00\x00\x00\x00\x00\x05"), tlv(7, "shrt"), tlv(99, "new")),
		frame(TypeRouteMirroring, h, tlv(1, "\x00\x01"), tlv(0, "no BGP"), tlv(0, ""), tlv(9, "new")),
		frame(99, []byte("new")), frame(7),
		frame(TypePeerUp, locRIB, make([]byte, 20), openMessage(t, ""), openMessage(t, ""), tlv(3, "master4"), tlv(9, "new")),
		frame(TypePeerDown, h, []byte{4}),
		frame(TypePeerDown, locRIB, []byte{6}, tlv(3, "master4"), tlv(9, "new")),
		frame(TypeTermination, tlv(1, "\x00\x03"), tlv(0, "bye"), tlv(9, "new")),
	}
	send(t, s, messages...)
	all, end := events(t, s)
	if end.Err != nil || end.PeersUp != 0 {
		t.Errorf("ended with %+v", end)
	}
	var kinds []string
	for _, e := range all {
		kinds = append(kinds, strings.TrimPrefix(fmt.Sprintf("%T", e), "bmp."))
	}
	if got := strings.Join(kinds, " "); got != "Connected Initiation PeerUp EndOfRIB StatisticsReport PeerUp PeerDown PeerDown Termination Disconnected" {
		t.Errorf("events %s", got)
	}
	if in := all[1].(Initiation); in.SysName != "r1" || in.SysDescr != "a router" || len(in.Info) != 1 || in.Info[0] != "hello" {
		t.Errorf("%+v", in)
	}
	if term := all[8].(Termination); term.Reason.String() != "Redundant connection" || term.Info[0] != "bye" {
		t.Errorf("%+v", term)
	}

	c := s.Counts()
	want := Totals{
		RouteCounts:      RouteCounts{Messages: 7, Announced: 4, Withdrawn: 2, EndOfRIBs: 1},
		ByType:           [numTypes]uint64{7, 1, 2, 2, 1, 1, 1},
		UnknownTypes:     2,
		UnknownTLVs:      6,
		PeerUps:          1,
		PeerDowns:        1,
		MirroredMessages: 2,
		MirroringLosses:  1,
		Bytes:            uint64(len(bytes.Join(messages, nil))),
		BeforeInitiation: 1,
		MalformedUpdates: 1,
		LastMessage:      c.LastMessage,
	}
	if c.Totals != want || c.LastMessage.IsZero() {
		t.Errorf("totals %+v, want %+v", c.Totals, want)
	}
	peers := c.Connections[0].Peers
	if len(peers) != 2 || peers[0].Peer.Addr.String() != "127.0.0.2" || peers[1].Peer.Type != PeerLocRIB {
		t.Fatalf("peers %+v", peers)
	}
	for rib, n := range [numRIBs]uint64{AdjRIBInPre: 2, AdjRIBInPost: 1} {
		if peers[0].RIBs[rib].Announced != n {
			t.Errorf("%v has %d announced, want %d", RIB(rib), peers[0].RIBs[rib].Announced, n)
		}
	}
	if peers[1].RIBs[LocRIB].Announced != 1 || peers[0].Up || peers[0].Ups != 1 || peers[0].Downs != 1 {
		t.Errorf("peers %+v", peers)
	}
	if p := peers[0]; p.LastReason != RemoteNoData || p.Changed.IsZero() || !slices.Equal(p.Dumped, []Dump{{AdjRIBInPre, IPv4Unicast}}) ||
		!slices.Equal(p.Statistics, []Statistic{{Type: 7, Value: 5}}) {
		t.Errorf("peer %+v", p)
	}
	if p := peers[1]; p.LastReason != LocalTLVs || p.TableName != "master4" || p.Up || p.Flags != FlagFiltered {
		t.Errorf("Loc-RIB %+v", p)
	}
}

// TestLargeMessages sends messages greater than the read buffer, byte boundaries and all.
func TestLargeMessages(t *testing.T) {
	s := listen(t, Options{})
	large := frame(99, make([]byte, DefaultMaxMessage-commonLen))
	send(t, s, initiation(), large, initiation(), large, initiation())
	if _, end := events(t, s); end.Err != nil {
		t.Fatal(end.Err)
	}
	if c := s.Counts(); c.UnknownTypes != 2 || c.ByType[TypeInitiation] != 3 {
		t.Errorf("counts %+v", c.Totals)
	}
}

func TestClose(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s, err := Listen(ctx, Options{Addr: netip.MustParseAddrPort("127.0.0.1:0")})
	if err != nil {
		t.Fatal(err)
	}
	c := connect(t, s)
	c.Write(peerUp(t, peerHeader(PeerGlobal, 0, "127.0.0.2"), "", ""))
	for s.Counts().UpPeers() != 1 {
		time.Sleep(time.Millisecond)
	}
	cancel()
	if _, end := events(t, s); !errors.Is(end.Err, context.Canceled) || end.PeersUp != 1 {
		t.Errorf("ended with %+v", end)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if _, ok := <-s.Events(); ok {
		t.Error("events go on after Close")
	}
	if s.Counts().UpPeers() != 0 {
		t.Error("peers are up without a connection")
	}
	if _, err := Listen(t.Context(), Options{MaxMessage: 5}); err == nil {
		t.Error("a limit of 5 bytes is taken")
	}
	if _, err := Listen(t.Context(), Options{Addr: netip.MustParseAddrPort("203.0.113.1:1")}); err == nil {
		t.Error("listens at an address of somebody else")
	}
}
