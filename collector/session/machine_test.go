// SPDX-License-Identifier: Apache-2.0

package session

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// world is a BIRD as the machine sees it, moved step by step.
type world struct {
	o       Observation
	m       *Machine
	history []string
}

const (
	tick   = 100 * time.Millisecond
	settle = time.Second
)

func newWorld(o Options) *world {
	start := time.Unix(1000, 0)
	o.Settle = settle
	return &world{o: Observation{Time: start, Routes: -1, Kept: -1}, m: NewMachine(o, start)}
}

func (w *world) note(events []Event) {
	for _, e := range events {
		text := map[EventKind]string{Began: "began", Look: "look"}[e.Kind] + fmt.Sprintf(" %s %d", e.Phase, e.Cycle)
		if e.Incomplete != "" {
			text += " (" + e.Incomplete + ")"
		}
		w.history = append(w.history, text)
	}
}

// run lets time pass; change may move the world at each tick. Routes are
// counted when the machine wants it, by routes.
func (w *world) run(d time.Duration, change func(o *Observation), routes func() int64) {
	for end := w.o.Time.Add(d); w.o.Time.Before(end); {
		w.o.Time = w.o.Time.Add(tick)
		if change != nil {
			change(&w.o)
		}
		w.o.RoutesCounted = false
		if routes != nil && (w.m.WantsRoutes() || w.o.Routes < 0) {
			w.o.Routes, w.o.RoutesCounted = routes(), true
			w.o.CPU += 50 * time.Millisecond // counting is work
		}
		w.note(w.m.Observe(w.o))
	}
}

func (w *world) expect(t *testing.T, want ...string) {
	t.Helper()
	if got, want := strings.Join(w.history, "\n"), strings.Join(want, "\n"); got != want {
		t.Fatalf("got\n%s\nwant\n%s", got, want)
	}
	w.history = nil
}

func flood(o *Observation) {
	o.Events += 10000
	o.Messages += 1000
	o.LiveBytes += 1 << 20
	o.CPU += 90 * time.Millisecond
}

func TestFollowedCycles(t *testing.T) {
	w := newWorld(Options{})
	w.run(3*settle, nil, nil)
	w.expect(t, "look baseline 0")
	for cycle := 1; cycle <= 2; cycle++ {
		w.o.PeerUps, w.o.PeersUp = w.o.PeerUps+2, 2
		w.run(tick, flood, nil)
		w.expect(t, fmt.Sprintf("began flooding %d", cycle))
		w.run(5*settle, flood, nil)
		w.expect(t, "")
		w.run(3*settle, nil, nil)
		w.expect(t, fmt.Sprintf("began flooded %d", cycle), fmt.Sprintf("look flooded %d", cycle))
		w.o.PeerDowns, w.o.PeersUp = w.o.PeerDowns+2, 0
		w.run(tick, nil, nil)
		w.expect(t, fmt.Sprintf("began dropping %d", cycle))
		w.run(4*settle, nil, nil)
		w.expect(t, fmt.Sprintf("began settled %d", cycle), fmt.Sprintf("look settled %d", cycle))
	}
}

// A flap between two observations ends a cycle and starts the next one.
func TestFlap(t *testing.T) {
	w := newWorld(Options{})
	w.run(3*settle, nil, nil)
	w.o.PeerUps, w.o.PeersUp = 1, 1
	w.run(4*settle, nil, nil)
	w.history = nil
	w.o.PeerDowns, w.o.PeerUps = 1, 2
	w.run(tick, nil, nil)
	w.expect(t, "began dropping 1",
		"began settled 1", "look settled 1 (flooding began before it was quiet)", "began flooding 2")
}

// Whoever drives knows when phases begin; peers going up and down do not.
func TestDriven(t *testing.T) {
	w := newWorld(Options{Driven: true})
	w.o.PeerUps, w.o.PeersUp = 1, 1
	w.run(3*settle, nil, nil)
	w.expect(t, "look baseline 0")
	w.note(w.m.Begin(Flooding, 0, w.o.Time))
	w.o.Busy = "sending"
	w.run(10*settle, nil, nil)
	w.expect(t, "began flooding 1")
	w.o.Busy = ""
	w.run(3*settle, nil, nil)
	w.expect(t, "began flooded 1", "look flooded 1")
	w.note(w.m.Begin(Dropping, 0, w.o.Time))
	w.run(10*settle, nil, nil)
	w.expect(t, "began dropping 1")
	if why, _ := w.m.Waiting(); why != "1 peers to go down" {
		t.Errorf("it waits for %q", why)
	}
	w.o.PeersUp = 0
	w.run(3*settle, nil, nil)
	w.expect(t, "began settled 1", "look settled 1")
}

