// SPDX-License-Identifier: Apache-2.0

package experiment

import (
	"net/netip"
	"path"
	"time"

	"leakprof/collector/bmp"
)

// absentAfter is how long after a router has connected a peer that it has not
// told of is taken to be down: BIRD repeats the Peer Up of every session at
// once.
const absentAfter = 5 * time.Second

// peers follows the BGP sessions that the station hears of, over all of its
// connections: a session that BIRD tells of again in a new connection has not
// come up again.
type peers struct {
	pattern string            // of the peers that the experiment is about; "" for all
	names   map[string]string // of BIRD's protocols by the neighbor's address

	up        map[bmp.Peer]bool        // by what stays the same from session to session (same)
	seen      map[heard]bmp.PeerCounts // what has been counted already
	initiated map[uint64]bool          // connections whose Initiation has come

	ups, downs, messages uint64 // of the experiment's peers
	others               uint64 // sessions of others that came or went
	otherMessages        uint64
	connections          int      // open ones
	changes              []change // since sessions took them
	lag                  lag
}

// heard is a peer of one connection. Its AS number and identifier are no part
// of it: they may be missing while the session is down.
type heard struct {
	connection uint64
	kind       bmp.PeerType
	peer       bmp.Peer
}

func newPeers(pattern string) *peers {
	return &peers{
		pattern: pattern, names: make(map[string]string), up: make(map[bmp.Peer]bool),
		seen: make(map[heard]bmp.PeerCounts), initiated: make(map[uint64]bool),
	}
}

// same is what of a peer stays the same from session to session.
func same(p bmp.Peer) bmp.Peer { return bmp.Peer{Distinguisher: p.Distinguisher, Addr: p.Addr} }

// selects says whether the experiment is about a neighbor, by its address or
// its protocol's name.
func (p *peers) selects(address, name string) bool {
	if p.pattern == "" {
		return true
	}
	for _, s := range []string{address, name} {
		if ok, _ := path.Match(p.pattern, s); ok {
			return true
		}
	}
	return false
}

// update takes what the station counts.
func (p *peers) update(c bmp.Counts, now time.Time) {
	here := make(map[bmp.Peer]bool)
	seen, initiated := make(map[heard]bmp.PeerCounts), make(map[uint64]bool)
	p.connections = 0
	settled := false
	for _, conn := range c.Connections {
		if conn.Open {
			p.connections++
			// Some BIRDs (3.1.7) tell nothing of the sessions to a router's second
			// connection; that does not mean that they are down.
			settled = settled || now.Sub(conn.Since) > absentAfter && len(conn.Peers) > 0
		}
		// What comes before the Initiation is BIRD's queue from before this
		// connection (BIRD before 2.16): only what it comes to in the end counts.
		isOld := conn.Initiation == nil
		wasOld := !p.initiated[conn.Connection] && conn.BeforeInitiation > 0
		initiated[conn.Connection] = !isOld
		for _, n := range conn.Peers {
			if !n.Peer.IsBGP() {
				continue
			}
			peer := same(n.Peer)
			key := heard{conn.Connection, n.Peer.Type, peer}
			before := p.seen[key]
			seen[key] = n
			here[peer] = here[peer] || conn.Open && n.Up
			p.countMessages(n.Peer, n.Routes().Messages-before.Routes().Messages)
			ups, downs := n.Ups-before.Ups, n.Downs-before.Downs
			switch {
			case isOld || ups+downs == 0 && !wasOld:
				continue
			case wasOld && !n.Up:
				continue // it may be told of in a moment
			case wasOld:
				ups, downs = 1, 0
			}
			p.move(n.Peer, change{at: n.Changed, ups: ups, downs: downs, isUp: n.Up, reason: n.LastReason.String()})
		}
	}
	p.seen, p.initiated = seen, initiated
	for peer, up := range p.up {
		if up && settled && !here[peer] {
			p.move(peer, change{at: now, downs: 1})
		}
	}
}

// move takes it that a peer came up and went down so many times, and is up in
// the end or not. What repeats the state that it is in already counts for
// nothing.
func (p *peers) move(peer bmp.Peer, c change) {
	wasUp := p.up[same(peer)]
	p.up[same(peer)] = c.isUp
	switch {
	case wasUp && c.isUp:
		c.ups = c.downs
	case wasUp:
		c.ups = max(c.downs, 1) - 1
	case c.isUp:
		c.downs = max(c.ups, 1) - 1
	default:
		c.downs = c.ups
	}
	if c.ups+c.downs == 0 {
		return
	}
	c.peer = peer.Addr.String()
	c.protocol = p.names[c.peer]
	p.changes = append(p.changes, c)
	if n := c.ups + c.downs; p.selects(c.peer, c.protocol) {
		p.ups, p.downs, p.messages = p.ups+c.ups, p.downs+c.downs, p.messages+n
	} else {
		p.others += n
	}
}

// neighbor is an address as BMP has it: BIRD adds the interface to a link-local
// one.
func neighbor(address string) string {
	a, err := netip.ParseAddr(address)
	if err != nil {
		return address
	}
	return a.WithZone("").String()
}

// assume takes sessions to be up from before the station heard of any, by the
// neighbors' addresses.
func (p *peers) assume(established map[string]bool) {
	for address := range established {
		if a, err := netip.ParseAddr(address); err == nil {
			p.up[bmp.Peer{Addr: a}] = true
		}
	}
}

// adopt takes it from BIRD's control socket which of the experiment's sessions
// are up, by the neighbor's address, where BMP says nothing of them.
func (p *peers) adopt(established map[string]bool, now time.Time) {
	for address := range established {
		a, err := netip.ParseAddr(address)
		if peer := (bmp.Peer{Addr: a}); err == nil && !p.up[peer] {
			p.move(peer, change{at: now, ups: 1, isUp: true})
		}
	}
	for peer, up := range p.up {
		if address := peer.Addr.String(); up && !established[address] && p.selects(address, p.names[address]) {
			p.move(peer, change{at: now, downs: 1})
		}
	}
}

// differ is how many of the experiment's sessions are up by the station alone,
// or by the control socket alone.
func (p *peers) differ(established map[string]bool) (n int) {
	up := 0
	for peer, isUp := range p.up {
		address := peer.Addr.String()
		if !isUp || !p.selects(address, p.names[address]) {
			continue
		}
		if up++; !established[address] {
			n++
		}
	}
	// Those that both have are counted in up alone.
	return n + len(established) - (up - n)
}

func (p *peers) countMessages(peer bmp.Peer, n uint64) {
	address := peer.Addr.String()
	if p.selects(address, p.names[address]) {
		p.messages += n
	} else {
		p.otherMessages += n
	}
}

// upNow is how many of the experiment's peers are up.
func (p *peers) upNow() (n int) {
	for peer, up := range p.up {
		if address := peer.Addr.String(); up && p.selects(address, p.names[address]) {
			n++
		}
	}
	return n
}
