// SPDX-License-Identifier: Apache-2.0

package experiment

import (
	"strings"
	"testing"
	"time"

	"leakprof/collector/session"
	"leakprof/profiler/report"
)

// TestLag: BMP is waited for as long as it speaks, but not for ever; the control
// socket is believed where it does not, at once where there is no connection, and
// never against whoever drives.
func TestLag(t *testing.T) {
	const told, silent = "BMP told of 1 session 30 s after BIRD's control socket", "BMP said nothing of 1 session; BIRD's control socket did"
	for _, c := range []struct {
		name        string
		settle      time.Duration
		driven      bool
		connections int
		speaks      bool
		until       time.Duration // BMP tells of the session; 0: never
		believed    time.Duration // 0: never, in 5 minutes
		note        string
	}{
		{"told late", 30 * time.Second, false, 1, true, 30 * time.Second, 0, told},
		{"told soon", 30 * time.Second, false, 1, true, time.Second, 0, ""},
		{"silent", 30 * time.Second, false, 1, false, 0, silenceMost, silent},
		{"silent, settles fast", time.Second, false, 1, false, 0, 2 * time.Second, silent},
		{"speaks of others for ever", 30 * time.Second, false, 1, true, 0, lagMost, silent},
		{"no connection", 30 * time.Second, false, 0, false, 0, time.Second, silent},
		{"driven", time.Second, true, 0, false, 0, 0, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := &run{Config: Config{Session: session.Options{Settle: c.settle, Driven: c.driven}}, peers: newPeers("")}
			r.peers.names["192.0.2.1"], r.peers.connections = "peer1", c.connections
			r.protocols = map[string]bool{"peer1": true}
			start := time.Unix(1000, 0)
			var messages uint64
			believed := time.Duration(0)
			for at := time.Second; at <= 5*time.Minute; at += time.Second {
				if c.speaks {
					messages++
				}
				if c.until > 0 && at > c.until {
					r.peers.assume(map[string]bool{"192.0.2.1": true})
				}
				r.compare(start.Add(at), messages)
				if words := r.peers.lag.words(start.Add(at)); words != "" && !strings.HasPrefix(words, "BMP to tell of 1 session that BIRD's control socket does, for ") {
					t.Fatalf("in words: %s", words)
				}
				if believed == 0 && r.peers.ups > 0 {
					believed = at
				}
			}
			if off := believed - c.believed; off < 0 || off > time.Second {
				t.Errorf("the control socket is believed after %v, want %v", believed, c.believed)
			}
			if got := notes(&report.Result{Notes: r.notes}); got != c.note {
				t.Errorf("noted %q, want %q", got, c.note)
			}
			if r.peers.lag.behind() != c.driven {
				t.Errorf("behind in the end: %v", r.peers.lag.behind())
			}
		})
	}
}
