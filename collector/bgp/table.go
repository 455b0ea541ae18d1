// SPDX-License-Identifier: Apache-2.0

package bgp

import (
	"encoding/binary"
	"net/netip"
)

// Table is what a peer announces, as encoded UPDATE messages in the order of sending. It
// does not change and may serve any number of speakers and floods.
type Table struct {
	data          []byte // whole messages, one after the other
	messages      int
	prefixes      int
	ipv6          int // of the prefixes
	attributeSets int
}

// Messages is the number of UPDATE messages.
func (t *Table) Messages() int { return t.messages }

// Prefixes is the number of prefixes, IPv4 and IPv6.
func (t *Table) Prefixes() int { return t.prefixes }

// IPv6 is how many of the prefixes are IPv6.
func (t *Table) IPv6() int { return t.ipv6 }

// AttributeSets is the number of distinct sets of path attributes.
func (t *Table) AttributeSets() int { return t.attributeSets }

// Bytes is the size of all messages.
func (t *Table) Bytes() int { return len(t.data) }

// add appends messages that announce all of u's prefixes, each message as full as it can
// be but with at most perUpdate prefixes, if that is not 0.
func (t *Table) add(u announcement, perUpdate int) {
	limit := room(u.attrs, u.nextHop.IsValid())
	if perUpdate == 0 {
		perUpdate = limit // each takes a byte at least
	}
	for rest := u.nlri; len(rest) > 0; {
		size, n := firstPrefixes(rest, perUpdate, limit)
		u.nlri = rest[:size]
		t.data = u.append(t.data)
		t.messages++
		t.prefixes += n
		if u.nextHop.IsValid() {
			t.ipv6 += n
		}
		rest = rest[size:]
	}
}

// messageAt is the message at the start of b.
func messageAt(b []byte) []byte { return b[:binary.BigEndian.Uint16(b[16:])] }

// wholeMessages walks the messages at the start of b and says how many end within the
// first limit bytes, where the last of them ends, and how many prefixes they announce.
func wholeMessages(b []byte, limit int) (end, messages, prefixes int) {
	for end < len(b) {
		m := messageAt(b[end:])
		if end+len(m) > limit {
			break
		}
		prefixes += countPrefixes(parseAnnouncement(m).nlri)
		messages++
		end += len(m)
	}
	return end, messages, prefixes
}

// Acceptable says whether BIRD takes a route to p: not where the prefix lies in loopback,
// link-local, multicast or otherwise invalid space (net_classify, ip4_classify and
// ip6_classify in BIRD's lib/ip.c and lib/net.c, the same from 2.13 to 3.4). Private space
// it does take.
func Acceptable(p netip.Prefix) bool {
	a := p.Addr()
	switch {
	case !p.IsValid() || p.Masked() != p:
		return false
	case a.IsUnspecified(): // default routes and such
		return true
	case a.Is4():
		b := a.As4()
		return b[0] != 0 && b[0] != 127 && !a.IsMulticast() && b != [4]byte{255, 255, 255, 255}
	}
	b := a.As16()
	// In the first /64 lie loopback, IPv4-compatible and IPv4-mapped addresses; no table
	// has them.
	return binary.BigEndian.Uint64(b[:]) != 0 && !a.IsLinkLocalUnicast() && !a.IsMulticast()
}
