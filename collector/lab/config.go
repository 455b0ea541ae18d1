// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"fmt"
	"net/netip"
	"strings"
)

// LocalASN is the autonomous system number of the lab's BIRD.
const LocalASN = 65000

// MaxPeers is how many peers a lab can have: 127.0.0.2 to 127.0.0.254.
const MaxPeers = 253

// PeerAddr is the address from which peer i (from 0) connects, 127.0.0.(2+i).
func PeerAddr(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{127, 0, 0, byte(2 + i)})
}

// PeerASN is the autonomous system number of peer i (from 0).
func PeerASN(i int) uint32 { return LocalASN + 1 + uint32(i) }

// PeerName is the name of the protocol of peer i (from 0) in BIRD.
func PeerName(i int) string { return fmt.Sprintf("peer%d", i+1) }

// BMPName is the name of the BMP protocol in BIRD.
const BMPName = "bmp1"

// bgpTemplate is what the peers have in common. All of it is understood by every
// BIRD with BMP, from the development branch before 2.13 to 3.4.
//
//   - `direct` does not work on loopback, whose addresses have host scope;
//     `multihop` does, and its recursive next hops are looked up in a table
//     that stays empty.
//   - BMP monitors the import table (Adj-RIB-In); without one, 2.x sends no
//     Route Monitoring. It is there without BMP too, so that two runs that are
//     compared differ in nothing but BMP.
//   - No graceful restart: a dropped peer's routes go at once, not after 120 s.
//   - After an error BIRD refuses a peer for the error wait time, 60 to 300 s
//     by default; the next cycle shall not wait for that.
const bgpTemplate = `
ipv4 table lab_igp;

template bgp lab_peer {
	local 127.0.0.1 port %d as %d;
	multihop;
	strict bind;
	passive;
	hold time 240;
	error wait time 1, 1;
	error forget time 1;
	graceful restart off;
	long lived graceful restart off;
	ipv4 {
		igp table lab_igp;
		import table on;
		import all;
		export none;
	};
}
`

// configText is the configuration of a lab with peers peers whose BGP sessions
// come in at 127.0.0.1:port, and with BMP to station unless that is the zero
// AddrPort.
func configText(peers int, port uint16, station netip.AddrPort) string {
	var b strings.Builder
	b.WriteString(`# Written by leakprof lab.
log stderr all;
router id 192.0.2.1;

protocol device {
	scan time 3600;
}
`)
	if peers > 0 {
		fmt.Fprintf(&b, bgpTemplate, port, LocalASN)
	}
	for i := range peers {
		fmt.Fprintf(&b, "\nprotocol bgp %s from lab_peer {\n\tneighbor %s as %d;\n}\n",
			PeerName(i), PeerAddr(i), PeerASN(i))
	}
	if station.IsValid() {
		// A name, because the branch before 2.13 crashes on `protocol bmp { }`.
		fmt.Fprintf(&b, "\nprotocol bmp %s {\n\tstation address ip %s port %d;\n\tmonitoring rib in pre_policy;\n}\n",
			BMPName, station.Addr(), station.Port())
	}
	return b.String()
}
