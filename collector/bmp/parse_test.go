// SPDX-License-Identifier: Apache-2.0

package bmp

import (
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	gobgp "github.com/osrg/gobgp/v3/pkg/packet/bgp"
	gobmp "github.com/osrg/gobgp/v3/pkg/packet/bmp"
)

func TestParsePeerHeader(t *testing.T) {
	for _, tt := range []struct {
		typ        PeerType
		flags      PeerFlags
		addr       string
		want, kind string
		rib        RIB
	}{
		{PeerGlobal, 0, "192.0.2.9", "192.0.2.9 AS65001", "Global Instance Peer", AdjRIBInPre},
		{PeerGlobal, FlagPostPolicy, "192.0.2.9", "192.0.2.9 AS65001", "Global Instance Peer", AdjRIBInPost},
		{PeerRD, FlagIPv6 | FlagAdjRIBOut, "2001:db8::9", "2001:db8::9 AS65001", "RD Instance Peer", AdjRIBOutPre},
		{PeerLocal, FlagIPv6 | FlagAdjRIBOut | FlagPostPolicy | Flag2OctetAS, "2001:db8::9", "2001:db8::9 AS65001", "Local Instance Peer", AdjRIBOutPost},
		{PeerLocRIB, FlagFiltered, "0.0.0.0", "Loc-RIB of 192.0.2.1", "Loc-RIB Instance Peer", LocRIB},
		{9, 0, "192.0.2.9", "192.0.2.9 AS65001", "peer type 9", AdjRIBInPre},
	} {
		h, err := ParsePeerHeader(peerHeader(tt.typ, tt.flags, tt.addr))
		if err != nil {
			t.Fatal(err)
		}
		if h.Peer.String() != tt.want || h.Peer.Type.String() != tt.kind || h.RIB() != tt.rib || h.Peer.Addr.String() != tt.addr {
			t.Errorf("%v, %v, %v, want %+v", h.Peer, h.Peer.Type, h.RIB(), tt)
		}
		if !h.Time.Equal(time.Unix(1_700_000_000, 250_000_000)) {
			t.Errorf("time %v", h.Time)
		}
	}
	if _, err := ParsePeerHeader(make([]byte, peerHeaderLen-1)); err == nil {
		t.Error("a short header is taken")
	}
	if h, _ := ParsePeerHeader(make([]byte, peerHeaderLen)); !h.Time.IsZero() {
		t.Errorf("time %v, want none", h.Time)
	}
}

// TestKeyOf wants that a peer is one whatever RIB and AS number its messages have.
func TestKeyOf(t *testing.T) {
	same := [][]byte{
		peerHeader(PeerGlobal, 0, "192.0.2.9"),
		peerHeader(PeerGlobal, FlagPostPolicy|FlagAdjRIBOut|Flag2OctetAS, "192.0.2.9"),
	}
	same[1][26] = 99
	if keyOf(same[0]) != keyOf(same[1]) {
		t.Error("one peer has two keys")
	}
	if keyOf(peerHeader(PeerLocRIB, 0, "0.0.0.0")) != keyOf(peerHeader(PeerLocRIB, FlagFiltered, "0.0.0.0")) {
		t.Error("a filtered Loc-RIB is another one")
	}
	for _, other := range [][]byte{
		peerHeader(PeerRD, 0, "192.0.2.9"),
		peerHeader(PeerGlobal, 0, "192.0.2.8"),
		peerHeader(PeerGlobal, FlagIPv6, "::c000:209"),
	} {
		if keyOf(same[0]) == keyOf(other) {
			t.Errorf("%x has the same key", other)
		}
	}
}

func TestParsePeerUpAgainstGobgp(t *testing.T) {
	open := func(as uint16, id string) *gobgp.BGPMessage {
		return gobgp.NewBGPOpenMessage(as, 90, id, []gobgp.OptionParameterInterface{gobgp.NewOptionParameterCapability(
			[]gobgp.ParameterCapabilityInterface{gobgp.NewCapFourOctetASNumber(uint32(as) + 100_000)})})
	}
	for _, local := range []string{"192.0.2.1", "2001:db8::1"} {
		h := gobmp.NewBMPPeerHeader(0, 0, 0, local, 165000, "192.0.2.9", 1_700_000_000)
		b, err := gobmp.NewBMPPeerUpNotification(*h, local, 179, 40000, open(65000, "192.0.2.1"), open(65001, "192.0.2.9")).Serialize()
		if err != nil {
			t.Fatal(err)
		}
		up, err := ParsePeerUp(b[commonLen:])
		if err != nil || up.Err != nil {
			t.Fatal(err, up.Err)
		}
		if up.Local != netip.AddrPortFrom(netip.MustParseAddr(local), 179) || up.RemotePort != 40000 || up.Sent.ASN != 165000 || up.Received.ASN != 165001 ||
			up.Received.RouterID.String() != "192.0.2.9" || up.Sent.HoldTime != 90*time.Second || up.Peer.AS != 165000 {
			t.Errorf("%+v", up)
		}
	}
}

