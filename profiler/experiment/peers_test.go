// SPDX-License-Identifier: Apache-2.0

package experiment

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"leakprof/collector/bmp"
)

// TestPeers: sessions over several connections of the station.
func TestPeers(t *testing.T) {
	start := time.Unix(1000, 0)
	peer := func(n byte, ups, downs uint64) bmp.PeerCounts {
		return bmp.PeerCounts{Peer: bmp.Peer{Addr: netip.AddrFrom4([4]byte{192, 0, 2, n}), AS: uint32(n)}, Ups: ups, Downs: downs, Up: ups > downs}
	}
	again := func(p bmp.PeerCounts) bmp.PeerCounts { p.Up = true; return p }
	conn := func(number uint64, open bool, since time.Duration, all ...bmp.PeerCounts) bmp.ConnectionCounts {
		return bmp.ConnectionCounts{Connection: number, Open: open, Since: start.Add(since), Initiation: new(bmp.Initiation), Peers: all}
	}
	// A connection on which BIRD sends its old queue and no Initiation yet.
	queue := func(number uint64, all ...bmp.PeerCounts) bmp.ConnectionCounts {
		return bmp.ConnectionCounts{Connection: number, Open: true, Since: start, Peers: all}
	}
	initiated := func(c bmp.ConnectionCounts) bmp.ConnectionCounts {
		c.Initiation, c.BeforeInitiation = new(bmp.Initiation), 1
		return c
	}
	noAS := func(p bmp.PeerCounts) bmp.PeerCounts { p.Peer.AS = 0; return p }
	type want struct {
		ups, downs, others uint64
		up                 int
	}
	type steps [][]bmp.ConnectionCounts
	for _, c := range []struct {
		name, pattern string
		steps         steps
		want          want
	}{
		{"up and down", "", steps{{conn(1, true, 0)}, {conn(1, true, 0, peer(1, 1, 0), peer(2, 1, 0))}, {conn(1, true, 0, peer(1, 1, 1), peer(2, 1, 0))}}, want{2, 1, 0, 1}},
		{"a flap between two looks", "", steps{{conn(1, true, 0, peer(1, 1, 0))}, {conn(1, true, 0, again(peer(1, 2, 1)))}}, want{2, 1, 0, 1}},
		{"up and down between two looks", "", steps{{conn(1, true, 0)}, {conn(1, true, 0, peer(1, 1, 1))}}, want{1, 1, 0, 0}},
		{"a new connection, and down at once", "", steps{
			{conn(1, true, 0)}, {conn(1, true, 0, peer(1, 1, 0))}, {conn(1, false, 0, peer(1, 1, 0)), conn(2, true, 0, peer(1, 1, 1))}, {conn(1, false, 0, peer(1, 1, 0)), conn(2, true, 0, peer(1, 1, 1))}}, want{1, 1, 0, 0}},
		{"up before BMP was", "", steps{{conn(1, true, 0, peer(9, 1, 0), peer(2, 1, 0))}}, want{1, 0, 0, 2}},
		{"up before BMP was, told of later", "", steps{{conn(1, true, 0)}, {conn(1, true, 0, peer(9, 1, 0))}}, want{0, 0, 0, 1}},
		{"a new connection is no cycle", "", steps{
			{conn(1, true, 0, peer(1, 1, 0))}, {conn(1, false, 0, peer(1, 1, 0))}, {conn(1, false, 0, peer(1, 1, 0)), conn(2, true, 0, peer(1, 1, 0))}}, want{1, 0, 0, 1}},
		{"a new connection, told of later", "", steps{
			{conn(1, true, 0, peer(1, 1, 0))}, {conn(1, false, 0, peer(1, 1, 0)), conn(2, true, 0)}, {conn(1, false, 0, peer(1, 1, 0)), conn(2, true, 0, peer(1, 1, 0))}}, want{1, 0, 0, 1}},
		{"down while nobody heard", "", steps{
			{conn(1, true, -time.Minute, peer(1, 1, 0), peer(2, 1, 0))}, {conn(2, true, 0, peer(1, 1, 0))}, {conn(2, true, -time.Minute, peer(1, 1, 0))}}, want{2, 1, 0, 1}},
		{"the old queue says down, which is old", "", steps{
			{conn(1, true, 0, peer(1, 1, 0))}, {queue(2, peer(1, 0, 1))}, {initiated(queue(2, again(peer(1, 1, 1))))}}, want{1, 0, 0, 1}},
		{"the old queue says up, and then down", "", steps{
			{conn(1, true, 0)}, {conn(1, true, 0, peer(1, 1, 1))}, {queue(2, peer(1, 1, 0))}, {queue(2, peer(1, 1, 1))}, {initiated(queue(2, peer(1, 1, 1)))}, {conn(2, true, -time.Minute, peer(1, 1, 1))}}, want{1, 1, 0, 0}},
		{"the old queue, and it is up in the end", "", steps{{queue(1, peer(1, 3, 3))}, {initiated(queue(1, again(peer(1, 4, 3))))}, {conn(1, true, 0, peer(1, 4, 4))}}, want{1, 1, 0, 0}},
		{"the old queue, and it is down in the end", "", steps{
			{conn(1, true, 0, peer(1, 1, 0), peer(2, 1, 0))}, {queue(2, peer(1, 0, 1))}, {initiated(queue(2, peer(1, 0, 1)))}, {conn(2, true, -time.Minute, peer(1, 0, 1), peer(2, 1, 0))}}, want{2, 1, 0, 1}},
		{"a peer without its AS", "", steps{{conn(1, true, 0)}, {conn(1, true, 0, noAS(peer(1, 1, 1)))}, {conn(1, true, 0, again(peer(1, 2, 1)))}}, want{2, 1, 0, 1}},
		{"others", "192.0.2.1", steps{{conn(1, true, 0)}, {conn(1, true, 0, peer(1, 1, 0), peer(2, 1, 0))}, {conn(1, true, 0, peer(1, 1, 0), peer(2, 5, 5))}}, want{1, 0, 10, 1}},
		{"by name", "edge*", steps{{conn(1, true, 0, peer(1, 1, 0), peer(2, 1, 0), peer(3, 1, 0))}}, want{1, 0, 2, 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPeers(c.pattern)
			p.names["192.0.2.3"] = "edge3"
			if strings.HasPrefix(c.name, "up before") {
				p.assume(map[string]bool{"192.0.2.9": true})
			}
			for _, s := range c.steps {
				p.update(bmp.Counts{Connections: s}, start)
			}
			if got := (want{p.ups, p.downs, p.others, p.upNow()}); got != c.want {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
}

// TestAdopt: where BMP is silent, the control socket's word is taken.
func TestAdopt(t *testing.T) {
	p := newPeers("192.0.2.[12]")
	p.assume(map[string]bool{"192.0.2.1": true, "192.0.2.3": true})
	now := map[string]bool{"192.0.2.2": true}
	if n := p.differ(now); n != 2 {
		t.Errorf("%d sessions differ, want 2", n)
	}
	p.adopt(now, time.Unix(1000, 0))
	if n := p.differ(now); n != 0 || p.ups != 1 || p.downs != 1 || p.upNow() != 1 || p.others != 0 {
		t.Errorf("%d differ, %d came, %d went, %d up, %d others", n, p.ups, p.downs, p.upNow(), p.others)
	}
	if got := neighbor("fe80::1%eth0"); got != "fe80::1" {
		t.Errorf("neighbor %s", got)
	}
}
