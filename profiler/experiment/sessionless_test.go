// SPDX-License-Identifier: Apache-2.0

package experiment

import (
	"strings"
	"testing"

	"leakprof/collector/session"
)

// TestSessionless: a BIRD without a BGP protocol is told apart from one whose
// sessions have yet to come up, until it is configured with one.
func TestSessionless(t *testing.T) {
	w := startBird(t, "bird2-sid", 1, nil)
	w.configure(t, "protocol bgp peer1", "template bgp peer1")
	done := w.follow(t, 1, nil)
	w.wait(t, "no BGP protocol", func(s Status) bool {
		return s.Phase == session.Baseline && s.AtRest && strings.HasPrefix(s.Waiting, "a session to come up, but BIRD has no BGP protocol")
	})
	if err := w.bird.WriteConfig(t.Context(), w.bird.ConfigText()); err != nil {
		t.Fatal(err)
	}
	w.tell(t, "configure")
	w.wait(t, "a BGP protocol", func(s Status) bool { return s.AtRest && s.Waiting == "a session to come up" })
	peer := w.speak(t, 0, 10)
	w.phase(t, session.Flooded, 1)
	drop(t, peer)
	w.result(t, done)
}

// TestTableless: a BIRD 3 without tables refuses to count routes. It has none, and
// is asked on.
func TestTableless(t *testing.T) {
	w := startBird(t, "bird3-trixie", 0, nil)
	done := w.follow(t, 1, nil)
	w.wait(t, "no routes, and no BGP protocol", func(s Status) bool {
		return s.AtRest && s.Routes == 0 && strings.HasPrefix(s.Waiting, "a session to come up, but BIRD has no BGP protocol")
	})
	if err := w.bird.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.result(t, done)
}
