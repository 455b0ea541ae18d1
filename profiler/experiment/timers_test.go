// SPDX-License-Identifier: Apache-2.0

package experiment

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"leakprof/collector/bgp"
	"leakprof/collector/birdc"
	"leakprof/collector/bmp"
)

// asked is when BIRD is asked for the second time in these tests, ten seconds after
// the first.
var asked = time.Date(2026, 1, 2, 12, 0, 20, 0, time.FixedZone("", 2.5*60*60))

// TestTimers: what two answers, one after the other, say of lost sessions. The first
// has peer1 with 192.0.2.1, since 11:00:00, unless told otherwise.
func TestTimers(t *testing.T) {
	bgp := func(state, since, info string) birdc.Protocol {
		return birdc.Protocol{Name: "peer1", Proto: "BGP", State: state, Since: since, Info: info}
	}
	bfd := func(neighbor, state, since string) birdc.BFDSession {
		return birdc.BFDSession{Neighbor: netip.MustParseAddr(neighbor), Interface: "eth0", State: state, Since: since}
	}
	device := birdc.Protocol{Name: "device1", Proto: "Device", State: "up", Since: "11:00:00.000"}
	up := bgp("up", "11:00:00.000", "Established")
	for _, c := range []struct {
		name          string
		first, second birdc.Protocol
		device        string // since, in the second answer; "" as in the first
		bfd, bfd2     []birdc.BFDSession
		explained     bool
		fell          time.Duration // before the answer, -1: when it was last asked
		says          string        // "": nothing is lost
	}{
		{name: "nothing happened", first: up, second: bgp("up", "11:00:00.001", "Established")},
		{name: "hold timer", first: up, second: bgp("start", "12:00:18.500", "Active        BGP Error: Hold timer expired"), fell: 1500 * time.Millisecond,
			says: "(show protocols: start since 12:00:18.500, Active        BGP Error: Hold timer expired)"},
		{name: "the neighbor's", first: up, second: bgp("start", "2026-01-02 12:00:18.500", "Idle Received: Hold timer expired"), fell: 1500 * time.Millisecond, says: "Received: Hold timer expired"},
		{name: "in UTC", first: up, second: bgp("start", "09:30:18.500", "Idle Received: Hold timer expired"), fell: 1500 * time.Millisecond, says: "Received: Hold timer expired"},
		{name: "its send hold timer", first: up, second: bgp("start", "12:00:18", "Idle Received: Send hold timer expired"), fell: 2 * time.Second, says: "Send hold timer expired"},
		{name: "BFD", first: up, second: bgp("start", "12:00:18", "Idle          Error: BFD session down"), fell: 2 * time.Second, says: "Error: BFD session down"},
		{name: "routes are kept", first: up, second: bgp("start", "12:00:18", "Active Error: Graceful restart"), fell: 2 * time.Second, says: "Graceful restart"},
		{name: "in a format of the user's", first: up, second: bgp("start", "Fri", "Idle Error: BFD session down"), says: "BFD session down"},
		{name: "a time that cannot be", first: up, second: bgp("start", "12:00:05", "Idle Error: BFD session down"), says: "BFD session down"},
		{name: "administrative shutdown", first: up, second: bgp("start", "12:00:18", "Idle Received: Administrative shutdown")},
		{name: "connection closed", first: up, second: bgp("start", "12:00:18", "Idle Socket: Connection closed")},
		{name: "disabled", first: up, second: bgp("down", "12:00:18", "")},
		{name: "was down before", first: bgp("start", "11:59:00", "Active BGP Error: Hold timer expired"), second: bgp("start", "12:00:18", "Active BGP Error: Hold timer expired")},
		{name: "up again", first: up, second: bgp("up", "12:00:18.500", "Established"), fell: -1, says: "up again since 12:00:18.500, and nobody said why"},
		{name: "up again, from of old", first: bgp("up", "2025-12-24", "Established"), second: bgp("up", "12:00:18.500", "Established"), fell: -1, says: "up again"},
		{name: "past midnight", first: bgp("up", "23:59:58", "Established"), second: bgp("up", "00:00:02", "Established"), fell: -1, says: "up again"},
		{name: "up again, as others tell", first: up, second: bgp("up", "12:00:18.500", "Established"), explained: true},
		{name: "it has become old", first: up, second: bgp("up", "2026-01-02", "Established")},
		{name: "the clock was set", first: up, second: bgp("up", "11:05:00.000", "Established"), device: "11:05:00.001"},
		{name: "the clock was set, and it is up again", first: up, second: bgp("up", "12:05:18", "Established"), device: "11:05:00.001", fell: -1, says: "up again"},
		{name: "BFD of the neighbor goes with it", first: up, second: bgp("start", "12:00:18", "Idle Received: Administrative shutdown"),
			bfd: []birdc.BFDSession{bfd("192.0.2.1", "Up", "11:00:00")}, bfd2: []birdc.BFDSession{bfd("192.0.2.1", "Down", "12:00:18")}},
		{name: "the neighbor's BFD", first: up, second: bgp("start", "12:00:18", "Passive       Received: Cease"), fell: 2 * time.Second,
			bfd: []birdc.BFDSession{bfd("192.0.2.1", "Up", "11:00:00")}, bfd2: []birdc.BFDSession{bfd("192.0.2.1", "Down", "12:00:18")}, says: "Received: Cease"},
		{name: "the neighbor's BFD, by RFC 9384", first: up, second: bgp("start", "12:00:18", "Passive       Received: Unknown error 6.10"), fell: 2 * time.Second, says: "6.10"},
		{name: "no BFD was up", first: up, second: bgp("start", "12:00:18", "Passive       Received: Cease"),
			bfd: []birdc.BFDSession{bfd("192.0.2.1", "Down", "11:00:00")}, bfd2: []birdc.BFDSession{bfd("192.0.2.1", "Down", "12:00:18")}},
		{name: "BFD for another protocol", first: up, second: up, fell: 2 * time.Second,
			bfd: []birdc.BFDSession{bfd("192.0.2.9", "Up", "11:00:00")}, bfd2: []birdc.BFDSession{bfd("192.0.2.9", "Down", "12:00:18")}, says: "(show bfd sessions: Down since 12:00:18)"},
		{name: "BFD for another protocol is up again", first: up, second: up, fell: 2 * time.Second,
			bfd: []birdc.BFDSession{bfd("192.0.2.9", "Up", "11:00:00")}, bfd2: []birdc.BFDSession{bfd("192.0.2.9", "Up", "12:00:18")}, says: "Up since 12:00:18"},
		{name: "BFD for another protocol is not wanted any more", first: up, second: up, bfd: []birdc.BFDSession{bfd("192.0.2.9", "Up", "11:00:00")}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var tm timers
			n := told{
				asked: asked.Add(-10 * time.Second), answered: asked.Add(-10 * time.Second), began: asked.Add(-20 * time.Second),
				protocols: []birdc.Protocol{device, c.first}, bfd: c.bfd,
				address:   func(protocol string) string { return map[string]string{"peer1": "192.0.2.1"}[protocol] },
				explained: func(string, time.Time) bool { return c.explained },
			}
			if lost := tm.take(n); len(lost) > 0 {
				t.Fatalf("at first: lost %v", lost)
			}
			then := device
			if c.device != "" {
				then.Since = c.device
			}
			n.asked, n.answered, n.protocols, n.bfd = asked, asked, []birdc.Protocol{then, c.second}, c.bfd2
			lost := tm.take(n)
			if len(lost) > 1 || (len(lost) == 1) != (c.says != "") {
				t.Fatalf("lost %v, want %q", lost, c.says)
			}
			if c.says == "" {
				return
			}
			fell := asked.Add(-c.fell)
			if c.fell < 0 {
				fell = asked.Add(-10 * time.Second)
			}
			if l := lost[0]; !strings.Contains(l.String(), c.says) || !l.Stood.Equal(asked.Add(-10*time.Second)) || !l.Fell.Equal(fell) {
				t.Errorf("lost %v, want that it fell at %v, and %q", l, fell, c.says)
			}
			if again := tm.take(n); len(again) > 0 {
				t.Errorf("lost %v again", again)
			}
		})
	}
}

