// SPDX-License-Identifier: Apache-2.0

package experiment

import (
	"net/netip"
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
		return bmp.ConnectionCounts{Connection: number, Open: open, Since: start.Add(since), Peers: all}
	}
	type want struct {
		ups, downs, others uint64
		up                 int
	}
	for _, c := range []struct {
		name, pattern string
		known         map[string]bool
		steps         [][]bmp.ConnectionCounts
		want          want
	}{
		{"up and down", "", nil, [][]bmp.ConnectionCounts{{conn(1, true, 0, peer(1, 1, 0), peer(2, 1, 0))}, {conn(1, true, 0, peer(1, 1, 1), peer(2, 1, 0))}}, want{2, 1, 0, 1}},
		{"a flap between two looks", "", nil, [][]bmp.ConnectionCounts{{conn(1, true, 0, peer(1, 1, 0))}, {conn(1, true, 0, peer(1, 2, 1))}}, want{2, 1, 0, 1}},
		{"up before BMP was", "", map[string]bool{"192.0.2.1": true}, [][]bmp.ConnectionCounts{{conn(1, true, 0, peer(1, 1, 0), peer(2, 1, 0))}}, want{1, 0, 0, 2}},
		{"a new connection is no cycle", "", nil, [][]bmp.ConnectionCounts{
			{conn(1, true, 0, peer(1, 1, 0))}, {conn(1, false, 0, peer(1, 1, 0))}, {conn(1, false, 0, peer(1, 1, 0)), conn(2, true, 0, peer(1, 1, 0))}}, want{1, 0, 0, 1}},
		{"down while nobody heard", "", nil, [][]bmp.ConnectionCounts{
			{conn(1, true, -time.Minute, peer(1, 1, 0), peer(2, 1, 0))}, {conn(2, true, 0, peer(1, 1, 0))}, {conn(2, true, -time.Minute, peer(1, 1, 0))}}, want{2, 1, 0, 1}},
		{"the old queue first", "", nil, [][]bmp.ConnectionCounts{
			{conn(1, true, 0, peer(1, 1, 0))}, {conn(2, true, 0, peer(1, 0, 1))}, {conn(2, true, 0, again(peer(1, 1, 1)))}}, want{2, 1, 0, 1}},
		{"others", "192.0.2.1", nil, [][]bmp.ConnectionCounts{{conn(1, true, 0, peer(1, 1, 0), peer(2, 1, 0))}, {conn(1, true, 0, peer(1, 1, 0), peer(2, 5, 5))}}, want{1, 0, 10, 1}},
		{"by name", "edge*", nil, [][]bmp.ConnectionCounts{{conn(1, true, 0, peer(1, 1, 0), peer(2, 1, 0), peer(3, 1, 0))}}, want{1, 0, 2, 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPeers(c.pattern)
			p.names["192.0.2.3"] = "edge3"
			for i, s := range c.steps {
				known := c.known
				if i > 0 {
					known = nil
				}
				p.update(bmp.Counts{Connections: s}, known, start)
			}
			if got := (want{p.ups, p.downs, p.others, p.upNow()}); got != c.want {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
}
