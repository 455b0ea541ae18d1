// SPDX-License-Identifier: Apache-2.0

package bmp

import (
	"net/netip"
	"time"

	"leakprof/collector/bgp"
)

// RouteCounts counts the Route Monitoring of one RIB of one peer, or of many.
type RouteCounts struct {
	Messages  uint64 // Route Monitoring messages
	Announced uint64 // prefixes in them, repeated ones too
	Withdrawn uint64
	EndOfRIBs uint64
}

func (c *RouteCounts) add(d RouteCounts) {
	c.Messages += d.Messages
	c.Announced += d.Announced
	c.Withdrawn += d.Withdrawn
	c.EndOfRIBs += d.EndOfRIBs
}

// Totals counts everything that came over one connection, or over many.
type Totals struct {
	RouteCounts
	ByType           [numTypes]uint64 // messages by MessageType
	UnknownTypes     uint64           // messages of other types, skipped
	UnknownTLVs      uint64           // TLVs and statistics of other types, skipped
	PeerUps          uint64           // Peer Ups of BGP sessions: a Loc-RIB has none
	PeerDowns        uint64           // and Peer Downs
	MirroredMessages uint64           // BGP messages in Route Mirroring
	MirroringLosses  uint64           // Route Mirroring that says that messages were lost
	Bytes            uint64           // of whole messages
	BeforeInitiation uint64           // messages that came before any Initiation: BIRD before 2.16 sends its old queue first
	MalformedUpdates uint64           // Route Monitoring whose UPDATE could not be read; not in Announced and Withdrawn
	OpaqueUpdates    uint64           // UPDATEs with NLRI of families that are not counted
	MalformedUpDowns uint64           // Peer Up and Down with content that could not be read, see their Err
	UntrackedPeers   uint64           // messages of peers beyond the limit per connection
	LastMessage      time.Time        // when the last bytes of messages came
}

func (t *Totals) add(u *Totals) {
	t.RouteCounts.add(u.RouteCounts)
	for i := range t.ByType {
		t.ByType[i] += u.ByType[i]
	}
	t.UnknownTypes += u.UnknownTypes
	t.UnknownTLVs += u.UnknownTLVs
	t.PeerUps += u.PeerUps
	t.PeerDowns += u.PeerDowns
	t.MirroredMessages += u.MirroredMessages
	t.MirroringLosses += u.MirroringLosses
	t.Bytes += u.Bytes
	t.BeforeInitiation += u.BeforeInitiation
	t.MalformedUpdates += u.MalformedUpdates
	t.OpaqueUpdates += u.OpaqueUpdates
	t.MalformedUpDowns += u.MalformedUpDowns
	t.UntrackedPeers += u.UntrackedPeers
	if u.LastMessage.After(t.LastMessage) {
		t.LastMessage = u.LastMessage
	}
}

// Dump is a RIB and family whose initial dump is complete.
type Dump struct {
	RIB    RIB
	Family Family
}

// PeerCounts is the state of one peer of one connection.
type PeerCounts struct {
	Peer       Peer
	Flags      PeerFlags      // of its last message
	Up         bool           // the session; of a Loc-RIB: it is monitored
	Changed    time.Time      // when the last Peer Up or Down came
	Ups, Downs uint64         // Peer Ups and Downs
	LastReason PeerDownReason // of the last Peer Down
	// LastNotification is that of the last Peer Down, nil if it had none.
	LastNotification *bgp.Notification
	TableName        string               // VRF or table, of the last Peer Up
	Dumped           []Dump               // what had its End-of-RIB since the last Peer Up, at most 64
	Statistics       []Statistic          // of the last Statistics Report
	RIBs             [numRIBs]RouteCounts // by RIB
	LastRoute        time.Time            // when the last Route Monitoring came
}

// Routes sums up the peer's RIBs.
func (p PeerCounts) Routes() (sum RouteCounts) {
	for _, r := range p.RIBs {
		sum.add(r)
	}
	return sum
}

// ConnectionCounts counts one connection.
type ConnectionCounts struct {
	Connection uint64 // its number, from 1
	Remote     netip.AddrPort
	Since      time.Time
	Open       bool
	Initiation *Initiation // the last one; nil if there was none
	Totals
	Peers []PeerCounts // in order of appearance
}

// Counts is a snapshot of a station. Each connection's part is taken between two messages.
type Counts struct {
	Totals                                // over all connections, past ones too
	Accepted           uint64             // connections
	Refused            uint64             // connections beyond the limit
	MalformedMessages  uint64             // each ended its connection
	AcceptErrors       uint64             // connections that the system could not give us
	EventsDropped      uint64             // because nobody read Events
	Connections        []ConnectionCounts // the open ones, and the last few that are closed
	ConnectionsDropped uint64             // closed ones that are in Totals only
}

// UpPeers is the number of BGP peers that are up, over the open connections. A Loc-RIB is
// none.
func (c Counts) UpPeers() (n int) {
	for _, conn := range c.Connections {
		for _, p := range conn.Peers {
			if conn.Open && p.Up && p.Peer.IsBGP() {
				n++
			}
		}
	}
	return n
}
