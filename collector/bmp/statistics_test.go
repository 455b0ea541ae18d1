// SPDX-License-Identifier: Apache-2.0

package bmp

import (
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestParseStatisticsReport(t *testing.T) {
	h := peerHeader(PeerGlobal, FlagAdjRIBOut, "127.0.0.2")
	count := func(n byte) []byte { return []byte{0, 0, 0, n} }
	for _, tt := range []struct {
		name string
		body [][]byte
		want []Statistic
		skip int
		err  string
	}{
		{"none", [][]byte{count(0)}, nil, 0, ""},
		{"counter", [][]byte{count(1), tlv(0, "\x00\x00\x00\x05")}, []Statistic{{Type: 0, Value: 5}}, 0, ""},
		{"gauge", [][]byte{count(1), tlv(14, "\x00\x00\x00\x01\x00\x00\x00\x05")}, []Statistic{{Type: 14, Value: 1<<32 + 5}}, 0, ""},
		{"per family", [][]byte{count(2), tlv(9, "\x00\x02\x01\x00\x00\x00\x00\x00\x00\x00\x05"), tlv(17, "\x00\x01\x01\x00\x00\x00\x00\x00\x00\x00\x06")},
			[]Statistic{{9, IPv6Unicast, 5}, {17, IPv4Unicast, 6}}, 0, ""},
		{"unknown", [][]byte{count(2), tlv(18, "\x00\x00\x00\x05"), tlv(65535, "")}, nil, 2, ""},
		{"known, of another length", [][]byte{count(3), tlv(7, "\x00\x00\x00\x05"), tlv(0, ""), tlv(10, "\x00\x00\x00\x00\x00\x00\x00\x05")}, nil, 3, ""},
		{"fewer than it says", [][]byte{count(2), tlv(0, "\x00\x00\x00\x05")}, nil, 0, "1 statistics, want 2"},
		{"more than it says", [][]byte{count(0), tlv(0, "\x00\x00\x00\x05")}, nil, 0, "1 statistics, want 0"},
		{"4 G of them", [][]byte{{255, 255, 255, 255}}, nil, 0, "0 statistics, want 4294967295"},
		{"no count", [][]byte{{0, 0, 0}}, nil, 0, "45 bytes, need 46"},
		{"cut", [][]byte{count(1), {0, 0, 0, 4, 0}}, nil, 0, "type 0 of 4 bytes, 1 left"},
	} {
		body := slices.Concat(append([][]byte{h}, tt.body...)...)
		r, err := ParseStatisticsReport(body)
		if tt.err != "" {
			if err == nil || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("%s: error %v, want one with %q", tt.name, err, tt.err)
			}
			continue
		}
		if err != nil || !slices.Equal(r.Statistics, tt.want) || r.UnknownTLVs != tt.skip || r.RIB() != AdjRIBOutPre {
			t.Errorf("%s: %+v, error %v, want %+v and %d skipped", tt.name, r, err, tt.want, tt.skip)
		}
	}
}

