// SPDX-License-Identifier: Apache-2.0

package bmp

import (
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// frame puts a common header before a body.
func frame(typ MessageType, body ...[]byte) []byte {
	m := []byte{version, 0, 0, 0, 0, byte(typ)}
	for _, b := range body {
		m = append(m, b...)
	}
	binary.BigEndian.PutUint32(m[1:], uint32(len(m)))
	return m
}

// peerHeader encodes a per-peer header of AS 65001, identifier 192.0.2.n.
func peerHeader(typ PeerType, flags PeerFlags, addr string) []byte {
	b := make([]byte, peerHeaderLen)
	b[0], b[1] = byte(typ), byte(flags)
	if a := netip.MustParseAddr(addr); a.Is4() {
		copy(b[22:], a.AsSlice())
	} else {
		copy(b[10:], a.AsSlice())
	}
	binary.BigEndian.PutUint32(b[26:], 65001)
	copy(b[30:], []byte{192, 0, 2, 1})
	binary.BigEndian.PutUint32(b[34:], 1_700_000_000)
	binary.BigEndian.PutUint32(b[38:], 250_000)
	return b
}

// bgpFrame puts a BGP header before a body.
func bgpFrame(typ byte, body []byte) []byte {
	m := append([]byte(strings.Repeat("\xff", 16)), 0, 0, typ)
	m = append(m, body...)
	binary.BigEndian.PutUint16(m[16:], uint16(len(m)))
	return m
}

// updateMessage encodes an UPDATE from the hex of its three parts.
func updateMessage(t testing.TB, withdrawn, attributes, nlri string) []byte {
	w, a := unhex(t, withdrawn), unhex(t, attributes)
	b := binary.BigEndian.AppendUint16(nil, uint16(len(w)))
	b = append(b, w...)
	b = binary.BigEndian.AppendUint16(b, uint16(len(a)))
	b = append(b, a...)
	return bgpFrame(2, append(b, unhex(t, nlri)...))
}

// openMessage is an OPEN of a 2-octet AS with these optional parameters.
func openMessage(t testing.TB, params string) []byte {
	p := unhex(t, params)
	return bgpFrame(1, append(append(unhex(t, "04 fde8 00f0 c0000201"), byte(len(p))), p...))
}

func tlv(typ uint16, value string) []byte {
	b := binary.BigEndian.AppendUint16(nil, typ)
	b = binary.BigEndian.AppendUint16(b, uint16(len(value)))
	return append(b, value...)
}

func initiation() []byte {
	return frame(TypeInitiation, tlv(2, "r1"), tlv(1, "a router"), tlv(0, "hello"))
}

// peerUp is a Peer Up of two OPENs with these optional parameters.
func peerUp(t testing.TB, header []byte, sent, received string) []byte {
	return frame(TypePeerUp, header, make([]byte, 12), []byte{127, 0, 0, 1, 0, 179, 0xc0, 0},
		openMessage(t, sent), openMessage(t, received))
}

// oneRoute is a Route Monitoring message as BIRD sends it, with one prefix.
func oneRoute(t testing.TB, header []byte) []byte {
	return frame(TypeRouteMonitoring, header, updateMessage(t, "",
		"400101 00  4002 0a 0202 0000fde9 000f4240  0003 04 7f000002  800404 00000005  c00804 42400001", "18 010203"))
}