// Quiet is not enough: BIRD's own count must have the routes in, or gone. And
// counting itself must not show in what is looked at.
func TestRoutesConfirm(t *testing.T) {
	routes := int64(5)
	count := func() int64 { return routes }
	w := newWorld(Options{Driven: true})
	w.run(3*settle, nil, count)
	w.expect(t, "look baseline 0")
	w.note(w.m.Begin(Flooding, 1000, w.o.Time))
	routes = 700
	w.run(10*settle, nil, count)
	w.expect(t, "began flooding 1")
	if why, _ := w.m.Waiting(); why != "700 of 1000 routes in" && why != "the route count" {
		t.Errorf("it waits for %q", why)
	}
	routes = 1000
	w.run(10*settle, nil, count)
	w.expect(t, "began flooded 1", "look flooded 1")
	w.note(w.m.Begin(Dropping, 0, w.o.Time))
	routes = 6
	w.run(10*settle, nil, count)
	w.expect(t, "began dropping 1")
	if why, _ := w.m.Waiting(); why != "1 routes to go" && why != "the route count" {
		t.Errorf("it waits for %q", why)
	}
	routes = 5 // those of the baseline are not ours
	before := w.o.CPU
	w.run(10*settle, nil, count)
	w.expect(t, "began settled 1", "look settled 1")
	if counts := (w.o.CPU - before) / (50 * time.Millisecond); counts > 2 {
		t.Errorf("routes were counted %d times for one answer", counts)
	}
}

func TestLimit(t *testing.T) {
	w := newWorld(Options{Limit: 5 * time.Second})
	w.run(6*time.Second, func(o *Observation) { o.CPU += tick / 2 }, nil)
	w.expect(t, "look baseline 0 (not at rest after 5s: bird uses 50 % of a cpu)")
}

func TestEnd(t *testing.T) {
	w := newWorld(Options{})
	w.run(settle/2, nil, nil)
	w.note(w.m.End(w.o.Time))
	w.note(w.m.End(w.o.Time))
	w.expect(t, "look baseline 0 (the run ended before it was quiet)")
}

// Peers that stay up keep their routes, and must not keep a phase from
// settling.
func TestOtherPeersStay(t *testing.T) {
	w := newWorld(Options{})
	count := func() int64 { return 1000 }
	w.o.PeersUp = 3
	w.run(3*settle, nil, func() int64 { return 0 })
	w.o.PeerUps = 3
	w.run(5*settle, nil, count)
	w.history = nil
	w.o.PeerDowns, w.o.PeersUp = 1, 2
	w.run(6*settle, nil, count)
	w.expect(t, "began dropping 1", "began settled 1", "look settled 1")
}

func TestQuiet(t *testing.T) {
	for _, c := range []struct {
		name   string
		before func(o *Observation) // for 5 s
		after  func(i int, o *Observation)
		quiet  bool // 5 s later
	}{
		{"nothing", nil, nil, true},
		{"keepalives", flood, func(i int, o *Observation) {
			o.Messages += uint64(i % 2)
			o.CPU += time.Millisecond
		}, true},
		{"still busy", flood, func(_ int, o *Observation) { o.CPU += 5 * time.Millisecond }, false},
		{"a trickle of routes", flood, func(_ int, o *Observation) { o.Messages += 200 }, false},
		{"live memory grows", flood, func(_ int, o *Observation) { o.LiveBytes += 64 << 10 }, false},
		{"live memory shrinks slowly", flood, func(i int, o *Observation) {
			if i%8 == 0 {
				o.LiveBytes -= 30 << 10
			}
		}, false},
		{"a churn that changes nothing", nil, func(_ int, o *Observation) { o.Events += 2 }, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			q := newQuiet(settle, false)
			o := Observation{Time: time.Unix(0, 0), LiveBytes: 10 << 20}
			for range 50 {
				o.Time = o.Time.Add(tick)
				if c.before != nil {
					c.before(&o)
				}
				q.observe(o)
			}
			q = &quiet{settle: settle, peak: q.peak}
			got := false
			for i := range 50 {
				o.Time = o.Time.Add(tick)
				if c.after != nil {
					c.after(i, &o)
				}
				got = got || q.observe(o)
			}
			if got != c.quiet {
				t.Errorf("quiet %v, want %v (%s)", got, c.quiet, q.reason)
			}
		})
	}
}

// Quiet takes twice the settle time, not less.
func TestQuietTakesItsTime(t *testing.T) {
	q := newQuiet(settle, false)
	o := Observation{Time: time.Unix(0, 0)}
	for i := 0; ; i++ {
		o.Time = o.Time.Add(tick)
		if q.observe(o) {
			if d := time.Duration(i) * tick; d < 2*settle || d > 2*settle+2*tick {
				t.Errorf("quiet after %v, want %v", d, 2*settle)
			}
			return
		}
	}
}

