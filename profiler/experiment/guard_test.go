// SPDX-License-Identifier: Apache-2.0

package experiment

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"leakprof/collector/bgp"
	"leakprof/collector/birdc"
	"leakprof/collector/lab"
	"leakprof/collector/session"
)

const tortureVariable = "LEAKPROF_TORTURE"

// guardedRoots are the BIRDs that timers are tried on: all in `make torture`, and few
// in `make test`.
func guardedRoots(few ...string) []string {
	if os.Getenv(tortureVariable) != "" {
		return []string{"bird2-sid", "bird3-trixie", "bird3-sid"}
	}
	return few
}

// enough of a core is more than what is held against the probes.
const enough = 0.06

// TestGuardBFD: the far end of a BFD session stops while BIRD is busy.
func TestGuardBFD(t *testing.T) {
	t.Parallel()
	for _, root := range guardedRoots("bird3-trixie") {
		t.Run(root, func(t *testing.T) {
			r := startRouter(t, root, false)
			rest := r.churn(t)
			g := r.guarded(t, nil)
			r.wait(t, "its sessions", func(s Status) bool { return s.PeersUp == 2 })
			g.windows(t, enough)
			begin := time.Now()
			pause(t, r.far)
			r.detached(t, g, rest, lostBy(farPeer), begin, "(show protocols: ", "Error: BFD session down)")
		})
	}
}

// TestGuardLate: BIRD itself stops for longer than the far end of its BFD session
// waits, which says so before BIRD's own timer runs out, or after.
func TestGuardLate(t *testing.T) {
	t.Parallel()
	for _, root := range guardedRoots("bird2-sid") {
		t.Run(root, func(t *testing.T) {
			r := startRouter(t, root, false)
			rest := r.churn(t)
			g := r.guarded(t, nil)
			r.wait(t, "its sessions", func(s Status) bool { return s.PeersUp == 2 })
			g.windows(t, enough)
			begin := time.Now()
			goOn := pause(t, r.world)
			await(t, r.far.bird, "loss of the session", func(c *birdc.Conn) bool { return !isEstablished(t, c, "far") })
			goOn()
			res := r.detached(t, g, rest, lostBy(farPeer), begin, "(show protocols: ")
			// On a very busy machine it may be up again by then.
			reason, told := res.Guard.Steps[0].Reason, []string{"Received: Cease)", "Error: BFD session down)", "up again since "}
			if !slices.ContainsFunc(told, func(s string) bool { return strings.Contains(reason, s) }) {
				t.Errorf("%s; want one of %q", reason, told)
			}
		})
	}
}

// TestGuardHoldTimer: a peer says nothing any more while BIRD is busy. BIRD 3 tells
// it at its control socket alone.
func TestGuardHoldTimer(t *testing.T) {
	t.Parallel()
	type source struct {
		root  string
		byBMP bool
	}
	all := []source{{"bird2-sid", true}}
	if os.Getenv(tortureVariable) != "" {
		all = append(all, source{"bird2-sid", false}, source{"bird3-trixie", false}, source{"bird3-sid", false})
	}
	for _, c := range all {
		t.Run(fmt.Sprintf("%s by BMP %v", c.root, c.byBMP), func(t *testing.T) {
			r := startRouter(t, c.root, c.byBMP)
			rest := r.churn(t)
			g := r.guarded(t, nil)
			begin := time.Now()
			s := r.speak(t, silentPeer, 5*time.Second)
			// On a very busy machine it may be silent for so long by itself.
			r.wait(t, "its sessions", func(s Status) bool { return s.PeersUp == 3 || g.guard.Detached() })
			g.windows(t, enough)
			if err := s.Drop(t.Context(), bgp.DropSilence); err != nil {
				t.Fatal(err)
			}
			what, says := lostBy(silentPeer), []string{"(show protocols: ", "BGP Error: Hold timer expired)"}
			if c.byBMP {
				what, says = fmt.Sprintf("BIRD lost the session %v between ", lab.PeerAddr(silentPeer)), []string{"(BMP Peer Down: Local system closed, NOTIFICATION PDU follows, Hold Timer Expired (4/0))"}
			}
			res := r.detached(t, g, rest, what, begin, says...)
			const warning = "without BIRD's control socket the guard does not hear of BFD, and of hold timers only what a BIRD 2 tells by BMP"
			if warns := strings.Contains(notes(res), warning); warns != c.byBMP {
				t.Errorf("notes\n%s", notes(res))
			}
		})
	}
}

