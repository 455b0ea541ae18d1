// SPDX-License-Identifier: Apache-2.0

package bmp

import (
	"testing"
	"time"
)

// TestRoutesAreCountedInPlace wants that Route Monitoring whose content nobody asks for
// costs no memory, however many messages come, peers within the limit or beyond it.
func TestRoutesAreCountedInPlace(t *testing.T) {
	all := streams(t)
	paths := peerUp(t, peerHeader(PeerGlobal, 0, "127.0.0.2"), "02 06 45 04 00010103", "02 06 45 04 00010103")
	withPaths := frame(TypeRouteMonitoring, peerHeader(PeerGlobal, 0, "127.0.0.2"), updateMessage(t, "", "400101 00", "00000001 18 010203"))
	ipv6 := frame(TypeRouteMonitoring, peerHeader(PeerGlobal, FlagIPv6, "2001:db8::1"),
		updateMessage(t, "", "400101 00  800e 1a 0002 01 10 20010db8000000000000000000000001 00 20 20010db8", ""))
	for _, tt := range []struct {
		name     string
		stream   stream
		maxPeers int
		want     uint64 // messages of peers beyond the limit, each time
	}{
		{"BIRD 2", all["bird-2.19.2"], 0, 0},
		{"BIRD 3", all["bird-3.1.7"], 0, 0},
		{"many peers", all["1000-peers"], 0, 0},
		{"peers beyond the limit", all["1000-peers"], 1, 999},
		{"path identifiers", stream{paths, withPaths, 1}, 0, 0},
		{"IPv6", stream{initiation(), ipv6, 1}, 0, 0},
		{"unknown type", stream{initiation(), frame(99, []byte("new")), 0}, 0, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := newSink(Options{MaxPeers: tt.maxPeers})
			now := time.Now()
			feed := func(b []byte) {
				if done, _, err := c.consume(b, now); done != len(b) || err != nil {
					t.Fatalf("%d of %d bytes done, error %v", done, len(b), err)
				}
			}
			feed(tt.stream.begin)
			const runs = 20
			if n := testing.AllocsPerRun(runs, func() { feed(tt.stream.block) }); n != 0 {
				t.Errorf("%v allocations for %d messages, want 0", n, tt.stream.messages)
			}
			// AllocsPerRun makes a run of its own first.
			times := uint64(runs + 1)
			if got, want := c.totals.Messages, times*uint64(tt.stream.messages); got != want {
				t.Errorf("%d messages counted, want %d", got, want)
			}
			if c.totals.MalformedUpdates != 0 {
				t.Errorf("%d malformed", c.totals.MalformedUpdates)
			}
			if got, want := c.totals.UntrackedPeers, times*tt.want*uint64(tt.stream.messages)/1000; got != want {
				t.Errorf("%d of peers beyond the limit, want %d", got, want)
			}
		})
	}
}
