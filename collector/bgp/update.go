// SPDX-License-Identifier: Apache-2.0

package bgp

import (
	"encoding/binary"
	"net/netip"
)

// Types of path attributes (IANA, "BGP Path Attributes") that carry prefixes.
const (
	attrMPReach   = 14 // RFC 4760 §3
	attrMPUnreach = 15 // RFC 4760 §4
)

// The attribute flags of RFC 4271 §4.3.
const (
	flagOptional   = 0x80
	flagTransitive = 0x40
	flagExtended   = 0x10 // the length has two octets
)

const (
	updateLen = 23 // an UPDATE without attributes and prefixes

	// mpHeaderLen is the header of an MP attribute as we write it, with a length of two
	// octets, and mpFamilyLen its address family, IPv6 unicast.
	mpHeaderLen = 4
	mpFamilyLen = 3
	// mpReachLen is an MP_REACH_NLRI of ours without prefixes: after the family the next
	// hop with its length, and a reserved octet.
	mpReachLen = mpHeaderLen + mpFamilyLen + 1 + 16 + 1
)

// familyIPv6 is AFI 2, SAFI 1: IPv6 unicast.
var familyIPv6 = [mpFamilyLen]byte{0, 2, 1}

// announcement is what an UPDATE of ours announces: prefixes of one family with the same
// attributes.
type announcement struct {
	attrs []byte // encoded; with NEXT_HOP for IPv4, without any next hop for IPv6
	// nextHop is set for IPv6 alone.
	nextHop netip.Addr
	nlri    []byte // encoded prefixes
}

// room is how many bytes of prefixes fit in an UPDATE beside these attributes.
func room(attrs []byte, ipv6 bool) int {
	n := maxMessage - updateLen - len(attrs)
	if ipv6 {
		n -= mpReachLen
	}
	return n
}

// append appends the message that announces u.
func (u announcement) append(b []byte) []byte {
	if !u.nextHop.IsValid() {
		b = appendUpdateHeader(b, 0, len(u.attrs), len(u.nlri))
		b = append(b, u.attrs...)
		return append(b, u.nlri...)
	}
	b = appendUpdateHeader(b, 0, mpReachLen+len(u.nlri)+len(u.attrs), 0)
	// First of all attributes, as RFC 7606 §5.1 wants it.
	b = appendMPHeader(b, attrMPReach, mpReachLen-mpHeaderLen+len(u.nlri))
	nextHop := u.nextHop.As16()
	b = append(b, byte(len(nextHop)))
	b = append(b, nextHop[:]...)
	b = append(b, 0)
	b = append(b, u.nlri...)
	return append(b, u.attrs...)
}

// appendWithdrawal appends the message that withdraws u's prefixes.
func (u announcement) appendWithdrawal(b []byte) []byte {
	if !u.nextHop.IsValid() {
		b = appendUpdateHeader(b, len(u.nlri), 0, 0)
		b = append(b[:len(b)-2], u.nlri...)
		return append(b, 0, 0)
	}
	b = appendUpdateHeader(b, 0, mpHeaderLen+mpFamilyLen+len(u.nlri), 0)
	b = appendMPHeader(b, attrMPUnreach, mpFamilyLen+len(u.nlri))
	return append(b, u.nlri...)
}

// appendUpdateHeader appends the header of an UPDATE, and the lengths of what is
// withdrawn and of the attributes, one after the other.
func appendUpdateHeader(b []byte, withdrawn, attrs, nlri int) []byte {
	b = append(b, keepaliveMessage[:16]...) // the marker
	b = binary.BigEndian.AppendUint16(b, uint16(updateLen+withdrawn+attrs+nlri))
	b = append(b, byte(TypeUpdate))
	b = binary.BigEndian.AppendUint16(b, uint16(withdrawn))
	return binary.BigEndian.AppendUint16(b, uint16(attrs))
}

// appendMPHeader appends the header and the family of an MP attribute with length octets.
func appendMPHeader(b []byte, typ byte, length int) []byte {
	b = append(b, flagOptional|flagExtended, typ)
	b = binary.BigEndian.AppendUint16(b, uint16(length))
	return append(b, familyIPv6[:]...)
}

// endOfRIBIPv6Message is the End-of-RIB marker for IPv6 unicast, an empty MP_UNREACH_NLRI
// (RFC 4724 §2).
var endOfRIBIPv6Message = announcement{nextHop: netip.IPv6Unspecified()}.appendWithdrawal(nil)

// parseAnnouncement takes a message apart that announcement.append has made.
func parseAnnouncement(m []byte) announcement {
	attrsLen := int(binary.BigEndian.Uint16(m[updateLen-2:]))
	attrs, nlri := m[updateLen:updateLen+attrsLen], m[updateLen+attrsLen:]
	if len(attrs) < mpReachLen || attrs[1] != attrMPReach {
		return announcement{attrs: attrs, nlri: nlri}
	}
	end := mpHeaderLen + int(binary.BigEndian.Uint16(attrs[2:]))
	nextHop := [16]byte(attrs[mpHeaderLen+mpFamilyLen+1:])
	return announcement{attrs: attrs[end:], nextHop: netip.AddrFrom16(nextHop), nlri: attrs[mpReachLen:end]}
}

// prefixLen is how many bytes the first prefix of nlri takes (RFC 4271 §4.3).
func prefixLen(nlri []byte) int { return 1 + (int(nlri[0])+7)/8 }

// countPrefixes is how many prefixes there are in nlri.
func countPrefixes(nlri []byte) (n int) {
	for len(nlri) > 0 {
		nlri = nlri[prefixLen(nlri):]
		n++
	}
	return n
}

// firstPrefixes is how many bytes the first n prefixes of nlri take, or as many of them as
// there are and fit into limit bytes, and how many these are.
func firstPrefixes(nlri []byte, n, limit int) (size, count int) {
	for count < n && size < len(nlri) {
		next := size + prefixLen(nlri[size:])
		if next > limit {
			break
		}
		size = next
		count++
	}
	return size, count
}

// appendPrefix appends p as RFC 4271 §4.3 encodes it.
func appendPrefix(b []byte, p netip.Prefix) []byte {
	b = append(b, byte(p.Bits()))
	address := p.Addr().AsSlice()
	return append(b, address[:(p.Bits()+7)/8]...)
}