// TestGuardSilence: BIRD does not answer any more after it was busy.
func TestGuardSilence(t *testing.T) {
	t.Parallel()
	for _, root := range guardedRoots() {
		t.Run(root, func(t *testing.T) {
			r := startRouter(t, root, false)
			rest := r.churn(t)
			g := r.guarded(t, func(c *Config) { c.Session.Limit = 3 * time.Second })
			r.wait(t, "its sessions", func(s Status) bool { return s.PeersUp == 2 })
			g.windows(t, enough)
			begin := time.Now()
			goOn := pause(t, r.world)
			r.detached(t, g, func() { goOn(); rest() }, "BIRD gave no answer for 3s between ", begin, `send command "show `)
		})
	}
}

// TestGuardUpAgain: a session that comes and goes between two questions has no error
// any more, and is not up since the same time.
func TestGuardUpAgain(t *testing.T) {
	t.Parallel()
	for _, root := range guardedRoots() {
		t.Run(root, func(t *testing.T) {
			r := startRouter(t, root, false)
			rest := r.churn(t)
			r.speak(t, silentPeer, 0)
			g := r.guarded(t, nil)
			r.wait(t, "its sessions", func(s Status) bool { return s.PeersUp == 3 })
			g.windows(t, enough)
			begin := time.Now()
			// BIRD may be asked in between; then it is seen to be down for no timer.
			for !g.guard.Detached() && time.Since(begin) < patience {
				r.tell(t, "restart "+lab.PeerName(silentPeer))
				r.speak(t, silentPeer, 0)
				await(t, r.bird, "its session again", func(c *birdc.Conn) bool { return isEstablished(t, c, lab.PeerName(silentPeer)) })
				time.Sleep(2 * controlInterval)
			}
			r.detached(t, g, rest, lostBy(silentPeer), begin, "(show protocols: up again since ", ", and nobody said why)")
		})
	}
}

// TestGuardOrdinary: sessions that go down by the hand of an operator, or because
// the neighbor closes them, are nobody's timers. Nor is a timer that runs out held
// against probes that do nothing.
func TestGuardOrdinary(t *testing.T) {
	for _, root := range guardedRoots("bird3-trixie") {
		t.Run(root, func(t *testing.T) {
			r := startRouter(t, root, false)
			s := r.speak(t, silentPeer, 0)
			g := r.guarded(t, nil)
			r.wait(t, "its sessions", func(s Status) bool { return s.PeersUp == 2 })
			r.far.tell(t, "disable far")
			if err := s.Drop(t.Context(), bgp.DropReset); err != nil {
				t.Fatal(err)
			}
			r.wait(t, "no sessions", func(s Status) bool { return s.PeersUp == 0 })
			g.windows(t, 0)
			r.far.tell(t, "enable far")
			r.phase(t, session.Flooded, 1)
			if a := g.guard.Account(); len(a.Steps) > 0 {
				t.Fatalf("it stepped: %+v", a.Steps)
			}
			pause(t, r.far)
			r.wait(t, "the session down", func(s Status) bool { return s.Phase == session.Dropping || g.guard.Detached() })
			g.windows(t, 0)
			if !g.guard.Detached() {
				g.stop()
			}
			res := r.result(t, g.done)
			const lost = "Error: BFD session down)"
			if steps := res.Guard.Steps; len(steps) > 0 {
				// A machine that has no CPU to spare is not at rest.
				if reason := steps[0].Reason; !strings.Contains(reason, lost) || !strings.Contains(reason, "BIRD waited for a CPU") && !strings.Contains(reason, "BIRD had no idle time") {
					t.Errorf("it stepped: %+v", steps)
				}
			} else if strings.Count(notes(res), "BIRD lost ") != 1 || !strings.Contains(notes(res), lost+"; the probes stay: before that they took at most ") {
				t.Errorf("want the BFD session alone, and why it left the probes:\n%s", notes(res))
			}
		})
	}
}
