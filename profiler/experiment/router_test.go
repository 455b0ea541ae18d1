// SPDX-License-Identifier: Apache-2.0

package experiment

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"leakprof/collector/bgp"
	"leakprof/collector/birdc"
	"leakprof/collector/bmp"
	"leakprof/collector/lab"
	"leakprof/collector/session"
	"leakprof/profiler"
	"leakprof/profiler/guard"
	"leakprof/profiler/report"
)

// The peers of a router: another BIRD, with BFD, and two speakers.
const (
	farPeer = iota
	busyPeer
	silentPeer
	routerPeers
)

// router is a BIRD that is guarded, in a network namespace of its own: BFD has
// ports that a machine has once.
type router struct {
	*world
	net *lab.Namespace
	far *world
}

// bfdText is 200 ms, times 10 until a session is given up: it must not be for no
// other reason than that the machine is busy.
const bfdText = `
protocol bfd {
	strict bind;
	multihop { interval 200 ms; multiplier 10; };
}
`

// farText is the configuration of the BIRD at the other end of the first session.
const farText = `
log stderr all;
router id 192.0.2.2;
protocol device {
}
ipv4 table far4;
protocol bgp far {
	local %v as %d;
	neighbor %v port %d as %d;
	multihop;
	strict bind;
	bfd on;
	connect delay time 1;
	error wait time 5, 5;
	ipv4 { igp table far4; import all; export none; };
}
`

// startRouter starts it with the BIRD at the other end of its first session, and with
// a BMP station if that is wanted.
func startRouter(t *testing.T, root string, withBMP bool) *router {
	t.Helper()
	ns, err := lab.NewNamespace()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
	start := func(c lab.Config) *world {
		w := &world{changed: make(chan struct{}, 1)}
		c.Binary, c.Namespace = findBird(t, root), ns
		if w.bird, err = lab.Start(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { w.bird.Stop(context.Background()) })
		return w
	}
	c := lab.Config{Peers: routerPeers}
	var station *bmp.Station
	if withBMP {
		if err := ns.Do(func() (err error) {
			station, err = bmp.Listen(t.Context(), bmp.Options{Addr: netip.MustParseAddrPort("127.0.0.1:0")})
			return err
		}); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { station.Close() })
		go func() {
			for range station.Events() {
			}
		}()
		c.Station = station.Addr()
	}
	r := &router{world: start(c), net: ns, far: start(lab.Config{})}
	r.station = station
	neighbor := fmt.Sprintf("neighbor %v as %d;", lab.PeerAddr(farPeer), lab.PeerASN(farPeer))
	text := strings.Replace(r.bird.ConfigText(), neighbor, neighbor+"\n\tbfd on;", 1)
	if err := r.bird.WriteConfig(t.Context(), text+bfdText); err != nil {
		t.Fatal(err)
	}
	r.tell(t, "configure")
	here := r.bird.BGPAddr()
	if err := r.far.bird.WriteConfig(t.Context(), fmt.Sprintf(farText+bfdText, lab.PeerAddr(farPeer), lab.PeerASN(farPeer), here.Addr(), here.Port(), lab.LocalASN)); err != nil {
		t.Fatal(err)
	}
	r.far.tell(t, "configure")
	await(t, r.bird, "session with the far BIRD", func(c *birdc.Conn) bool {
		bfd, err := c.ShowBFDSessions(t.Context())
		return err == nil && len(bfd) == 1 && bfd[0].State == "Up" && isEstablished(t, c, lab.PeerName(farPeer))
	})
	return r
}

// await waits until a BIRD says that something is so.
func await(t *testing.T, bird *lab.Bird, what string, is func(*birdc.Conn) bool) {
	t.Helper()
	c, err := birdc.Dial(t.Context(), bird.Control())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for deadline := time.Now().Add(patience); !is(c); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			reply, err := c.Command(t.Context(), "show protocols")
			t.Fatalf("no %s: %v, %v", what, reply, err)
		}
	}
}

