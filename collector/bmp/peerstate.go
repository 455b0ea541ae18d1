// SPDX-License-Identifier: Apache-2.0

package bmp

import (
	"encoding/binary"
	"slices"

	"leakprof/collector/bgp"
)

// maxDumped is how many End-of-RIBs of a peer are kept one by one: BIRD has 8 families
// and 3 RIBs.
const maxDumped = 64

// peer is what is known of a peer of this connection.
type peer struct {
	counts    PeerCounts
	pathsIn   []Family // with ADD-PATH, in the Adj-RIB-In or Loc-RIB
	pathsOut  []Family // and in the Adj-RIB-Out
	overLimit bool     // stands for all that are not tracked
}

// addPath are the families of a RIB that carry path identifiers.
func (p *peer) addPath(rib RIB) []Family {
	if rib == AdjRIBOutPre || rib == AdjRIBOutPost {
		return p.pathsOut
	}
	return p.pathsIn
}

// peer finds the peer of a per-peer header, or makes it known. Beyond the limit it is one
// that stands for all others.
func (c *connection) peer(body []byte) *peer {
	key := keyOf(body)
	if c.lastPeer != nil && key == c.lastKey {
		return c.lastPeer
	}
	p := c.peers[key]
	switch {
	case p != nil:
	case len(c.peers) >= c.station.opts.MaxPeers:
		c.others = peer{overLimit: true} // what it got was of another one
		return &c.others
	default:
		h, _ := ParsePeerHeader(body) // of a body that is long enough
		p = &peer{counts: PeerCounts{Peer: h.Peer}}
		c.peers[key] = p
		c.order = append(c.order, p)
	}
	c.lastKey, c.lastPeer = key, p
	return p
}

// trackedPeer is the peer of a message that is to be counted.
func (c *connection) trackedPeer(body []byte) *peer {
	p := c.peer(body)
	if p.overLimit {
		c.totals.UntrackedPeers++
	}
	p.counts.Flags = PeerFlags(body[1])
	return p
}

func (c *connection) routeMonitoring(body []byte) {
	p := c.trackedPeer(body)
	rib := ribOf(body[0], body[1])
	p.counts.LastRoute = c.now
	p.counts.RIBs[rib].Messages++
	c.totals.RouteCounts.Messages++
	u, err := countUpdate(body[peerHeaderLen:], p.addPath(rib))
	if err != nil {
		c.totals.MalformedUpdates++
		return
	}
	d := RouteCounts{Announced: uint64(u.announced), Withdrawn: uint64(u.withdrawn)}
	if u.opaque {
		c.totals.OpaqueUpdates++
	}
	if u.endOfRIB {
		d.EndOfRIBs = 1
		h, _ := ParsePeerHeader(body)
		p.dumped(Dump{rib, u.family})
		c.emit(c.now, EndOfRIB{PeerHeader: h, Family: u.family})
	}
	p.counts.RIBs[rib].add(d)
	c.totals.RouteCounts.add(d)
}

func (p *peer) dumped(d Dump) {
	if len(p.counts.Dumped) < maxDumped && !slices.Contains(p.counts.Dumped, d) {
		p.counts.Dumped = append(p.counts.Dumped, d)
	}
}

func (c *connection) peerUp(body []byte, up PeerUp) {
	p := c.trackedPeer(body)
	p.counts.Peer = up.Peer
	p.counts.Up = true
	p.counts.Changed = c.now
	p.counts.Ups++
	p.counts.TableName = up.TableName
	p.counts.Dumped = nil
	if up.Peer.IsBGP() {
		c.totals.PeerUps++
		p.pathsIn = addPathFamilies(up.Received, up.Sent)
		p.pathsOut = addPathFamilies(up.Sent, up.Received)
	} else {
		// Both OPENs are made up, to say how the router will encode (RFC 9069 §5.2).
		p.pathsIn = addPathCapabilities(up.Sent, addPathSend|addPathReceive)
	}
	if up.Err != nil {
		c.totals.MalformedUpDowns++
	}
	c.emit(c.now, up)
}

func (c *connection) peerDown(body []byte, down PeerDown) {
	p := c.trackedPeer(body)
	p.counts.Up = false
	p.counts.Changed = c.now
	p.counts.Downs++
	p.counts.LastReason, p.counts.LastNotification = down.Reason, down.Notification
	if down.Peer.IsBGP() {
		c.totals.PeerDowns++
	}
	if down.Err != nil {
		c.totals.MalformedUpDowns++
	}
	c.emit(c.now, down)
}

// Send and receive of the ADD-PATH capability (RFC 7911 §4).
const (
	capAddPath     = 69
	addPathReceive = 1
	addPathSend    = 2
)

// addPathCapabilities are the families for which an OPEN offers any of bits.
func addPathCapabilities(o bgp.Open, bits byte) (families []Family) {
	for _, c := range o.Capabilities {
		for v := c.Value; c.Code == capAddPath && len(v) >= 4; v = v[4:] {
			if v[3]&bits != 0 {
				families = append(families, Family{binary.BigEndian.Uint16(v), v[2]})
			}
		}
	}
	return families
}

// addPathFamilies are the families for which path identifiers go from the sender of one
// OPEN to the sender of the other (RFC 7911 §4).
func addPathFamilies(from, to bgp.Open) (families []Family) {
	accepted := addPathCapabilities(to, addPathReceive)
	for _, f := range addPathCapabilities(from, addPathSend) {
		if slices.Contains(accepted, f) && !slices.Contains(families, f) {
			families = append(families, f)
		}
	}
	return families
}
