// SPDX-License-Identifier: Apache-2.0

package experiment

import (
	"context"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"leakprof/collector/bgp"
	"leakprof/collector/bmp"
	"leakprof/collector/session"
)

const twoCycles = "baseline flooding flooded dropping settled flooding flooded dropping settled"

// TestOtherPeersFlap: the phases are those of the chosen peer, while another one
// comes and goes all the time.
func TestOtherPeersFlap(t *testing.T) {
	t.Parallel()
	w := startBird(t, "bird2-sid", 2, new(bmp.Options))
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var flaps atomic.Int64
	flapping := make(chan struct{})
	go func() {
		defer close(flapping)
		for ctx.Err() == nil {
			if s, err := w.dial(ctx, 1, 2000); err == nil {
				s.Drop(ctx, bgp.DropNotification)
				flaps.Add(1)
			}
		}
	}()
	done := w.follow(t, 2, func(c *Config) {
		c.Peer = "peer1"
		c.Profiler = w.attach(t) // whose counters never rest
		c.Process = c.Profiler.Process
	})
	before := int64(0)
	flapped := func(while string) {
		t.Helper()
		now := flaps.Load()
		if now == before {
			t.Errorf("the other peer did not flap while %s: it shows nothing", while)
		}
		before = now
	}
	w.phase(t, session.Baseline, 0)
	flapped("the baseline came to rest")
	for cycle := 1; cycle <= 2; cycle++ {
		s := w.speak(t, 0, 1000)
		if up := w.phase(t, session.Flooded, cycle); up.PeersUp != 1 || up.Routes != 1000 {
			t.Errorf("%d peers up with %d routes, want 1 with 1000: the chosen one", up.PeersUp, up.Routes)
		}
		flapped("routes came in")
		drop(t, s)
		if up := w.phase(t, session.Settled, cycle); up.PeersUp != 0 || up.Routes != 0 {
			t.Errorf("%d peers up with %d routes, want none", up.PeersUp, up.Routes)
		}
		flapped("they went")
	}
	res := w.result(t, done)
	stop()
	<-flapping
	if got := phases(res); got != twoCycles {
		t.Errorf("phases %s, want %s", got, twoCycles)
	}
	for _, want := range []string{"until flooded of cycle 1, other peers: ", "until settled of cycle 2, other peers: "} {
		if ok, _ := regexp.MatchString(want+"[1-9][0-9]* sessions came or went, [1-9]", notes(res)); !ok {
			t.Errorf("no note %q with sessions and messages in\n%s", want, notes(res))
		}
	}
}

// TestReconfigured: a reconfiguration is noted and no cycle, whatever it changes;
// routes that it brings are not waited for.
func TestReconfigured(t *testing.T) {
	t.Parallel()
	w := startBird(t, "bird2-sid", 1, new(bmp.Options))
	done := w.follow(t, 2, nil)
	w.phase(t, session.Baseline, 0)
	s := w.speak(t, 0, 1000)
	w.phase(t, session.Flooded, 1)
	w.tell(t, "configure") // nothing changes
	drop(t, s)
	w.phase(t, session.Settled, 1)
	s = w.speak(t, 0, 1000)
	w.phase(t, session.Flooded, 2)
	w.configure(t, "protocol device {", `protocol static added {
	ipv4;
	route 203.0.113.0/24 blackhole;
}
protocol device {`)
	w.tell(t, "reload in peer1") // BIRD asks for the routes again, or takes its own
	drop(t, s)
	res := w.result(t, done)
	if got := phases(res); got != twoCycles {
		t.Errorf("phases %s, want %s", got, twoCycles)
	}
	if n := strings.Count(notes(res), "BIRD was reconfigured: Last reconfiguration on "); n != 2 {
		t.Errorf("%d notes of reconfigurations, want 2:\n%s", n, notes(res))
	}
	if n := res.Phases[len(res.Phases)-1].Routes; n != 1 {
		t.Errorf("%d routes at the end, want the one that the reconfiguration brought", n)
	}
}

