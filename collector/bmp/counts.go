// SPDX-License-Identifier: Apache-2.0

package bmp

import (
	"net/netip"
	"time"
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

// PeerCounts counts one peer of one connection.
type PeerCounts struct {
	Peer       Peer
	Up         bool
	Ups, Downs uint64
	RIBs       [numRIBs]RouteCounts // by RIB
	LastRoute  time.Time            // when the last Route Monitoring came
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

// UpPeers is the number of peers that are up, over the open connections.
func (c Counts) UpPeers() (n int) {
	for _, conn := range c.Connections {
		for _, p := range conn.Peers {
			if conn.Open && p.Up {
				n++
			}
		}
	}
	return n
}
