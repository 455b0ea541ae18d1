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

// PeerName is the name of the protocol of peer i (from 0) in BIRD; with a configuration
// of the user's (Config.Include), OwnPrefix stands before it.
func PeerName(i int) string { return fmt.Sprintf("peer%d", i+1) }

// BMPName is the name of the BMP protocol in BIRD; with a configuration of the user's,
// OwnPrefix stands before it.
const BMPName = "bmp1"

// OwnPrefix is what the lab's names begin with where they stand beside those of a user's
// configuration.
const OwnPrefix = "leakprof_"

// layout is what a configuration is made of.
type layout struct {
	peers   int
	port    uint16         // at 127.0.0.1, of the BGP sessions
	station netip.AddrPort // zero: no BMP
	ipv6    bool
	kernel  bool
	include string // the user's configuration, as BIRD sees it; "" for none
	device  bool   // with a protocol device: there must be just one
}

// prefix stands before the lab's names.
func (l layout) prefix() string {
	if l.include != "" {
		return OwnPrefix
	}
	return ""
}

// bgpTemplate is what the peers have in common. All of it is understood by every
// BIRD with BMP, from the development branch before 2.13 to 3.4.
//
//   - `direct` does not work on loopback, whose addresses have host scope;
//     `multihop` does, and its recursive next hops are looked up in a table
//     of their own.
//   - Routes of a dump may have sets in AS_PATH, which BIRD refuses by default
//     since 2.17.
//   - BMP monitors the import table (Adj-RIB-In); without one, 2.x sends no
//     Route Monitoring. It is there without BMP too, so that two runs that are
//     compared differ in nothing but BMP.
//   - No graceful restart: a dropped peer's routes go at once, not after 120 s.
//   - After an error BIRD refuses a peer for the error wait time, 60 to 300 s
//     by default; the next cycle shall not wait for that.
const bgpTemplate = `
template bgp %[1]slab_peer {
	local 127.0.0.1 port %[2]d as %[3]d;
	multihop;
	strict bind;
	passive;
	allow as sets;
	hold time 240;
	error wait time 1, 1;
	error forget time 1;
	graceful restart off;
	long lived graceful restart off;
`

// channelTemplate is the channel of one family in it.
const channelTemplate = `	%[2]s {
		igp table %[1]slab_igp%[3]s;
		import table on;
		import all;
		export none;
	};
`

// nextHopTemplate makes the next hops of IPv4 routes resolve: the kernel takes
// no route to a gateway that it cannot reach. Nothing lies behind this one.
// There is none for IPv6, where the kernel takes no gateway behind the
// loopback: those routes are unreachable, in BIRD and in the kernel.
const nextHopTemplate = `
protocol static %[1]slab_next_hops {
	ipv4 { table %[1]slab_igp; };
	route %[2]s via %[3]s%%lo onlink;
}
`

// kernelTemplate exports what there is of one family into the kernel's table. The
// kernel is not scanned again and again: nobody else changes the table.
const kernelTemplate = `
protocol kernel %[1]skernel%[2]s {
	scan time 3600;
	%[3]s {
		import none;
		export all;
	};
}
`

// nextHops are the IPv4 next hops of a lab with routes in the kernel, and gateway
// is what they resolve to.
var (
	nextHops = netip.MustParsePrefix("192.0.2.0/24")
	gateway  = netip.MustParseAddr("192.0.2.254")
)

// text is the configuration.
func (l layout) text() string {
	var b strings.Builder
	b.WriteString("# Written by leakprof lab.\nlog stderr all;\nrouter id 192.0.2.1;\n")
	name := l.prefix()
	if l.include != "" {
		// What it says of the router ID comes later, and counts.
		fmt.Fprintf(&b, "\ninclude \"%s\";\n", l.include)
	}
	if l.device {
		device := ""
		if name != "" {
			device = name + "device "
		}
		fmt.Fprintf(&b, "\nprotocol device %s{\n\tscan time 3600;\n}\n", device)
	}
	if l.peers > 0 {
		fmt.Fprintf(&b, "\nipv4 table %slab_igp;\n", name)
		if l.ipv6 {
			fmt.Fprintf(&b, "ipv6 table %slab_igp6;\n", name)
		}
		if l.kernel {
			fmt.Fprintf(&b, nextHopTemplate, name, nextHops, gateway)
		}
		fmt.Fprintf(&b, bgpTemplate, name, l.port, LocalASN)
		fmt.Fprintf(&b, channelTemplate, name, "ipv4", "")
		if l.ipv6 {
			fmt.Fprintf(&b, channelTemplate, name, "ipv6", "6")
		}
		b.WriteString("}\n")
	}
	for i := range l.peers {
		fmt.Fprintf(&b, "\nprotocol bgp %s%s from %slab_peer {\n\tneighbor %s as %d;\n}\n",
			name, PeerName(i), name, PeerAddr(i), PeerASN(i))
	}
	if l.station.IsValid() {
		// A name, because the branch before 2.13 crashes on `protocol bmp { }`.
		fmt.Fprintf(&b, "\nprotocol bmp %s%s {\n\tstation address ip %s port %d;\n\tmonitoring rib in pre_policy;\n}\n",
			name, BMPName, l.station.Addr(), l.station.Port())
	}
	if l.kernel {
		fmt.Fprintf(&b, kernelTemplate, name, "4", "ipv4")
		if l.ipv6 {
			fmt.Fprintf(&b, kernelTemplate, name, "6", "ipv6")
		}
	}
	return b.String()
}
