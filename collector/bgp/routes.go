// SPDX-License-Identifier: Apache-2.0

package bgp

import (
	"encoding/binary"
	"fmt"
	"net/netip"
)

// MaxPrefixes is how many distinct /24 prefixes there are to announce, over all peers.
const MaxPrefixes = len24 * octetCount

const (
	len24      = 1 << 16 // /24s in one first octet
	octetCount = 223 - 5 // first octets 1 to 223 without the skipped ones
	nlriLen    = 4       // an encoded /24: its length and three octets (RFC 4271 §4.3)
	nlri6Len   = 7       // an encoded /48

	// Origin and transit AS numbers start here: no registry has assigned such numbers, so
	// they are no router's own (which would be a loop), and bogon filters let them pass.
	firstASN = 1_000_000
)

// skipped are the first octets that hold addresses BIRD or usual filters refuse as
// martians (RFC 6890): private 10, 172.16/12 and 192.168/16, loopback 127, link-local
// 169.254/16. 0 and all from 224 on are out of the range anyway.
var skipped = [...]byte{10, 127, 169, 172, 192}

// firstOctets are the first octets in use, in order.
var firstOctets = func() (octets [octetCount]byte) {
	n := 0
next:
	for o := byte(1); o < 224; o++ {
		for _, s := range skipped {
			if o == s {
				continue next
			}
		}
		octets[n] = o
		n++
	}
	return octets
}()

// Prefix is the i-th /24 of the numbering, 0 <= i < MaxPrefixes: 1.0.0.0/24, 1.0.1.0/24
// and so on, without the martians.
func Prefix(i int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{firstOctets[i/len24], byte(i >> 8), byte(i)}), 24)
}

// Prefix6 is the i-th /48 of the numbering, 0 <= i < MaxPrefixes: 2a00::/48, 2a00:0:1::/48
// and so on, all within 2a00::/16, which is the global unicast space of RIPE NCC.
func Prefix6(i int) netip.Prefix {
	a := [16]byte{0: 0x2a}
	binary.BigEndian.PutUint32(a[2:], uint32(i))
	return netip.PrefixFrom(netip.AddrFrom16(a), 48)
}

// Routes describes what one peer announces. The same Routes always give the same bytes.
type Routes struct {
	// Count is the number of prefixes, all distinct.
	Count int
	// IPv6 is how many of them are IPv6, in the last of the messages.
	IPv6 int
	// AttributeSets is the number of distinct sets of path attributes, over which the
	// prefixes are spread evenly in runs. 0 means one set, so that the messages are full.
	AttributeSets int
	// Overlap gives every peer the same prefixes; without it peer n announces the n-th
	// run of Count prefixes.
	Overlap bool
	// PerUpdate is the most prefixes that one UPDATE carries; 0 means as many as fit.
	PerUpdate int
	// Peer is the peer's number, from 0.
	Peer int
	// NextHop is the NEXT_HOP, an IPv4 address.
	NextHop netip.Addr
	// NextHop6 is the next hop of IPv6 prefixes, an IPv6 address, needed for such alone.
	NextHop6 netip.Addr
	// ASN is the peer's AS number, the first of every AS_PATH.
	ASN uint32
}

func (r Routes) validate() error {
	last := r.Count
	if !r.Overlap && r.Peer >= 0 && r.Count > 0 {
		if r.Peer >= MaxPrefixes/r.Count {
			return fmt.Errorf("encode routes: peer %d with %d prefixes each: only %d prefixes exist", r.Peer, r.Count, MaxPrefixes)
		}
		last *= r.Peer + 1
	}
	switch {
	case r.Count < 0 || last > MaxPrefixes:
		return fmt.Errorf("encode routes: %d prefixes: want 0 to %d", r.Count, MaxPrefixes)
	case r.IPv6 < 0 || r.IPv6 > r.Count:
		return fmt.Errorf("encode routes: %d of %d prefixes are IPv6", r.IPv6, r.Count)
	case r.IPv6 > 0 && (!r.NextHop6.Is6() || r.NextHop6.Is4In6()):
		return fmt.Errorf("encode routes: next hop %v is not an IPv6 address", r.NextHop6)
	case r.AttributeSets < 0 || r.AttributeSets > max(r.Count, 1):
		return fmt.Errorf("encode routes: %d attribute sets for %d prefixes", r.AttributeSets, r.Count)
	case r.PerUpdate < 0:
		return fmt.Errorf("encode routes: %d prefixes per UPDATE", r.PerUpdate)
	case r.Peer < 0:
		return fmt.Errorf("encode routes: peer number %d", r.Peer)
	case !r.NextHop.Is4():
		return fmt.Errorf("encode routes: next hop %v is not an IPv4 address", r.NextHop)
	case r.ASN == 0:
		return fmt.Errorf("encode routes: AS number 0 is reserved (RFC 7607)")
	}
	return nil
}