// isEstablished says whether a protocol's session is up.
func isEstablished(t *testing.T, c *birdc.Conn, name string) bool {
	t.Helper()
	all, err := c.ShowProtocols(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return slices.ContainsFunc(all, func(p birdc.Protocol) bool { return p.Name == name && isUp(p) })
}

// pause stops a BIRD until it is told to go on.
func pause(t *testing.T, w *world) (goOn func()) {
	t.Helper()
	pid := w.bird.PID()
	if err := unix.Kill(pid, unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	goOn = func() { unix.Kill(pid, unix.SIGCONT) }
	t.Cleanup(goOn)
	return goOn
}

// speak brings up the session of one of the speakers.
func (r *router) speak(t *testing.T, peer int, hold time.Duration) (s *bgp.Speaker) {
	t.Helper()
	err := r.net.Do(func() (err error) {
		s, err = bgp.Dial(t.Context(), bgp.Config{
			Local: netip.AddrPortFrom(lab.PeerAddr(peer), 0), Remote: r.bird.BGPAddr(), ASN: lab.PeerASN(peer), RemoteASN: lab.LocalASN,
			RouterID: lab.PeerAddr(peer), HoldTime: hold, Patience: patience,
		})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Drop(context.Background(), bgp.DropReset) })
	return s
}

// churn keeps BIRD busy until it is stopped.
func (r *router) churn(t *testing.T) (stop func()) {
	t.Helper()
	const routes, perSecond = 20_000, 40_000
	table, err := bgp.Routes{Count: routes, Peer: busyPeer, NextHop: lab.PeerAddr(busyPeer), ASN: lab.PeerASN(busyPeer)}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	s := r.speak(t, busyPeer, 0)
	if _, err := s.Flood(t.Context(), table); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.Churn(ctx, table, perSecond, time.Hour)
	}()
	stop = func() {
		cancel()
		<-done
	}
	t.Cleanup(stop)
	return stop
}

// guardedRun is an experiment, by the BMP station or else by the control socket, with
// a guard that has no limit to speak of: what makes it step are lost timers.
type guardedRun struct {
	guard *guard.Watcher
	done  <-chan *report.Result
	stop  context.CancelFunc
}

func (r *router) guarded(t *testing.T, change func(*Config)) *guardedRun {
	t.Helper()
	g := &guardedRun{}
	p, err := profiler.Attach(t.Context(), profiler.Options{PID: r.bird.PID(), Placed: func(p *profiler.Profiler) (stop func(), err error) {
		if g.guard, err = guard.Watch(p, guard.Account{Limit: 100}); err != nil {
			return nil, err
		}
		return g.guard.Close, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	c := Config{
		Process: p.Process, Profiler: p, Guard: g.guard, Station: r.station, Threshold: 256 << 10,
		Session: session.Options{Settle: 300 * time.Millisecond}, Status: r.status,
	}
	if r.station == nil {
		if c.Control, err = birdc.Dial(t.Context(), r.bird.Control()); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Control.Close() })
	}
	if change != nil {
		change(&c)
	}
	ctx, stop := context.WithCancel(t.Context())
	g.stop = stop
	done := make(chan *report.Result, 1)
	g.done = done
	go func() {
		defer close(done)
		res, err := Run(ctx, c)
		if err != nil {
			t.Error(err)
			return
		}
		done <- res
	}()
	return g
}

// windows waits until the guard has judged what was so far, and says that its probes
// took more than what is held against them.
func (g *guardedRun) windows(t *testing.T, peak float64) {
	t.Helper()
	from := g.guard.Account().Windows
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		a := g.guard.Account()
		if a.Windows >= from+2 && a.Peak >= peak || g.guard.Detached() {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the guard saw %d windows and a peak of %v, want 2 more than %d and %v", a.Windows, a.Peak, from, peak)
		}
	}
}

// detached: the run was ended by its guard, for a session of a peer, as it says. The
// last look is sooner done where BIRD rests.
func (r *router) detached(t *testing.T, g *guardedRun, rest func(), what string, begin time.Time, says ...string) *report.Result {
	t.Helper()
	for deadline := time.Now().Add(patience); !g.guard.Detached() && time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
	}
	rest()
	res := r.result(t, g.done)
	if res.Guard == nil || len(res.Guard.Steps) != 1 || !res.Guard.Steps[0].Detached {
		t.Fatalf("guard %+v, want that it has taken the probes off; notes:\n%s", res.Guard, notes(res))
	}
	step := res.Guard.Steps[0]
	says = append(says, what, ", and before that ")
	for _, s := range says {
		if !strings.Contains(step.Reason, s) || !strings.Contains(notes(res), s) {
			t.Errorf("it does not say %q:\n%s\nnotes\n%s", s, step.Reason, notes(res))
		}
	}
	if step.Time.Before(begin) || step.Time.After(time.Now()) {
		t.Errorf("at %v, want after %v", step.Time, begin)
	}
	return res
}

// lostBy is what is said of a peer's session.
func lostBy(peer int) string {
	return fmt.Sprintf("BIRD lost the session %s with %v between ", lab.PeerName(peer), lab.PeerAddr(peer))
}
