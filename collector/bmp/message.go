// SPDX-License-Identifier: Apache-2.0

package bmp

import (
	"encoding/binary"
	"fmt"
	"time"
)

const (
	version       = 3 // RFC 7854 §4.1
	commonLen     = 6
	peerHeaderLen = 42
	// DefaultMaxMessage is the longest message a station takes unless told otherwise, in
	// bytes. A Peer Up with two extended OPENs (RFC 8654) has 131 kB.
	DefaultMaxMessage = 1 << 20
)

// MessageType is the type octet of the common header (RFC 7854 §4.1).
type MessageType uint8

// The message types.
const (
	TypeRouteMonitoring  MessageType = 0
	TypeStatisticsReport MessageType = 1
	TypePeerDown         MessageType = 2
	TypePeerUp           MessageType = 3
	TypeInitiation       MessageType = 4
	TypeTermination      MessageType = 5
	TypeRouteMirroring   MessageType = 6

	numTypes = 7
)

var typeNames = [numTypes]string{
	"Route Monitoring", "Statistics Report", "Peer Down Notification", "Peer Up Notification",
	"Initiation", "Termination", "Route Mirroring",
}

func (t MessageType) String() string {
	if t < numTypes {
		return typeNames[t]
	}
	return fmt.Sprintf("message type %d", uint8(t))
}

// minBody is the least length of a known type's body: the per-peer header where there is
// one, and the fixed fields after it (RFC 7854 §4.2 to §4.10).
var minBody = [numTypes]int{
	TypeRouteMonitoring:  peerHeaderLen,
	TypeStatisticsReport: peerHeaderLen + 4,
	TypePeerDown:         peerHeaderLen + 1,
	TypePeerUp:           peerHeaderLen + 20,
	TypeRouteMirroring:   peerHeaderLen,
}

// parseCommon checks the common header at the start of b, which holds at least commonLen
// bytes, and returns the length of the whole message.
func parseCommon(b []byte, maxMessage int) (int, MessageType, error) {
	if b[0] != version {
		return 0, 0, fmt.Errorf("version %d, want %d", b[0], version)
	}
	length, typ := binary.BigEndian.Uint32(b[1:]), MessageType(b[5])
	if length < commonLen || uint64(length) > uint64(maxMessage) {
		return 0, 0, fmt.Errorf("%v of %d bytes: want %d to %d", typ, length, commonLen, maxMessage)
	}
	if typ < numTypes && int(length)-commonLen < minBody[typ] {
		return 0, 0, fmt.Errorf("%v of %d bytes: want at least %d", typ, length, commonLen+minBody[typ])
	}
	return int(length), typ, nil
}

// Message is one whole message as it came.
type Message struct {
	At         time.Time // when the station took it
	Connection uint64    // number of the connection, from 1
	Offset     int64     // of the message in the byte stream of the connection
	Type       MessageType
	Bytes      []byte   // common header included
	AddPath    []Family // of Route Monitoring: the families with path identifiers (RFC 7911)
}

// Decode gives what the message says: an *Update, StatisticsReport, PeerDown, PeerUp,
// Initiation, Termination or RouteMirroring, or nil for an unknown type. What it returns
// may alias Bytes.
func (m Message) Decode() (any, error) {
	if len(m.Bytes) < commonLen {
		return nil, fmt.Errorf("decode message: %d bytes, need %d", len(m.Bytes), commonLen)
	}
	body := m.Bytes[commonLen:]
	switch m.Type {
	case TypeRouteMonitoring:
		return DecodeRouteMonitoring(body, m.AddPath...)
	case TypeStatisticsReport:
		return ParseStatisticsReport(body)
	case TypePeerDown:
		return ParsePeerDown(body)
	case TypePeerUp:
		return ParsePeerUp(body)
	case TypeInitiation:
		return parseInitiation(body)
	case TypeTermination:
		return parseTermination(body)
	case TypeRouteMirroring:
		return ParseRouteMirroring(body)
	}
	return nil, nil
}

// MalformedError says why a connection was given up, and where.
type MalformedError struct {
	Offset int64 // of the message in the byte stream of the connection
	Err    error
}

func (e *MalformedError) Error() string {
	return fmt.Sprintf("malformed BMP message at byte %d: %v", e.Offset, e.Err)
}

func (e *MalformedError) Unwrap() error { return e.Err }