// Encode builds the UPDATE messages, each at most 4096 bytes (RFC 4271 §4) and as full as
// Routes allows.
func (r Routes) Encode() (*Table, error) {
	if err := r.validate(); err != nil {
		return nil, err
	}
	t := &Table{}
	if r.Count == 0 {
		return t, nil
	}
	t.attributeSets = max(r.AttributeSets, 1)
	// A good guess saves copying: attributes are about 60 bytes, and few messages are
	// needed for one set.
	perMessage := room(nil, true) / nlri6Len
	if r.PerUpdate > 0 {
		perMessage = min(perMessage, r.PerUpdate)
	}
	t.data = make([]byte, 0, r.Count*nlriLen+r.IPv6*(nlri6Len-nlriLen)+(t.attributeSets+r.Count/perMessage)*(updateLen+64))
	ipv4 := r.Count - r.IPv6
	var attrs []byte
	nlri := make([]byte, 0, (r.Count/t.attributeSets+1)*nlri6Len) // of one set
	for set := range t.attributeSets {
		// The bounds are computed from the start, so that the runs differ by one at most.
		first, end := set*r.Count/t.attributeSets, (set+1)*r.Count/t.attributeSets
		if first < ipv4 {
			attrs = r.appendAttributes(attrs[:0], set, r.NextHop)
			nlri = r.appendIPv4(nlri[:0], first, min(end, ipv4))
			t.add(announcement{attrs: attrs, nlri: nlri}, r.PerUpdate)
		}
		if end > ipv4 {
			attrs = r.appendAttributes(attrs[:0], set, netip.Addr{})
			nlri = r.appendIPv6(nlri[:0], max(first, ipv4)-ipv4, end-ipv4)
			t.add(announcement{attrs: attrs, nextHop: r.NextHop6, nlri: nlri}, r.PerUpdate)
		}
	}
	return t, nil
}

// appendIPv4 appends the peer's IPv4 prefixes first to end-1.
func (r Routes) appendIPv4(b []byte, first, end int) []byte {
	base := 0
	if !r.Overlap {
		base = r.Peer * (r.Count - r.IPv6)
	}
	for i := base + first; i < base+end; i++ {
		b = append(b, 24, firstOctets[i/len24], byte(i>>8), byte(i))
	}
	return b
}

// appendIPv6 appends the peer's IPv6 prefixes first to end-1.
func (r Routes) appendIPv6(b []byte, first, end int) []byte {
	base := 0
	if !r.Overlap {
		base = r.Peer * r.IPv6
	}
	for i := base + first; i < base+end; i++ {
		b = append(b, 48, 0x2a, 0)
		b = binary.BigEndian.AppendUint32(b, uint32(i))
	}
	return b
}

// appendAttributes appends the set-th set of path attributes. The origin AS makes each set
// distinct; the rest varies as in a real table, in length and in content. nextHop is that
// of IPv4 prefixes, else the zero Addr.
func (r Routes) appendAttributes(b []byte, set int, nextHop netip.Addr) []byte {
	b = appendAttribute(b, flagTransitive, attrOrigin, []byte{byte(set % 3)})
	hops := 1 + set%4
	b = append(b, flagTransitive, attrASPath, byte(2+4*(hops+2)), segmentSequence, byte(hops+2))
	b = binary.BigEndian.AppendUint32(b, r.ASN)
	for hop := range hops {
		b = binary.BigEndian.AppendUint32(b, firstASN+uint32(set*(hop+3)%1000))
	}
	b = binary.BigEndian.AppendUint32(b, firstASN+1000+uint32(set))
	if nextHop.IsValid() {
		address := nextHop.As4()
		b = appendAttribute(b, flagTransitive, attrNextHop, address[:])
	}
	b = append(b, flagOptional, attrMED, 4)
	b = binary.BigEndian.AppendUint32(b, uint32(set%100))
	communities := 1 + set%3
	b = append(b, flagOptional|flagTransitive, attrCommunities, byte(4*communities))
	for i := range communities {
		b = binary.BigEndian.AppendUint32(b, firstASN&0xffff<<16|uint32((set+i*257)%0x10000))
	}
	return b
}