// TestTimersAtFirst: what went down while the probes were placed is told of by the
// first answer.
func TestTimersAtFirst(t *testing.T) {
	down := func(name, since, info string) birdc.Protocol {
		return birdc.Protocol{Name: name, Proto: "BGP", State: "start", Since: since, Info: info}
	}
	var tm timers
	lost := tm.take(told{
		asked: asked, answered: asked, began: asked.Add(-2 * time.Second),
		protocols: []birdc.Protocol{
			down("peer1", "12:00:18", "Idle Error: BFD session down"), down("peer2", "12:00:01", "Idle Error: BFD session down"),
			down("peer3", "12:00:18", "Idle Received: Cease"), {Name: "peer4", Proto: "BGP", State: "up", Since: "12:00:18", Info: "Established"},
		},
		address: func(string) string { return "" }, explained: func(string, time.Time) bool { return false },
	})
	if len(lost) != 1 || lost[0].What != lostSession+"peer1" || !lost[0].Fell.Equal(asked.Add(-2*time.Second)) {
		t.Errorf("lost %v, want peer1", lost)
	}
}

// TestPeerTimers: what BMP's Peer Downs say.
func TestPeerTimers(t *testing.T) {
	count := func(downs uint64, n *bgp.Notification, initiated bool) (c bmp.Counts) {
		conn := bmp.ConnectionCounts{Connection: 1, Peers: []bmp.PeerCounts{{
			Peer: bmp.Peer{Addr: netip.MustParseAddr("192.0.2.1")}, Downs: downs, Changed: asked, LastReason: bmp.LocalNotification, LastNotification: n,
		}}}
		if initiated {
			conn.Initiation = &bmp.Initiation{}
		}
		c.Connections = append(c.Connections, conn)
		return c
	}
	hold := &bgp.Notification{Code: 4}
	for _, c := range []struct {
		name   string
		counts []bmp.Counts
		lost   []int // counts by which it was
	}{
		{"before we came", []bmp.Counts{count(1, hold, true), count(1, hold, true)}, nil},
		{"hold timer", []bmp.Counts{count(0, nil, true), count(1, hold, true), count(1, hold, true), count(2, hold, true)}, []int{1, 3}},
		{"hold timer in a new connection", []bmp.Counts{{}, count(1, hold, true)}, []int{1}},
		{"send hold timer", []bmp.Counts{{}, count(1, &bgp.Notification{Code: 8}, true)}, []int{1}},
		{"BFD", []bmp.Counts{{}, count(1, &bgp.Notification{Code: 6, Subcode: 10}, true)}, []int{1}},
		{"administrative shutdown", []bmp.Counts{{}, count(1, &bgp.Notification{Code: 6, Subcode: 2}, true)}, nil},
		{"no data", []bmp.Counts{{}, count(1, nil, true)}, nil},
		{"an old queue", []bmp.Counts{{}, count(1, hold, false), count(1, hold, true)}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			var p peerTimers
			var lost []int
			for i, n := range c.counts {
				for _, l := range p.take(n, asked.Add(time.Duration(i)*time.Second)) {
					lost = append(lost, i)
					if want := fmt.Sprintf("BMP Peer Down: %v, %v", bmp.LocalNotification, n.Connections[0].Peers[0].LastNotification); l.What != lostSession+"192.0.2.1" || l.Read != want {
						t.Errorf("lost %v, want %q", l, want)
					}
				}
			}
			if !slices.Equal(lost, c.lost) {
				t.Errorf("lost by counts %v, want %v", lost, c.lost)
			}
		})
	}
	if c := count(1, hold, true); !downExplained(c, "192.0.2.1", asked.Add(-time.Second)) || downExplained(c, "192.0.2.1", asked) || downExplained(c, "192.0.2.2", time.Time{}) || downExplained(c, "", time.Time{}) || downExplained(count(1, nil, true), "192.0.2.1", time.Time{}) {
		t.Error("a Peer Down with a NOTIFICATION, and only that, explains why its peer went down after a time")
	}
}
