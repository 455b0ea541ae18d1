// SPDX-License-Identifier: Apache-2.0

package bmp

import (
	"net/netip"
	"time"
)

// Event is something that happened on a connection, other than routes going by.
type Event struct {
	At         time.Time // when the station read it
	Connection uint64    // number of the connection, from 1
	Body       EventBody
}

// EventBody is one of Connected, Initiation, PeerUp, PeerDown, EndOfRIB, StatisticsReport,
// Termination and Disconnected.
type EventBody interface{ event() }

// Connected says that a router has connected.
type Connected struct{ Remote netip.AddrPort }

// EndOfRIB says that the initial dump of a RIB is complete (RFC 7854 §5).
type EndOfRIB struct {
	PeerHeader
	Family Family
}

// Disconnected says that a connection has ended, and with it all its peers.
type Disconnected struct {
	Err     error // nil if the router closed between two messages; a *MalformedError if we did
	Offset  int64 // bytes of whole messages until then
	PeersUp int   // BGP peers without a Peer Down
}

func (Connected) event()        {}
func (Initiation) event()       {}
func (PeerUp) event()           {}
func (PeerDown) event()         {}
func (EndOfRIB) event()         {}
func (StatisticsReport) event() {}
func (Termination) event()      {}
func (Disconnected) event()     {}