// Routes that BIRD keeps on purpose are waited for, and it says until when.
func TestGracefulRestart(t *testing.T) {
	for _, limit := range []time.Duration{0, 30 * time.Second} {
		routes := int64(0)
		count := func() int64 { return routes }
		w := newWorld(Options{Limit: limit})
		w.run(3*settle, nil, count)
		w.o.PeerUps, w.o.PeersUp, routes = 1, 1, 1000
		w.run(6*settle, nil, count)
		w.history = nil
		w.o.PeerDowns, w.o.PeersUp = 1, 0
		w.o.Kept, w.o.Keeping, w.o.KeptUntil = 1000, "graceful restart of peer1", w.o.Time.Add(120*time.Second)
		w.run(20*settle, nil, count)
		w.expect(t, "began dropping 1")
		most := w.o.KeptUntil
		if limit > 0 && w.m.since.Add(limit).Before(most) {
			most = w.m.since.Add(limit)
		}
		if why, until := w.m.Waiting(); why != "graceful restart of peer1" || !until.Equal(most) {
			t.Errorf("it waits for %q until %v, want %v", why, until, most)
		}
		if limit > 0 {
			w.run(limit, nil, nil) // BIRD is being asked when time is up
			w.expect(t, "began settled 1", "look settled 1 (not at rest after 30s: graceful restart of peer1)")
			continue
		}
		w.o.Kept, w.o.Keeping, routes = 0, "", 0
		w.run(10*settle, nil, count)
		w.expect(t, "began settled 1", "look settled 1")
	}
}

// Routes of a session that is down must be gone though others stay up.
func TestKeptBesideOthers(t *testing.T) {
	w := newWorld(Options{})
	count := func() int64 { return 5000 } // the others'
	w.run(3*settle, nil, count)
	w.o.PeerUps, w.o.PeersUp = 2, 2
	w.run(6*settle, nil, count)
	w.history = nil
	w.o.PeerDowns, w.o.PeersUp, w.o.Kept = 1, 1, 3
	w.run(10*settle, nil, count)
	w.expect(t, "began dropping 1")
	w.o.Kept = 0
	w.run(10*settle, nil, count)
	w.expect(t, "began settled 1", "look settled 1")
}

// What other peers make BIRD do is not waited for.
func TestOthers(t *testing.T) {
	noise := func(o *Observation) {
		o.Events += 5000
		o.LiveBytes += 1 << 19
		o.CPU += 60 * time.Millisecond
	}
	for _, others := range []bool{false, true} {
		w := newWorld(Options{Others: others})
		w.run(3*settle, noise, nil)
		want := []string{"look baseline 0"}
		if !others {
			want = nil
		}
		w.expect(t, want...)
	}
	w := newWorld(Options{Others: true})
	w.run(3*settle, noise, nil)
	w.o.PeerUps, w.o.PeersUp, w.history = 1, 1, nil
	w.run(5*settle, flood, nil)
	w.expect(t, "began flooding 1")
	w.run(3*settle, noise, nil)
	w.expect(t, "began flooded 1", "look flooded 1")
	// Meanwhile another peer has brought a full table.
	count := func() int64 { return 900_000 }
	w.o.PeerDowns, w.o.PeersUp, w.o.Kept = 1, 0, 3
	w.run(10*settle, noise, count)
	w.expect(t, "began dropping 1")
	w.o.Kept = 0
	w.run(10*settle, noise, count)
	w.expect(t, "began settled 1", "look settled 1")
}

// Intervals go by the clock, whatever goes on.
func TestIntervals(t *testing.T) {
	w := newWorld(Options{Interval: 10 * time.Second})
	w.run(3900*time.Millisecond, flood, nil)
	w.expect(t, "")
	w.run(3*tick, flood, nil)
	w.expect(t, "look baseline 0", "began interval 1")
	if why, until := w.m.Waiting(); why != "the interval's end" || until.Sub(w.o.Time) > 10*time.Second {
		t.Errorf("it waits for %q until %v", why, until)
	}
	w.o.PeerUps, w.o.PeersUp = 1, 1 // means nothing
	w.run(10*time.Second+2*tick, nil, nil)
	w.expect(t, "look interval 1", "began interval 2")
	w.run(5*time.Second, nil, nil)
	w.note(w.m.End(w.o.Time))
	w.expect(t, "look interval 2 (the run ended within the interval)")
}

