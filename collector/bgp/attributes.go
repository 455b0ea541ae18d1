// SPDX-License-Identifier: Apache-2.0

package bgp

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Types of path attributes that a route of a dump may have (IANA, "BGP Path Attributes").
const (
	attrOrigin          = 1
	attrASPath          = 2
	attrNextHop         = 3
	attrMED             = 4
	attrAtomicAggregate = 6
	attrAggregator      = 7
	attrCommunities     = 8
	attrOriginatorID    = 9 // RFC 4456: of route reflection
	attrClusterList     = 10
	attrExtended        = 16 // RFC 4360
	attrAS4Path         = 17 // RFC 6793: of sessions with old speakers
	attrAS4Aggregator   = 18
	attrAIGP            = 26  // RFC 7311
	attrLarge           = 32  // RFC 8092
	attrOnlyToCustomer  = 35  // RFC 9234
	attrPrivate         = 254 // what BIRD uses within
	attrDevelopment     = 255 // RFC 2042
)

// Types of AS_PATH segments (RFC 4271 §4.3).
const (
	segmentSet      = 1
	segmentSequence = 2
)

var (
	errLoop      = errors.New("the daemon's AS number in AS_PATH")
	errMalformed = errors.New("malformed attributes")
)

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errMalformed, fmt.Sprintf(format, args...))
}

// knownAttributes are the flags under which an attribute is passed on, and the length its
// value has to be a multiple of; exact: it has to be that length. A daemon takes a route
// with anything else as withdrawn (RFC 7606 §7).
var knownAttributes = map[byte]struct {
	flags  byte
	length int
	exact  bool
}{
	attrOrigin:          {flagTransitive, 1, true},
	attrMED:             {flagOptional, 4, true},
	attrAtomicAggregate: {flagTransitive, 0, true},
	attrAggregator:      {flagOptional | flagTransitive, 8, true},
	attrCommunities:     {flagOptional | flagTransitive, 4, false},
	attrExtended:        {flagOptional | flagTransitive, 8, false},
	attrLarge:           {flagOptional | flagTransitive, 12, false},
	attrOnlyToCustomer:  {flagOptional | flagTransitive, 4, true},
}

// appendImported appends the path attributes with which the peer announces a route that
// has the attributes raw in a dump (RFC 6396 §4.3.4): for IPv4 with NEXT_HOP, for IPv6
// without a next hop. Of attributes that come twice the first counts (RFC 7606 §3 g).
func appendImported(b, raw []byte, peer Identity, ipv6 bool, avoid uint32) ([]byte, error) {
	begin := len(b)
	var seen [256]bool
	for rest := raw; len(rest) > 0; {
		if len(rest) < 3 {
			return b, malformed("%d bytes left", len(rest))
		}
		flags, typ, length, header := rest[0], rest[1], int(rest[2]), 3
		if flags&flagExtended != 0 {
			if len(rest) < 4 {
				return b, malformed("%d bytes left", len(rest))
			}
			length, header = int(binary.BigEndian.Uint16(rest[2:])), 4
		}
		if length > len(rest)-header {
			return b, malformed("attribute %d of %d bytes, %d left", typ, length, len(rest)-header)
		}
		value := rest[header : header+length]
		rest = rest[header+length:]
		if seen[typ] {
			continue
		}
		seen[typ] = true
		var err error
		if typ == attrASPath {
			if b, err = appendASPath(b, value, peer.ASN, avoid); err == nil && !ipv6 {
				nextHop := peer.NextHop.As4()
				b = appendAttribute(b, flagTransitive, attrNextHop, nextHop[:])
			}
		} else {
			b, err = appendPassedOn(b, flags, typ, value)
		}
		if err != nil {
			return b, err
		}
	}
	switch {
	case !seen[attrOrigin]:
		return b, malformed("no ORIGIN")
	case !seen[attrASPath]:
		return b, malformed("no AS_PATH")
	}
	const longest = 17 // an encoded prefix
	if room(b[begin:], ipv6) < longest {
		return b, malformed("%d bytes are too many for a message", len(b)-begin)
	}
	return b, nil
}

// appendPassedOn appends an attribute that an EBGP speaker passes on, and nothing of
// others.
func appendPassedOn(b []byte, flags, typ byte, value []byte) ([]byte, error) {
	if known, ok := knownAttributes[typ]; ok {
		if known.exact && len(value) != known.length ||
			!known.exact && (len(value) == 0 || len(value)%known.length != 0) ||
			typ == attrOrigin && value[0] > 2 {
			return b, malformed("attribute %d of %d bytes: % .8x", typ, len(value), value)
		}
		return appendAttribute(b, known.flags, typ, value), nil
	}
	switch typ {
	case attrNextHop, attrMPReach, attrMPUnreach, attrOriginatorID, attrClusterList, attrAS4Path, attrAS4Aggregator, attrAIGP, attrPrivate, attrDevelopment:
		return b, nil
	}
	// Of those that we do not know the transitive ones go on (RFC 4271 §9).
	const transitive = flagOptional | flagTransitive
	if flags&transitive == transitive {
		return appendAttribute(b, transitive, typ, value), nil
	}
	return b, nil
}

func appendAttribute(b []byte, flags, typ byte, value []byte) []byte {
	if len(value) > 255 {
		b = append(b, flags|flagExtended, typ)
		b = binary.BigEndian.AppendUint16(b, uint16(len(value)))
	} else {
		b = append(b, flags, typ, byte(len(value)))
	}
	return append(b, value...)
}

// appendASPath appends AS_PATH with the peer's number in front. Segments of confederations
// come by no EBGP session (RFC 5065 §5), and AS 0 by none at all (RFC 7607).
func appendASPath(b, path []byte, asn, avoid uint32) ([]byte, error) {
	for rest := path; len(rest) > 0; {
		if len(rest) < 2 || rest[1] == 0 || len(rest) < 2+4*int(rest[1]) {
			return b, malformed("AS_PATH of %d bytes, cut or with an empty segment", len(path))
		}
		if rest[0] != segmentSet && rest[0] != segmentSequence {
			return b, malformed("AS_PATH with a segment of type %d", rest[0])
		}
		end := 2 + 4*int(rest[1])
		for i := 2; i < end; i += 4 {
			switch binary.BigEndian.Uint32(rest[i:]) {
			case avoid:
				return b, errLoop
			case 0:
				return b, malformed("AS_PATH with AS 0")
			}
		}
		rest = rest[end:]
	}
	own := binary.BigEndian.AppendUint32(nil, asn)
	value := make([]byte, 0, len(path)+6)
	if len(path) > 0 && path[0] == segmentSequence && path[1] < 255 {
		value = append(value, segmentSequence, path[1]+1)
		value = append(value, own...)
		value = append(value, path[2:]...)
	} else {
		value = append(value, segmentSequence, 1)
		value = append(value, own...)
		value = append(value, path...)
	}
	return appendAttribute(b, flagTransitive, attrASPath, value), nil
}