func TestParsePeerUp(t *testing.T) {
	h := peerHeader(PeerLocRIB, FlagFiltered, "0.0.0.0")
	good := peerUp(t, h, "", "")[commonLen:]
	up, err := ParsePeerUp(append(append(append([]byte(nil), good...), tlv(3, "master4")...), tlv(0, "hello")...))
	if err != nil || up.Err != nil || up.TableName != "master4" || !reflect.DeepEqual(up.Info, []string{"hello"}) || up.Local.Addr().String() != "127.0.0.1" {
		t.Errorf("%+v, %v", up, err)
	}
	for cut := minBody[TypePeerUp]; cut < len(good); cut++ {
		if up, err := ParsePeerUp(good[:cut]); err != nil || up.Err == nil || up.RemotePort != 0xc000 {
			t.Fatalf("cut at %d: %+v, error %v", cut, up, err)
		}
	}
	if up, _ := ParsePeerUp(append(append([]byte(nil), good...), 0, 3, 0)); up.Err == nil {
		t.Error("a cut TLV goes unnoticed")
	}
}

func TestParsePeerDown(t *testing.T) {
	notification := bgpFrame(3, []byte{6, 2})
	for _, tt := range []struct {
		name  string
		data  []byte
		check func(PeerDown) bool
		text  string
	}{
		{"local notification", append([]byte{1}, notification...), func(d PeerDown) bool { return d.Notification.String() == "Cease/Administrative Shutdown (6/2)" }, "Local system closed, NOTIFICATION PDU follows"},
		{"local event", []byte{2, 0, 24}, func(d PeerDown) bool { return d.FSMEvent == 24 }, "Local system closed, FSM Event follows"},
		{"remote notification", append([]byte{3}, notification...), func(d PeerDown) bool { return d.Notification != nil }, "Remote system closed, NOTIFICATION PDU follows"},
		{"remote", []byte{4}, func(d PeerDown) bool { return d.Notification == nil }, "Remote system closed, no data"},
		{"de-configured", []byte{5}, func(d PeerDown) bool { return true }, "Peer de-configured"},
		{"TLVs", append([]byte{6}, tlv(3, "master4")...), func(d PeerDown) bool { return d.TableName == "master4" }, "Local system closed, TLV data follows"},
		{"reason 0", []byte{0}, func(d PeerDown) bool { return true }, "reason 0"},
		{"reason 200", []byte{200, 1, 2}, func(d PeerDown) bool { return true }, "reason 200"},
	} {
		d, err := ParsePeerDown(append(peerHeader(PeerGlobal, 0, "192.0.2.9"), tt.data...))
		if err != nil || d.Err != nil || !tt.check(d) || d.Reason.String() != tt.text {
			t.Errorf("%s: %+v, error %v", tt.name, d, err)
		}
	}
	for _, data := range [][]byte{{1}, {1, 0xff}, append([]byte{3}, bgpFrame(4, nil)...), append([]byte{3}, bgpFrame(3, []byte{6})...), {2, 0}, {6, 0, 3, 0}} {
		if d, err := ParsePeerDown(append(peerHeader(PeerGlobal, 0, "192.0.2.9"), data...)); err != nil || d.Err == nil {
			t.Errorf("%x: %+v, error %v", data, d, err)
		}
	}
}

