// SPDX-License-Identifier: Apache-2.0

package experiment

import (
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

	up   map[bmp.Peer]bool        // by what stays the same from session to session (same)
	seen map[heard]bmp.PeerCounts // what has been counted already

	ups, downs, messages uint64 // of the experiment's peers
	others               uint64 // sessions of others that came or went
	otherMessages        uint64
	connections          int      // open ones
	changes              []change // since sessions took them
}

type heard struct {
	connection uint64
	peer       bmp.Peer
}

func newPeers(pattern string) *peers {
	return &peers{pattern: pattern, names: make(map[string]string), up: make(map[bmp.Peer]bool), seen: make(map[heard]bmp.PeerCounts)}
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

// update takes what the station counts. known has the addresses of neighbors
// whose sessions were up before BIRD first told of them.
func (p *peers) update(c bmp.Counts, known map[string]bool, now time.Time) {
	here := make(map[bmp.Peer]bool)
	seen := make(map[heard]bmp.PeerCounts)
	p.connections = 0
	settled := false
	for _, conn := range c.Connections {
		if conn.Open {
			p.connections++
			// Some BIRDs (3.1.7) tell nothing of the sessions to a router's second
			// connection; that does not mean that they are down.
			settled = settled || now.Sub(conn.Since) > absentAfter && len(conn.Peers) > 0
		}
		for _, n := range conn.Peers {
			if !n.Peer.IsBGP() {
				continue
			}
			key := heard{conn.Connection, n.Peer}
			before, again := p.seen[key]
			seen[key] = n
			here[same(n.Peer)] = here[same(n.Peer)] || conn.Open && n.Up
			ups, downs := n.Ups-before.Ups, n.Downs-before.Downs
			if !again && ups > 0 && (p.up[same(n.Peer)] || known[n.Peer.Addr.String()]) {
				ups-- // a repetition
			}
			if n.Ups != before.Ups || n.Downs != before.Downs {
				p.up[same(n.Peer)] = n.Up
			}
			p.count(n.Peer, ups, downs, n.Routes().Messages-before.Routes().Messages)
			p.changed(n.Peer, n.Changed, ups, downs, n.Up, n.LastReason.String())
		}
	}
	p.seen = seen
	for peer, up := range p.up {
		if up && settled && !here[peer] {
			p.up[peer] = false
			p.count(peer, 0, 1, 0)
			p.changed(peer, now, 0, 1, false, "")
		}
	}
}

func (p *peers) count(peer bmp.Peer, ups, downs, messages uint64) {
	address := peer.Addr.String()
	if p.selects(address, p.names[address]) {
		p.ups, p.downs, p.messages = p.ups+ups, p.downs+downs, p.messages+ups+downs+messages
	} else {
		p.others, p.otherMessages = p.others+ups+downs, p.otherMessages+messages
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
