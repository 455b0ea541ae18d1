// SPDX-License-Identifier: Apache-2.0

// Package mrttest makes the table dumps that tests read, by gobgp's encoder, which shares
// no code with package mrt.
package mrttest

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/osrg/gobgp/v3/pkg/packet/bgp"
	"github.com/osrg/gobgp/v3/pkg/packet/mrt"
)

// RIB is one RIB of a dump: a prefix, and for each route to it, by one peer of the
// collector after the other, its AS_PATH, with Set as an AS_SET at its end; a nil path is
// left out. More are attributes of all of them.
type RIB struct {
	Prefix string
	Paths  [][]uint32
	Set    []uint32
	More   []bgp.PathAttributeInterface
}

// peers is how many peers the collector has.
const peers = 8

// Write writes a dump into a file that is removed with the test, and returns its path.
func Write(t testing.TB, ribs []RIB) string {
	t.Helper()
	var out bytes.Buffer
	write := func(subtype mrt.MRTSubTypeTableDumpv2, body mrt.Body) {
		m, err := mrt.NewMRTMessage(1_700_000_000, mrt.TABLE_DUMPv2, subtype, body)
		if err != nil {
			t.Fatal(err)
		}
		b, err := m.Serialize()
		if err != nil {
			t.Fatal(err)
		}
		out.Write(b)
	}
	var index []*mrt.Peer
	for i := range peers {
		address := fmt.Sprintf("192.0.2.%d", i+1)
		index = append(index, mrt.NewPeer(address, address, 64500, true))
	}
	write(mrt.PEER_INDEX_TABLE, mrt.NewPeerIndexTable("192.0.2.1", "", index))
	for i, rib := range ribs {
		p := netip.MustParsePrefix(rib.Prefix)
		var nlri bgp.AddrPrefixInterface = bgp.NewIPAddrPrefix(uint8(p.Bits()), p.Addr().String())
		var nextHop bgp.PathAttributeInterface = bgp.NewPathAttributeNextHop("192.0.2.9")
		subtype := mrt.RIB_IPV4_UNICAST
		if p.Addr().Is6() {
			nlri, subtype = bgp.NewIPv6AddrPrefix(uint8(p.Bits()), p.Addr().String()), mrt.RIB_IPV6_UNICAST
			nextHop = bgp.NewPathAttributeMpReachNLRI("2001:db8::9", []bgp.AddrPrefixInterface{nlri})
		}
		var entries []*mrt.RibEntry
		for peer, path := range rib.Paths {
			attrs := []bgp.PathAttributeInterface{bgp.NewPathAttributeOrigin(0)}
			if path != nil {
				segments := []bgp.AsPathParamInterface{bgp.NewAs4PathParam(bgp.BGP_ASPATH_ATTR_TYPE_SEQ, path)}
				if rib.Set != nil {
					segments = append(segments, bgp.NewAs4PathParam(bgp.BGP_ASPATH_ATTR_TYPE_SET, rib.Set))
				}
				attrs = append(attrs, bgp.NewPathAttributeAsPath(segments))
			}
			attrs = append(attrs, nextHop)
			entries = append(entries, mrt.NewRibEntry(uint16(peer), 0, 0, append(attrs, rib.More...), false))
		}
		write(subtype, mrt.NewRib(uint32(i), nlri, entries))
	}
	path := filepath.Join(t.TempDir(), "dump.mrt")
	if err := os.WriteFile(path, out.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