func TestNames(t *testing.T) {
	for got, want := range map[fmt.Stringer]string{
		TypePeerDown: "Peer Down Notification", MessageType(42): "message type 42",
		TerminationReason(0): "Session administratively closed", TerminationReason(9): "reason 9",
		AdjRIBOutPost: "Adj-RIB-Out post-policy", LocRIB: "Loc-RIB",
		IPv6Unicast: "IPv6 unicast", Family{25, 70}: "AFI 25 SAFI 70",
	} {
		if got.String() != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

// updates are UPDATE messages in hex: withdrawn routes, path attributes, NLRI.
var updates = []struct {
	name                   string
	withdrawn, attrs, nlri string
	addPath                []Family
	want                   updateCounts
	err                    string
}{
	{"announce", "", "400101 00", "18 010203 00 20 01020304", nil, updateCounts{announced: 3, family: IPv4Unicast}, ""},
	{"withdraw", "18 010203", "", "", nil, updateCounts{withdrawn: 1, family: IPv4Unicast}, ""},
	{"end of RIB", "", "", "", nil, updateCounts{endOfRIB: true, family: IPv4Unicast}, ""},
	{"end of RIB, IPv6", "", "800f 03 000201", "", nil, updateCounts{endOfRIB: true, family: IPv6Unicast}, ""},
	{"attributes alone", "", "400101 00", "", nil, updateCounts{family: IPv4Unicast}, ""},
	{"IPv6", "", "800e 1a 0002 01 10 20010db8000000000000000000000001 00 20 20010db8", "", nil, updateCounts{announced: 1, family: IPv6Unicast}, ""},
	{"IPv6, extended length", "", "900e 001a 0002 01 10 20010db8000000000000000000000001 00 20 20010db8", "", nil, updateCounts{announced: 1, family: IPv6Unicast}, ""},
	{"IPv6 withdraw", "", "800f 08 0002 01 20 20010db8", "", nil, updateCounts{withdrawn: 1, family: IPv6Unicast}, ""},
	{"IPv4 in MP_REACH and NLRI", "", "800e 0d 0001 01 04 7f000001 00 18 010203", "18 010204", nil, updateCounts{announced: 2, family: IPv4Unicast}, ""},
	{"VPN", "", "800f 13 0001 80 78 800000 0000000000000001 01020304", "", nil, updateCounts{withdrawn: 1, family: Family{1, 128}}, ""},
	{"EVPN", "", "800f 07 0019 46 0302 0102", "", nil, updateCounts{opaque: true, family: Family{25, 70}}, ""},
	{"add-path", "00000001 18 010203", "", "00000002 18 010203 00000003 18 010203", []Family{IPv4Unicast}, updateCounts{announced: 2, withdrawn: 1, family: IPv4Unicast}, ""},
	{"add-path of another family", "", "400101 00", "18 010203", []Family{IPv6Unicast}, updateCounts{announced: 1, family: IPv4Unicast}, ""},
	{"long prefix", "", "", "21 0102030400", nil, updateCounts{}, "does not fit"},
	{"cut prefix", "18 0102", "", "", nil, updateCounts{}, "does not fit"},
	{"cut path identifier", "", "", "000000", []Family{IPv4Unicast}, updateCounts{}, "does not fit"},
	{"cut attribute", "", "400102 00", "", nil, updateCounts{}, "path attribute 1 of 2 bytes, 1 left"},
	{"cut attribute header", "", "4001", "", nil, updateCounts{}, "path attribute header of 2 bytes"},
	{"cut MP_REACH", "", "800e 04 0001 01 04", "", nil, updateCounts{}, "MP_REACH_NLRI of 4 bytes"},
	{"cut next hop", "", "800e 06 0001 01 04 7f00", "", nil, updateCounts{}, "MP_REACH_NLRI of 6 bytes"},
	{"cut MP_UNREACH", "", "800f 02 0001", "", nil, updateCounts{}, "MP_UNREACH_NLRI of 2 bytes"},
}

func TestCountUpdate(t *testing.T) {
	for _, tt := range updates {
		t.Run(tt.name, func(t *testing.T) {
			got, err := countUpdate(updateMessage(t, tt.withdrawn, tt.attrs, tt.nlri), tt.addPath)
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("error %v, want one with %q", err, tt.err)
				}
				return
			}
			if err != nil || got != tt.want {
				t.Errorf("%+v, error %v, want %+v", got, err, tt.want)
			}
		})
	}
	for name, b := range map[string][]byte{
		"other type":      bgpFrame(4, nil),
		"no lengths":      bgpFrame(2, []byte{0}),
		"long withdrawn":  bgpFrame(2, []byte{0, 9, 0, 0}),
		"long attributes": bgpFrame(2, []byte{0, 0, 0, 9}),
		"bytes after":     append(updateMessage(t, "", "", ""), 0),
		"cut":             updateMessage(t, "", "", "18 010203")[:25],
	} {
		if c, err := countUpdate(b, nil); err == nil {
			t.Errorf("%s: counted as %+v", name, c)
		}
	}
}