// TestReconnect: a new BMP session is no cycle, though BIRD repeats all in it;
// and what went on between two of them is not missed where there is a control
// socket.
func TestReconnect(t *testing.T) {
	for _, c := range []struct {
		root   string
		silent bool // it says nothing in its second BMP session of sessions from before
	}{{"bird2-sid", false}, {"bird3-trixie", true}, {"bird3-sid", false}} {
		t.Run(c.root, func(t *testing.T) {
			t.Parallel()
			w := startBird(t, c.root, 2, new(bmp.Options))
			done := w.follow(t, 2, nil)
			w.phase(t, session.Baseline, 0)
			first, second := w.speak(t, 0, 1000), w.speak(t, 1, 1000)
			w.phase(t, session.Flooded, 1)
			w.reconnect(t)
			// Still the same cycle: a session that goes down ends it.
			drop(t, second)
			w.wait(t, "one session down", func(s Status) bool { return s.Phase == session.Dropping && s.PeersUp == 1 })
			drop(t, first)
			w.phase(t, session.Settled, 1)
			first = w.speak(t, 0, 1000)
			w.phase(t, session.Flooded, 2)
			// BIRD comes back after 10 s; meanwhile only the control socket tells.
			w.station.CloseConnections()
			w.wait(t, "no BMP", func(Status) bool { return open(w.station) == 0 })
			drop(t, first)
			res := w.result(t, done)
			if got := phases(res); got != twoCycles {
				t.Errorf("phases %s, want %s", got, twoCycles)
			}
			const ended, again, silent = "the BMP connection ended; a new one is no cycle", "BIRD connected to the BMP station again", "BMP said nothing of 1 session; BIRD's control socket did"
			want := []string{ended, again, ended, silent}
			if c.silent {
				want = []string{ended, again, silent, silent, ended, silent}
			}
			if got, want := notes(res), strings.Join(want, "\n"); got != want {
				t.Errorf("notes\n%s\nwant\n%s", got, want)
			}
		})
	}
}

// reconnect closes the station's connection, and has BIRD open another at once.
func (w *world) reconnect(t *testing.T) {
	t.Helper()
	before := w.station.Counts().Accepted
	w.station.CloseConnections()
	w.wait(t, "no BMP", func(Status) bool { return open(w.station) == 0 })
	w.tell(t, "restart bmp1")
	w.wait(t, "BMP again", func(Status) bool { return w.station.Counts().Accepted > before && open(w.station) == 1 })
}

// open is how many connections a station has.
func open(s *bmp.Station) (n int) {
	for _, c := range s.Counts().Connections {
		if c.Open {
			n++
		}
	}
	return n
}

// TestLongQueue: a station that reads slowly hears of the sessions late. Nothing
// has settled before BIRD's queue is empty, and the lag is reported.
func TestLongQueue(t *testing.T) {
	t.Parallel()
	const routes, rate, least = 1000, 40_000, 2 * time.Second
	w := startBird(t, "bird2-sid", 1, &bmp.Options{Behavior: bmp.Slow(rate), ReceiveBuffer: 4096})
	done := w.follow(t, 1, nil)
	w.phase(t, session.Baseline, 0)
	s := w.speak(t, 0, routes)
	w.wait(t, "a flood", func(s Status) bool { return s.Phase == session.Flooding })
	drop(t, s)
	down := time.Now()
	behind := w.wait(t, "BMP behind", func(s Status) bool { return strings.HasPrefix(s.Waiting, "BMP to tell of 1 session") })
	if behind.Phase != session.Flooding || behind.PeersUp != 1 {
		t.Errorf("%d peers up in phase %s, want 1 in flooding: BMP has not told", behind.PeersUp, behind.Phase)
	}
	res := w.result(t, done)
	const want = "baseline flooding flooded (dropping began before it was quiet) dropping settled"
	if got := phases(res); got != want {
		t.Fatalf("phases %s, want %s", got, want)
	}
	last := res.Phases[len(res.Phases)-1]
	if late := last.Start.Sub(down); late < least {
		t.Errorf("settled after %v, while the queue lasts longer than %v", late, least)
	}
	if n, want := queued(w.station), uint64(routes); n < want {
		t.Errorf("settled after %d routes and withdrawals, want at least %d", n, want)
	}
	if !strings.Contains(notes(res), "BMP told of 1 session ") {
		t.Errorf("the lag is not noted:\n%s", notes(res))
	}
}

func queued(s *bmp.Station) uint64 {
	c := s.Counts()
	return c.Announced + c.Withdrawn
}
