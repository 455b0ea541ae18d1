// SPDX-License-Identifier: Apache-2.0

package experiment

import (
	"context"
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"leakprof/collector/bgp"
	"leakprof/collector/birdc"
	"leakprof/collector/bmp"
	"leakprof/collector/lab"
	"leakprof/collector/session"
	"leakprof/profiler"
	"leakprof/profiler/report"
	"leakprof/profiler/target"
)

// patience is how long a test waits for anything: many times what it takes.
const patience = time.Minute

// world is a real BIRD with an experiment that follows it, without probes.
type world struct {
	bird    *lab.Bird
	station *bmp.Station
	mu      sync.Mutex
	seen    []Status
	changed chan struct{} // a token when seen has grown
}

// findBird finds one of Debian's BIRDs (scripts/bird-root).
func findBird(t *testing.T, root string) *lab.Binary {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("../../.bird", root, "usr/sbin/bird"))
	if err != nil {
		t.Fatal(err)
	}
	binary, err := lab.Find(t.Context(), path)
	if err != nil {
		t.Fatalf("%v; scripts/bird-root %s", err, root)
	}
	return binary
}

// startBird starts one of Debian's BIRDs (scripts/bird-root).
func startBird(t *testing.T, root string, peers int, station *bmp.Options) *world {
	t.Helper()
	w := &world{changed: make(chan struct{}, 1)}
	config := lab.Config{Binary: findBird(t, root), Peers: peers}
	var err error
	if station != nil {
		station.Addr = netip.MustParseAddrPort("127.0.0.1:0")
		if w.station, err = bmp.Listen(t.Context(), *station); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { w.station.Close() })
		go func() {
			for range w.station.Events() {
			}
		}()
		config.Station = w.station.Addr()
	}
	if w.bird, err = lab.Start(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.bird.Stop(context.Background()) })
	return w
}

// configure replaces old in BIRD's configuration by new while it runs.
func (w *world) configure(t *testing.T, old, new string) {
	t.Helper()
	text := w.bird.ConfigText()
	if !strings.Contains(text, old) {
		t.Fatalf("no %q in the lab's configuration", old)
	}
	if err := w.bird.WriteConfig(t.Context(), strings.Replace(text, old, new, 1)); err != nil {
		t.Fatal(err)
	}
	w.tell(t, "configure")
}

// tell gives BIRD a command.
func (w *world) tell(t *testing.T, command string) {
	t.Helper()
	c, err := birdc.Dial(t.Context(), w.bird.Control())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Command(t.Context(), command); err != nil {
		t.Fatal(err)
	}
}

// speak brings up the session of a peer (from 0), which announces routes.
func (w *world) speak(t *testing.T, peer, routes int) *bgp.Speaker {
	t.Helper()
	s, err := w.dial(t.Context(), peer, routes)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (w *world) dial(ctx context.Context, peer, routes int) (*bgp.Speaker, error) {
	table, err := bgp.Routes{Count: routes, Peer: peer, NextHop: lab.PeerAddr(peer), ASN: lab.PeerASN(peer)}.Encode()
	if err != nil {
		return nil, err
	}
	s, err := bgp.Dial(ctx, bgp.Config{
		Local: netip.AddrPortFrom(lab.PeerAddr(peer), 0), Remote: w.bird.BGPAddr(),
		ASN: lab.PeerASN(peer), RemoteASN: lab.LocalASN, RouterID: lab.PeerAddr(peer),
	})
	if err != nil {
		return nil, err
	}
	if _, err := s.Flood(ctx, table); err != nil {
		return nil, err
	}
	return s, s.EndOfRIB(ctx)
}

func drop(t *testing.T, s *bgp.Speaker) {
	t.Helper()
	if err := s.Drop(t.Context(), bgp.DropNotification); err != nil {
		t.Fatal(err)
	}
}

// follow runs an experiment for a number of cycles.
func (w *world) follow(t *testing.T, cycles int, change func(*Config)) <-chan *report.Result {
	t.Helper()
	control, err := birdc.Dial(t.Context(), w.bird.Control())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { control.Close() })
	p, err := target.Open(w.bird.PID())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	c := Config{Process: p, Control: control, Station: w.station, Cycles: cycles, Threshold: 256 << 10, Session: session.Options{Settle: 300 * time.Millisecond}, Status: w.status}
	if change != nil {
		change(&c)
	}
	done := make(chan *report.Result, 1)
	go func() {
		defer close(done)
		res, err := Run(t.Context(), c)
		if err != nil {
			t.Error(err)
			return
		}
		done <- res
	}()
	return done
}

// attach places the probes, for the time of the test.
func (w *world) attach(t *testing.T) *profiler.Profiler {
	t.Helper()
	p, err := profiler.Attach(t.Context(), profiler.Options{PID: w.bird.PID()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

func (w *world) status(s Status) {
	w.mu.Lock()
	w.seen = append(w.seen, s)
	w.mu.Unlock()
	select {
	case w.changed <- struct{}{}:
	default:
	}
}

// phase waits until a phase of a cycle has come to rest.
func (w *world) phase(t *testing.T, p session.Phase, cycle int) Status {
	t.Helper()
	return w.wait(t, fmt.Sprintf("%s of cycle %d at rest", p, cycle), func(s Status) bool { return s.Phase == p && s.Cycle == cycle && s.AtRest })
}

// result waits for the end of an experiment.
func (w *world) result(t *testing.T, done <-chan *report.Result) *report.Result {
	t.Helper()
	select {
	case res := <-done:
		if res == nil {
			t.FailNow() // it has said why
		}
		return res
	case <-time.After(patience):
		t.Fatalf("the experiment does not end after\n%s", w.history())
		return nil
	}
}

// history is what phases there were, and what they waited for.
func (w *world) history() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []string
	for i, s := range w.seen {
		if i == 0 || s.Phase != w.seen[i-1].Phase || s.AtRest != w.seen[i-1].AtRest || s.PeersUp != w.seen[i-1].PeersUp {
			all = append(all, fmt.Sprintf("cycle %d: %s, at rest %v, %d peers up, %d routes, waiting for %s", s.Cycle, s.Phase, s.AtRest, s.PeersUp, s.Routes, s.Waiting))
		}
	}
	return strings.Join(all, "\n")
}

// wait waits for a status.
func (w *world) wait(t *testing.T, what string, is func(Status) bool) Status {
	t.Helper()
	deadline := time.After(patience)
	var last Status
	for i := 0; ; {
		w.mu.Lock()
		seen := w.seen[i:]
		i = len(w.seen)
		w.mu.Unlock()
		for _, s := range seen {
			if is(s) {
				return s
			}
		}
		if len(seen) > 0 {
			last = seen[len(seen)-1]
		}
		select {
		case <-w.changed:
		case <-deadline:
			t.Fatalf("no status with %s; the last is %+v after\n%s", what, last, w.history())
		}
	}
}

func phases(res *report.Result) string {
	var all []string
	for _, p := range res.Phases {
		all = append(all, p.Name)
		if p.Incomplete != "" {
			all = append(all, "("+p.Incomplete+")")
		}
	}
	return strings.Join(all, " ")
}

func notes(res *report.Result) string {
	var all []string
	for _, n := range res.Notes {
		all = append(all, n.Text)
	}
	return strings.Join(all, "\n")
}