// TestDecodeRouteMonitoring has a message like BIRD's, with a NEXT_HOP whose flags gobgp
// rejects, and one with everything else.
func TestDecodeRouteMonitoring(t *testing.T) {
	h := peerHeader(PeerGlobal, 0, "127.0.0.2")
	bird := oneRoute(t, h)
	if _, err := gobmp.ParseBMPMessage(bird); err == nil {
		t.Error("gobgp takes BIRD's NEXT_HOP by now")
	}
	u, err := DecodeRouteMonitoring(bird[commonLen:])
	if err != nil {
		t.Fatal(err)
	}
	if len(u.Announced) != 1 || u.Announced[0].Prefix.String() != "1.2.3.0/24" || u.NextHop.String() != "127.0.0.2" || *u.Origin != 0 || *u.MED != 5 ||
		u.LocalPref != nil || !reflect.DeepEqual(u.ASPath, []ASPathSegment{{2, []uint32{65001, 1_000_000}}}) || !reflect.DeepEqual(u.Communities, []uint32{0x42400001}) || len(u.Attributes) != 5 {
		t.Errorf("%+v", u)
	}

	h = peerHeader(PeerGlobal, Flag2OctetAS, "127.0.0.2")
	u, err = DecodeRouteMonitoring(append(h, updateMessage(t, "0000000a 17 010203",
		"4002 06 0202 fde9 fdea  400504 00000064  800e 2a 0002 01 20 20010db8000000000000000000000001 fe800000000000000000000000000001 00 20 20010db8  800f 07 0019 46 0302 0102", "")...), IPv4Unicast)
	if err != nil {
		t.Fatal(err)
	}
	if len(u.Withdrawn) != 1 || u.Withdrawn[0] != (Route{netip.MustParsePrefix("1.2.2.0/23"), 10}) || len(u.Announced) != 1 || u.Announced[0].Prefix.String() != "2001:db8::/32" ||
		u.NextHop.String() != "2001:db8::1" || *u.LocalPref != 100 || !reflect.DeepEqual(u.ASPath, []ASPathSegment{{2, []uint32{65001, 65002}}}) || !reflect.DeepEqual(u.Opaque, []Family{{25, 70}}) {
		t.Errorf("%+v", u)
	}

	// BIRD sets the flag A for such a peer, but writes 4-octet numbers.
	u, err = DecodeRouteMonitoring(append(h[:peerHeaderLen:peerHeaderLen], updateMessage(t, "", "4002 0a 0202 0000fde9 000f4240", "")...))
	if err != nil || !reflect.DeepEqual(u.ASPath, []ASPathSegment{{2, []uint32{65001, 1_000_000}}}) {
		t.Errorf("%+v, error %v", u, err)
	}

	for _, attrs := range []string{"400102 0000", "4002 03 0502 00", "400303 7f0000", "800403 000000", "c00803 000000", "400505 0000000000"} {
		if u, err := DecodeRouteMonitoring(append(h[:peerHeaderLen:peerHeaderLen], updateMessage(t, "", attrs, "")...)); err == nil {
			t.Errorf("attributes %s are decoded as %+v", attrs, u)
		}
	}
}

// TestAddPath negotiates path identifiers by a Peer Up: the router sends both ways for
// IPv4, and only receives for IPv6.
func TestAddPath(t *testing.T) {
	h := peerHeader(PeerGlobal, 0, "127.0.0.2")
	out, post := peerHeader(PeerGlobal, FlagAdjRIBOut, "127.0.0.2"), peerHeader(PeerGlobal, FlagAdjRIBOut|FlagPostPolicy, "127.0.0.2")
	s := listen(t, Options{})
	withPath := updateMessage(t, "", "400101 00", "00000001 18 010203")
	v6 := updateMessage(t, "", "800f 0c 0002 01 00000001 20 20010db8", "")
	send(t, s,
		peerUp(t, h, "02 0a 45 08 00010103 00020101", "02 0a 45 08 00010102 00020103"),
		frame(TypeRouteMonitoring, h, withPath), frame(TypeRouteMonitoring, h, v6),
		frame(TypeRouteMonitoring, out, updateMessage(t, "", "400101 00", "18 010203")),
		frame(TypeRouteMonitoring, post, updateMessage(t, "", "400101 00", "18 010203")))
	events(t, s)
	if c := s.Counts(); c.Announced != 3 || c.Withdrawn != 1 || c.MalformedUpdates != 0 {
		t.Errorf("counts %+v", c.Totals)
	}
}