func TestMarks(t *testing.T) {
	w := newWorld(Options{})
	mark := func(p Phase, want bool) {
		t.Helper()
		events, ok := w.m.Mark(p, w.o.Time)
		if w.note(events); ok != want {
			t.Errorf("mark %s: %v, want %v", p, ok, want)
		}
	}
	mark(Dropping, false)
	mark(Settled, false)
	mark(Baseline, true)
	w.expect(t, "look baseline 0")
	mark(Baseline, false) // looked at already
	mark(Flooding, true)
	mark(Flooding, false)
	w.run(tick, flood, nil)
	mark(Flooded, true)
	w.expect(t, "began flooding 1", "began flooded 1", "look flooded 1")
	mark(Dropping, true)
	w.run(4*settle, nil, nil) // quiet ends it
	w.expect(t, "began dropping 1", "began settled 1", "look settled 1")
	mark(Running, true)
	w.run(4*settle, nil, nil)
	w.expect(t, "began running 2", "began settled 2", "look settled 2")
	if _, ok := NewMachine(Options{Interval: time.Hour}, w.o.Time).Mark(Flooding, w.o.Time); ok {
		t.Error("a mark began a flood among intervals")
	}
}

// Routes that no session has and that stay are not those of the flood: a
// reconfiguration in the middle may have brought them. They are not waited for,
// but as long as some go, or BIRD does not say whose they are.
func TestRoutesOfOthers(t *testing.T) {
	for _, c := range []struct {
		name   string
		others bool
		kept   int64
		gone   int64 // routes that go at each count
		want   bool  // it settles
	}{
		{"stay, of no session", false, 0, 0, true},
		{"stay, nobody says whose", false, -1, 0, false},
		{"go", false, 0, 1, false},
		{"of other peers", true, 0, -1, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			routes := int64(0)
			count := func() int64 { routes -= c.gone; return routes }
			w := newWorld(Options{Others: c.others})
			w.o.Kept = c.kept
			w.run(3*settle, nil, func() int64 { return 0 })
			w.o.PeerUps, w.o.PeersUp, routes = 1, 1, 1000
			w.run(6*settle, nil, count)
			w.history = nil
			w.o.PeerDowns, w.o.PeersUp = 1, 0
			w.run(12*settle, nil, count)
			if p, _ := w.m.Phase(); (p == Settled) != c.want {
				why, _ := w.m.Waiting()
				t.Errorf("in phase %s, waiting for %s", p, why)
			}
		})
	}
}

// What BMP has yet to tell of is waited for, unless whoever drives knows.
func TestBehind(t *testing.T) {
	for _, driven := range []bool{false, true} {
		w := newWorld(Options{Driven: driven})
		w.run(3*settle, nil, nil)
		w.history = nil
		w.o.PeerUps, w.o.PeersUp = 1, 1
		w.o.Behind = "BMP to tell of 1 session"
		if driven {
			w.note(w.m.Begin(Flooding, 0, w.o.Time))
		}
		w.run(5*settle, nil, nil)
		if driven {
			w.expect(t, "began flooding 1", "began flooded 1", "look flooded 1")
			continue
		}
		w.expect(t, "began flooding 1")
		if why, _ := w.m.Waiting(); why != w.o.Behind {
			t.Errorf("it waits for %q", why)
		}
		w.o.Behind = ""
		w.run(3*settle, nil, nil)
		w.expect(t, "began flooded 1", "look flooded 1")
		w.o.Behind = "BMP to tell of 2 sessions"
		w.run(tick, nil, nil)
		if why, _ := w.m.Waiting(); why != w.o.Behind {
			t.Errorf("at rest it waits for %q", why)
		}
	}
}

// At rest it waits for what begins the next phase.
func TestWaitingAtRest(t *testing.T) {
	for _, c := range []struct {
		o                 Options
		byHand            bool
		sessionless       string
		baseline, flooded string
	}{
		{Options{}, false, "", "a session to come up", "a session to go down"},
		{Options{}, false, "none is there", "a session to come up, but none is there", "a session to go down"},
		{Options{}, true, "", "leakprof mark flooding: neither", "leakprof mark dropping: neither"},
		{Options{Driven: true}, false, "", "the next phase", "the next phase"},
	} {
		w := newWorld(c.o)
		w.o.ByHand, w.o.Sessionless = c.byHand, c.sessionless
		for _, p := range []Phase{Baseline, Flooded} {
			want := c.baseline
			if p == Flooded {
				w.note(w.m.Begin(Flooding, 0, w.o.Time))
				want = c.flooded
			}
			w.run(4*settle, nil, nil)
			if why, until := w.m.Waiting(); !strings.HasPrefix(why, want) || !until.IsZero() {
				t.Errorf("at the %s it waits for %q until %v, want %q", p, why, until, want)
			}
		}
	}
}
