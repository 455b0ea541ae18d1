// SPDX-License-Identifier: Apache-2.0

package bmp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
)

// Path attribute types (RFC 4271 §5, RFC 1997).
const (
	attrOrigin      = 1
	attrASPath      = 2
	attrNextHop     = 3
	attrMED         = 4
	attrLocalPref   = 5
	attrCommunities = 8
)

// Route is one prefix of an UPDATE.
type Route struct {
	Prefix netip.Prefix
	PathID uint32 // 0 without ADD-PATH
}

// Attribute is a path attribute as it came. Value aliases the message.
type Attribute struct {
	Flags, Type byte
	Value       []byte
}

// ASPathSegment is one segment of an AS_PATH (RFC 4271 §4.3).
type ASPathSegment struct {
	Type byte // 1 AS_SET, 2 AS_SEQUENCE, 3 and 4 those of a confederation (RFC 5065)
	AS   []uint32
}

// Update is the content of a Route Monitoring message.
type Update struct {
	PeerHeader
	Announced, Withdrawn []Route
	Opaque               []Family // families whose NLRI are in Attributes only
	EndOfRIB             bool     // for Family
	Family               Family

	Attributes  []Attribute // all, in order
	Origin      *uint8      // 0 IGP, 1 EGP, 2 INCOMPLETE; nil if it is not there, as with all below
	ASPath      []ASPathSegment
	NextHop     netip.Addr
	MED         *uint32
	LocalPref   *uint32
	Communities []uint32
}

// DecodeRouteMonitoring decodes the body of a Route Monitoring message, the bytes after
// the common header. addPath are the families that carry path identifiers (RFC 7911).
// Attribute flags are not checked: BIRD's NEXT_HOP lacks the transitive one.
func DecodeRouteMonitoring(body []byte, addPath ...Family) (*Update, error) {
	h, err := ParsePeerHeader(body)
	if err != nil {
		return nil, fmt.Errorf("decode Route Monitoring: %w", err)
	}
	u := &Update{PeerHeader: h}
	if err := u.decode(body[peerHeaderLen:], addPath); err != nil {
		return nil, fmt.Errorf("decode Route Monitoring: %w", err)
	}
	return u, nil
}

func (u *Update) decode(b []byte, addPath []Family) error {
	counts, err := countUpdate(b, addPath) // checks all prefixes
	if err != nil {
		return err
	}
	u.EndOfRIB, u.Family = counts.endOfRIB, counts.family
	parts, err := splitUpdate(b)
	if err != nil {
		return err
	}
	u.Withdrawn = appendRoutes(nil, parts.withdrawn, IPv4Unicast, addPath)
	u.Announced = appendRoutes(nil, parts.nlri, IPv4Unicast, addPath)
	for b := parts.attributes; len(b) > 0; {
		var a Attribute
		if a.Flags, a.Type, a.Value, b, err = nextAttribute(b); err != nil {
			return err
		}
		u.Attributes = append(u.Attributes, a)
		if err := u.attribute(a, addPath); err != nil {
			return fmt.Errorf("path attribute %d: %w", a.Type, err)
		}
	}
	return nil
}

var errLength = errors.New("wrong length")

func (u *Update) attribute(a Attribute, addPath []Family) (err error) {
	v := a.Value
	number := func() *uint32 {
		if len(v) != 4 {
			err = errLength
			return nil
		}
		n := binary.BigEndian.Uint32(v)
		return &n
	}
	switch a.Type {
	case attrOrigin:
		if len(v) != 1 {
			return errLength
		}
		origin := v[0]
		u.Origin = &origin
	case attrASPath:
		// The A flag says the size, but BIRD writes 4-octet numbers in any case.
		size := 4
		if u.Peer.Type != PeerLocRIB && u.Flags&Flag2OctetAS != 0 {
			size = 2
		}
		if u.ASPath, err = parseASPath(v, size); err != nil {
			u.ASPath, err = parseASPath(v, 6-size)
		}
	case attrNextHop:
		if len(v) != 4 {
			return errLength
		}
		u.NextHop = netip.AddrFrom4([4]byte(v))
	case attrMED:
		u.MED = number()
	case attrLocalPref:
		u.LocalPref = number()
	case attrCommunities:
		if len(v)%4 != 0 {
			return errLength
		}
		for ; len(v) > 0; v = v[4:] {
			u.Communities = append(u.Communities, binary.BigEndian.Uint32(v))
		}
	case attrMPReach:
		f, nextHop, nlri, err := splitMPReach(v)
		if err != nil {
			return err
		}
		switch len(nextHop) { // a link-local address may follow the global one (RFC 2545 §3)
		case 4:
			u.NextHop = netip.AddrFrom4([4]byte(nextHop))
		case 16, 32:
			u.NextHop = netip.AddrFrom16([16]byte(nextHop[:16]))
		}
		u.Announced = u.routes(u.Announced, nlri, f, addPath)
	case attrMPUnreach:
		f, nlri, err := splitMPUnreach(v)
		if err != nil {
			return err
		}
		u.Withdrawn = u.routes(u.Withdrawn, nlri, f, addPath)
	}
	return err
}

// routes appends the NLRI of a family, if they are plain prefixes.
func (u *Update) routes(to []Route, nlri []byte, f Family, addPath []Family) []Route {
	if f.SAFI > 2 || f.maxBits() == 0 {
		if len(nlri) > 0 {
			u.Opaque = append(u.Opaque, f)
		}
		return to
	}
	return appendRoutes(to, nlri, f, addPath)
}

// appendRoutes decodes NLRI that countPrefixes has found right. Bits beyond the prefix
// length do not matter (RFC 4271 §4.3) and are cleared.
func appendRoutes(to []Route, b []byte, f Family, addPath []Family) []Route {
	paths := slices.Contains(addPath, f)
	for len(b) > 0 {
		var r Route
		if paths {
			r.PathID, b = binary.BigEndian.Uint32(b), b[4:]
		}
		bits := int(b[0])
		size := (bits + 7) / 8
		var addr [16]byte
		copy(addr[:], b[1:1+size])
		ip := netip.AddrFrom16(addr)
		if f.AFI == 1 {
			ip = netip.AddrFrom4([4]byte(addr[:4]))
		}
		r.Prefix = netip.PrefixFrom(ip, bits).Masked()
		to, b = append(to, r), b[1+size:]
	}
	return to
}

// parseASPath decodes an AS_PATH with numbers of size bytes.
func parseASPath(b []byte, size int) (path []ASPathSegment, err error) {
	for len(b) > 0 {
		if len(b) < 2 || b[0] < 1 || b[0] > 4 || b[1] == 0 || len(b) < 2+int(b[1])*size {
			return nil, errors.New("malformed AS_PATH")
		}
		seg := ASPathSegment{Type: b[0], AS: make([]uint32, b[1])}
		b = b[2:]
		for i := range seg.AS {
			if size == 2 {
				seg.AS[i] = uint32(binary.BigEndian.Uint16(b))
			} else {
				seg.AS[i] = binary.BigEndian.Uint32(b)
			}
			b = b[size:]
		}
		path = append(path, seg)
	}
	return path, nil
}