func TestParseRouteMirroring(t *testing.T) {
	h := peerHeader(PeerGlobal, 0, "127.0.0.2")
	m, err := ParseRouteMirroring(slices.Concat(h, tlv(1, "\x00\x00"), tlv(0, "PDU"), tlv(1, "\x00\x01"), tlv(1, "x"), tlv(2, ""), tlv(1, "\x01\x00")))
	if err != nil || len(m.Messages) != 1 || string(m.Messages[0]) != "PDU" || m.UnknownTLVs != 2 ||
		!slices.Equal(m.Information, []MirroringInformation{ErroredPDU, MessagesLost, 256}) {
		t.Errorf("%+v, error %v", m, err)
	}
	for i, want := range []string{"Errored PDU", "Messages Lost", "information 256"} {
		if got := m.Information[i].String(); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	if _, err := ParseRouteMirroring(append(h, 0, 0, 0, 1)); err == nil {
		t.Error("a cut TLV goes unnoticed")
	}
}

func TestFlagNames(t *testing.T) {
	for _, tt := range []struct {
		typ   PeerType
		flags PeerFlags
		want  string
	}{
		{PeerGlobal, 0, ""},
		{PeerGlobal, FlagIPv6 | FlagPostPolicy | Flag2OctetAS | FlagAdjRIBOut | 0x0f, "VLAO"},
		{PeerRD, FlagAdjRIBOut, "O"},
		{PeerLocRIB, FlagFiltered, "F"},
		{PeerLocRIB, 0x7f, ""},
	} {
		h := PeerHeader{Peer: Peer{Type: tt.typ}, Flags: tt.flags}
		if got := strings.Join(h.FlagNames(), ""); got != tt.want {
			t.Errorf("%v %02x: %s, want %s", tt.typ, uint8(tt.flags), got, tt.want)
		}
	}
}

func TestDistinguisherText(t *testing.T) {
	for _, tt := range []struct {
		typ  PeerType
		d    uint64
		want string
	}{
		{PeerRD, 0x0000_fde8_0000_0001, "65000:1"},
		{PeerRD, 0x0001_c000_0201_0007, "192.0.2.1:7"},
		{PeerRD, 0x0002_000f_4240_0007, "1000000:7"},
		{PeerRD, 0x0003_0000_0000_0001, "0x0003000000000001"},
		{PeerLocRIB, 0x0000_fde8_0000_0001, "65000:1"},
		{PeerLocal, 1, "0x0000000000000001"},
	} {
		if got := (Peer{Type: tt.typ, Distinguisher: tt.d}).DistinguisherText(); got != tt.want {
			t.Errorf("%v %#x: %s, want %s", tt.typ, tt.d, got, tt.want)
		}
	}
}

// TestLocRIB wants that Loc-RIB instances are peers of their own, each by its
// distinguisher, that none is a BGP peer, and that its OPENs say how it encodes routes.
func TestLocRIB(t *testing.T) {
	main := peerHeader(PeerLocRIB, 0, "0.0.0.0")
	vrf := slices.Clone(main)
	vrf[9] = 7 // distinguisher
	up := func(h []byte, table string) []byte {
		m := frame(TypePeerUp, h, make([]byte, 20), openMessage(t, "02 06 45 04 00010103"), openMessage(t, "02 06 45 04 00010103"), tlv(3, table))
		return m
	}
	withPath := updateMessage(t, "", "400101 00", "00000001 18 010203 00000002 18 010203")
	s := listen(t, Options{})
	c := connect(t, s)
	c.Write(slices.Concat(initiation(), up(main, "master4"), up(vrf, "red"), frame(TypeRouteMonitoring, vrf, withPath)))
	all := await(t, s, func(counts Counts) bool { return counts.Announced == 2 })
	peers := all.Connections[0].Peers
	if len(peers) != 2 || peers[0].TableName != "master4" || peers[1].TableName != "red" || !peers[1].Up || peers[1].Peer.IsBGP() ||
		peers[1].RIBs[LocRIB].Announced != 2 || peers[1].Peer.String() != "Loc-RIB of 192.0.2.1 in 0:7" {
		t.Errorf("peers %+v", peers)
	}
	if all.UpPeers() != 0 || all.PeerUps != 0 || all.ByType[TypePeerUp] != 2 || all.MalformedUpdates != 0 {
		t.Errorf("%d peers up, counts %+v", all.UpPeers(), all.Totals)
	}
	c.CloseWrite()
	if _, end := events(t, s); end.PeersUp != 0 || end.Err != nil {
		t.Errorf("ended with %+v", end)
	}
}

// TestAdjRIBOut wants that routes before and after policy, in and out, are told apart, and
// their End-of-RIBs too (RFC 8671).
func TestAdjRIBOut(t *testing.T) {
	s := listen(t, Options{})
	flags := []PeerFlags{0, FlagPostPolicy, FlagAdjRIBOut, FlagAdjRIBOut | FlagPostPolicy}
	var messages [][]byte
	for i, f := range flags {
		h := peerHeader(PeerGlobal, f, "127.0.0.2")
		for range i + 1 {
			messages = append(messages, oneRoute(t, h))
		}
		messages = append(messages, frame(TypeRouteMonitoring, h, updateMessage(t, "", "800f 03 000201", "")))
	}
	c := connect(t, s)
	c.Write(slices.Concat(messages...))
	await(t, s, func(c Counts) bool { return c.EndOfRIBs == 4 })
	peers := s.Counts().Connections[0].Peers
	if len(peers) != 1 {
		t.Fatalf("peers %+v", peers)
	}
	var want []Dump
	for rib := range RIB(4) {
		want = append(want, Dump{rib, IPv6Unicast})
		if got := peers[0].RIBs[rib]; got.Announced != uint64(rib)+1 || got.EndOfRIBs != 1 {
			t.Errorf("%v: %+v", rib, got)
		}
	}
	if !reflect.DeepEqual(peers[0].Dumped, want) {
		t.Errorf("dumped %v, want %v", peers[0].Dumped, want)
	}
	// The next Peer Up begins new dumps.
	c.Write(peerUp(t, peerHeader(PeerGlobal, 0, "127.0.0.2"), "", ""))
	if again := await(t, s, func(c Counts) bool { return c.PeerUps == 1 }).Connections[0].Peers[0]; len(again.Dumped) != 0 {
		t.Errorf("dumped %v after a Peer Up", again.Dumped)
	}
}
