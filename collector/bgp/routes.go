// SPDX-License-Identifier: Apache-2.0

package bgp

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"github.com/osrg/gobgp/v3/pkg/packet/bgp"
)

// MaxPrefixes is how many distinct /24 prefixes there are to announce, over all peers.
const MaxPrefixes = len24 * octetCount

const (
	len24      = 1 << 16 // /24s in one first octet
	octetCount = 223 - 5 // first octets 1 to 223 without the skipped ones
	nlriLen    = 4       // an encoded /24: its length and three octets (RFC 4271 §4.3)
	updateLen  = 23      // an UPDATE without attributes and prefixes

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

// Routes describes what one peer announces. The same Routes always give the same bytes.
type Routes struct {
	// Count is the number of prefixes, all distinct.
	Count int
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
	// ASN is the peer's AS number, the first of every AS_PATH.
	ASN uint32
}

// Table is what a peer announces, as encoded UPDATE messages in the order of sending. It
// does not change and may serve any number of speakers and floods.
type Table struct {
	data          []byte // whole messages, one after the other
	messages      int
	prefixes      int
	attributeSets int
}

// Messages is the number of UPDATE messages.
func (t *Table) Messages() int { return t.messages }

// Prefixes is the number of prefixes.
func (t *Table) Prefixes() int { return t.prefixes }

// AttributeSets is the number of distinct sets of path attributes.
func (t *Table) AttributeSets() int { return t.attributeSets }

// Bytes is the size of all messages.
func (t *Table) Bytes() int { return len(t.data) }

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
	t := &Table{prefixes: r.Count}
	if r.Count == 0 {
		return t, nil
	}
	t.attributeSets = max(r.AttributeSets, 1)
	next := 0
	if !r.Overlap {
		next = r.Peer * r.Count
	}
	// A good guess saves copying: attributes are about 60 bytes, and few messages are
	// needed for one set.
	t.data = make([]byte, 0, r.Count*nlriLen+(t.attributeSets+r.Count/max(r.perUpdate(60), 1))*(updateLen+64))
	for set := range t.attributeSets {
		attrs, err := r.attributes(set)
		if err != nil {
			return nil, fmt.Errorf("encode routes: attribute set %d: %w", set, err)
		}
		// The bounds are computed from the start, so that the runs differ by one at most.
		left := (set+1)*r.Count/t.attributeSets - set*r.Count/t.attributeSets
		for left > 0 {
			n := min(left, r.perUpdate(len(attrs)))
			t.data = appendUpdate(t.data, attrs, next, n)
			t.messages++
			next += n
			left -= n
		}
	}
	return t, nil
}

// perUpdate is how many prefixes go with attributes of so many bytes.
func (r Routes) perUpdate(attrs int) int {
	fit := (maxMessage - updateLen - attrs) / nlriLen
	if r.PerUpdate > 0 {
		return min(fit, r.PerUpdate)
	}
	return fit
}

// appendUpdate appends an UPDATE that announces prefixes first to first+n-1.
func appendUpdate(b, attrs []byte, first, n int) []byte {
	length := updateLen + len(attrs) + n*nlriLen
	b = append(b, endOfRIBMessage[:16]...) // the marker
	b = append(b, byte(length>>8), byte(length), byte(TypeUpdate), 0, 0, byte(len(attrs)>>8), byte(len(attrs)))
	b = append(b, attrs...)
	for i := first; i < first+n; i++ {
		b = append(b, 24, firstOctets[i/len24], byte(i>>8), byte(i))
	}
	return b
}

// attributes encodes the set-th set of path attributes. The origin AS makes each set
// distinct; the rest varies as in a real table, in length and in content.
func (r Routes) attributes(set int) ([]byte, error) {
	path := []uint32{r.ASN}
	for hop := range 1 + set%4 {
		path = append(path, firstASN+uint32(set*(hop+3)%1000))
	}
	path = append(path, firstASN+1000+uint32(set))
	communities := make([]uint32, 1+set%3)
	for i := range communities {
		communities[i] = firstASN&0xffff<<16 | uint32((set+i*257)%0x10000)
	}
	attrs := []bgp.PathAttributeInterface{
		bgp.NewPathAttributeOrigin(uint8(set % 3)),
		bgp.NewPathAttributeAsPath([]bgp.AsPathParamInterface{bgp.NewAs4PathParam(bgp.BGP_ASPATH_ATTR_TYPE_SEQ, path)}),
		bgp.NewPathAttributeNextHop(r.NextHop.String()),
		bgp.NewPathAttributeMultiExitDisc(uint32(set % 100)),
		bgp.NewPathAttributeCommunities(communities),
	}
	var b []byte
	for _, a := range attrs {
		enc, err := a.Serialize()
		if err != nil {
			return nil, err
		}
		b = append(b, enc...)
	}
	return b, nil
}

// wholeMessages walks the messages at the start of b and says how many end within the
// first limit bytes, where the last of them ends, and how many prefixes they announce.
func wholeMessages(b []byte, limit int) (end, messages, prefixes int) {
	for end < len(b) {
		length := int(binary.BigEndian.Uint16(b[end+16:]))
		if end+length > limit {
			break
		}
		attrs := int(binary.BigEndian.Uint16(b[end+21:]))
		prefixes += (length - updateLen - attrs) / nlriLen
		messages++
		end += length
	}
	return end, messages, prefixes
}
