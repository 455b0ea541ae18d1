// SPDX-License-Identifier: Apache-2.0

package bmp

import (
	"encoding/binary"
	"fmt"
)

// StatisticType is the type of a statistic (IANA, "BMP Statistics Types").
type StatisticType uint16

// statistics are the known ones: 0 to 13 of RFC 7854 §4.8, 14 to 17 of RFC 8671 §6.2.
var statistics = [...]struct {
	name string
	size int // of the value, in bytes: 4 a counter, 8 a gauge, 11 a gauge of one AFI and SAFI
}{
	{"prefixes rejected by inbound policy", 4},
	{"(known) duplicate prefix advertisements", 4},
	{"(known) duplicate withdraws", 4},
	{"updates invalidated due to CLUSTER_LIST loop", 4},
	{"updates invalidated due to AS_PATH loop", 4},
	{"updates invalidated due to ORIGINATOR_ID", 4},
	{"updates invalidated due to AS_CONFED loop", 4},
	{"routes in Adj-RIBs-In", 8},
	{"routes in Loc-RIB", 8},
	{"routes in per-AFI/SAFI Adj-RIB-In", 11},
	{"routes in per-AFI/SAFI Loc-RIB", 11},
	{"updates subjected to treat-as-withdraw", 4},
	{"prefixes subjected to treat-as-withdraw", 4},
	{"duplicate update messages received", 4},
	{"routes in pre-policy Adj-RIB-Out", 8},
	{"routes in post-policy Adj-RIB-Out", 8},
	{"routes in per-AFI/SAFI pre-policy Adj-RIB-Out", 11},
	{"routes in per-AFI/SAFI post-policy Adj-RIB-Out", 11},
}

func (t StatisticType) String() string {
	if int(t) < len(statistics) {
		return statistics[t].name
	}
	return fmt.Sprintf("statistic %d", uint16(t))
}

// Statistic is one value of a Statistics Report.
type Statistic struct {
	Type   StatisticType
	Family Family // of a statistic per AFI and SAFI, else the zero Family
	Value  uint64
}

// StatisticsReport is what a router counted for a peer (RFC 7854 §4.8).
type StatisticsReport struct {
	PeerHeader
	Statistics []Statistic
	// UnknownTLVs is how many statistics were skipped: of other types, or of a length that
	// theirs does not have.
	UnknownTLVs int
}

// ParseStatisticsReport decodes the body of a Statistics Report, the bytes after the
// common header.
func ParseStatisticsReport(body []byte) (StatisticsReport, error) {
	if len(body) < minBody[TypeStatisticsReport] {
		return StatisticsReport{}, fmt.Errorf("parse Statistics Report: %d bytes, need %d", len(body), minBody[TypeStatisticsReport])
	}
	h, err := ParsePeerHeader(body)
	if err != nil {
		return StatisticsReport{}, err
	}
	r := StatisticsReport{PeerHeader: h}
	tlvs, err := ParseTLVs(body[peerHeaderLen+4:])
	if err != nil {
		return r, fmt.Errorf("parse Statistics Report: %w", err)
	}
	if count := binary.BigEndian.Uint32(body[peerHeaderLen:]); uint64(count) != uint64(len(tlvs)) {
		return r, fmt.Errorf("parse Statistics Report: %d statistics, want %d", len(tlvs), count)
	}
	for _, t := range tlvs {
		s := Statistic{Type: StatisticType(t.Type)}
		if int(t.Type) >= len(statistics) || len(t.Value) != statistics[t.Type].size {
			r.UnknownTLVs++
			continue
		}
		switch v := t.Value; len(v) {
		case 4:
			s.Value = uint64(binary.BigEndian.Uint32(v))
		case 8:
			s.Value = binary.BigEndian.Uint64(v)
		case 11:
			s.Family = Family{binary.BigEndian.Uint16(v), v[2]}
			s.Value = binary.BigEndian.Uint64(v[3:])
		}
		r.Statistics = append(r.Statistics, s)
	}
	return r, nil
}

// MirroringInformation is the code of an information TLV in Route Mirroring (RFC 7854 §4.7).
type MirroringInformation uint16

// The codes.
const (
	ErroredPDU   MirroringInformation = 0
	MessagesLost MirroringInformation = 1
)

func (i MirroringInformation) String() string {
	switch i {
	case ErroredPDU:
		return "Errored PDU"
	case MessagesLost:
		return "Messages Lost"
	}
	return fmt.Sprintf("information %d", uint16(i))
}

// RouteMirroring repeats BGP messages word for word (RFC 7854 §4.7).
type RouteMirroring struct {
	PeerHeader
	Messages    [][]byte // BGP messages, which may be malformed: the peer's, not the router's
	Information []MirroringInformation
	// UnknownTLVs is how many TLVs of other types, and information not of 2 bytes, were
	// skipped.
	UnknownTLVs int
}

// ParseRouteMirroring decodes the body of a Route Mirroring message, the bytes after the
// common header. Messages alias it.
func ParseRouteMirroring(body []byte) (RouteMirroring, error) {
	h, err := ParsePeerHeader(body)
	if err != nil {
		return RouteMirroring{}, err
	}
	m := RouteMirroring{PeerHeader: h}
	tlvs, err := ParseTLVs(body[peerHeaderLen:])
	if err != nil {
		return m, fmt.Errorf("parse Route Mirroring: %w", err)
	}
	for _, t := range tlvs {
		switch {
		case t.Type == 0:
			m.Messages = append(m.Messages, t.Value)
		case t.Type == 1 && len(t.Value) == 2:
			m.Information = append(m.Information, MirroringInformation(binary.BigEndian.Uint16(t.Value)))
		default:
			m.UnknownTLVs++
		}
	}
	return m, nil
}
