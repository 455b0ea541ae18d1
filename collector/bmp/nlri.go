// SPDX-License-Identifier: Apache-2.0

package bmp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"leakprof/collector/bgp"
)

// Family is an address family: AFI and SAFI (RFC 4760).
type Family struct {
	AFI  uint16
	SAFI uint8
}

// The families with names.
var (
	IPv4Unicast = Family{1, 1}
	IPv6Unicast = Family{2, 1}
)

func (f Family) String() string {
	switch f {
	case IPv4Unicast:
		return "IPv4 unicast"
	case IPv6Unicast:
		return "IPv6 unicast"
	}
	return fmt.Sprintf("AFI %d SAFI %d", f.AFI, f.SAFI)
}

// maxBits is the longest prefix of a family whose NLRI are length and prefix (RFC 4760
// §5); 0 for families that are encoded otherwise. Labels and route distinguishers count
// as part of the prefix (RFC 8277 §2, RFC 4364 §4.3.4).
func (f Family) maxBits() int {
	if f.AFI != 1 && f.AFI != 2 {
		return 0
	}
	switch f.SAFI {
	case 1, 2: // unicast, multicast
		if f.AFI == 1 {
			return 32
		}
		return 128
	case 4, 128: // labelled, VPN
		return 255
	}
	return 0
}

// Path attributes that matter to counting (RFC 4760).
const (
	attrMPReach   = 14
	attrMPUnreach = 15
)

// updateParts are the parts of an UPDATE message (RFC 4271 §4.3).
type updateParts struct {
	withdrawn, attributes, nlri []byte
}

// splitUpdate finds the parts of the UPDATE message, header included, that is b.
func splitUpdate(b []byte) (updateParts, error) {
	b, rest, err := bgpMessage(b, bgp.TypeUpdate)
	if err != nil {
		return updateParts{}, err
	}
	if len(rest) > 0 {
		return updateParts{}, fmt.Errorf("parse UPDATE: %d bytes after it", len(rest))
	}
	var u updateParts
	if u.withdrawn, b, err = counted(b); err != nil {
		return u, fmt.Errorf("parse UPDATE: withdrawn routes: %w", err)
	}
	if u.attributes, b, err = counted(b); err != nil {
		return u, fmt.Errorf("parse UPDATE: path attributes: %w", err)
	}
	u.nlri = b
	return u, nil
}

// counted splits off a field that begins with its length in two bytes.
func counted(b []byte) (field, rest []byte, err error) {
	if len(b) < 2 {
		return nil, nil, fmt.Errorf("length of %d bytes, need 2", len(b))
	}
	n := int(binary.BigEndian.Uint16(b))
	if n > len(b)-2 {
		return nil, nil, fmt.Errorf("%d bytes, %d left", n, len(b)-2)
	}
	return b[2 : 2+n], b[2+n:], nil
}

// nextAttribute splits off the first path attribute (RFC 4271 §4.3).
func nextAttribute(b []byte) (flags, typ byte, value, rest []byte, err error) {
	header := 3
	if b[0]&0x10 != 0 { // extended length
		header = 4
	}
	if len(b) < header {
		return 0, 0, nil, nil, fmt.Errorf("path attribute header of %d bytes, need %d", len(b), header)
	}
	n := int(b[2])
	if header == 4 {
		n = n<<8 | int(b[3])
	}
	if n > len(b)-header {
		return 0, 0, nil, nil, fmt.Errorf("path attribute %d of %d bytes, %d left", b[1], n, len(b)-header)
	}
	return b[0], b[1], b[header : header+n], b[header+n:], nil
}

// splitMPReach takes an MP_REACH_NLRI value apart (RFC 4760 §3).
func splitMPReach(b []byte) (f Family, nextHop, nlri []byte, err error) {
	if len(b) < 5 || int(b[3]) > len(b)-5 {
		return f, nil, nil, fmt.Errorf("MP_REACH_NLRI of %d bytes", len(b))
	}
	f = Family{binary.BigEndian.Uint16(b), b[2]}
	nextHop = b[4 : 4+int(b[3])]
	return f, nextHop, b[5+len(nextHop):], nil
}

// splitMPUnreach takes an MP_UNREACH_NLRI value apart (RFC 4760 §4).
func splitMPUnreach(b []byte) (f Family, nlri []byte, err error) {
	if len(b) < 3 {
		return f, nil, fmt.Errorf("MP_UNREACH_NLRI of %d bytes", len(b))
	}
	return Family{binary.BigEndian.Uint16(b), b[2]}, b[3:], nil
}

var errPrefix = errors.New("prefix does not fit")

// countPrefixes counts NLRI of length and prefix, with a path identifier before each if
// addPath (RFC 7911 §3).
func countPrefixes(b []byte, maxBits int, addPath bool) (n int, err error) {
	skip := 0
	if addPath {
		skip = 4
	}
	for len(b) > skip {
		bits := int(b[skip])
		size := skip + 1 + (bits+7)/8
		if bits > maxBits || size > len(b) {
			return 0, errPrefix
		}
		b = b[size:]
		n++
	}
	if len(b) > 0 {
		return 0, errPrefix
	}
	return n, nil
}

// updateCounts is what one UPDATE does to a RIB.
type updateCounts struct {
	announced, withdrawn int
	opaque               bool   // has NLRI of families that are not counted
	endOfRIB             bool   // (RFC 4724 §2) of:
	family               Family // the last one seen
}

// countUpdate counts the prefixes of an UPDATE message, header included. paths are the
// families with ADD-PATH.
func countUpdate(b []byte, paths []Family) (updateCounts, error) {
	c := updateCounts{family: IPv4Unicast}
	u, err := splitUpdate(b)
	if err != nil {
		return c, err
	}
	if c.withdrawn, err = countPrefixes(u.withdrawn, 32, slices.Contains(paths, IPv4Unicast)); err != nil {
		return c, fmt.Errorf("count withdrawn routes: %w", err)
	}
	if c.announced, err = countPrefixes(u.nlri, 32, slices.Contains(paths, IPv4Unicast)); err != nil {
		return c, fmt.Errorf("count NLRI: %w", err)
	}
	empty, attributes := len(u.withdrawn) == 0 && len(u.nlri) == 0, 0
	for a := u.attributes; len(a) > 0; attributes++ {
		_, typ, value, rest, err := nextAttribute(a)
		if err != nil {
			return c, fmt.Errorf("count NLRI: %w", err)
		}
		a = rest
		if typ != attrMPReach && typ != attrMPUnreach {
			empty = false
			continue
		}
		nlri, to := []byte(nil), &c.withdrawn
		if typ == attrMPReach {
			c.family, _, nlri, err = splitMPReach(value)
			to, empty = &c.announced, false
		} else if c.family, nlri, err = splitMPUnreach(value); len(nlri) > 0 {
			empty = false
		}
		if err != nil {
			return c, fmt.Errorf("count NLRI: %w", err)
		}
		bits := c.family.maxBits()
		if bits == 0 {
			c.opaque = c.opaque || len(nlri) > 0
			continue
		}
		n, err := countPrefixes(nlri, bits, slices.Contains(paths, c.family))
		if err != nil {
			return c, fmt.Errorf("count %v NLRI: %w", c.family, err)
		}
		*to += n
	}
	c.endOfRIB = empty && attributes <= 1
	return c, nil
}
