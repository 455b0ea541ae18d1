// SPDX-License-Identifier: Apache-2.0

package experiment

import (
	"context"
	"io"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/osrg/gobgp/v3/pkg/packet/bgp"

	"leakprof/collector/birdc"
	"leakprof/collector/bmp"
	"leakprof/collector/lab"
	"leakprof/collector/session"
	"leakprof/profiler/report"
	"leakprof/profiler/target"
)

// world is a real BIRD with an experiment that follows it, without probes.
type world struct {
	bird    *lab.Bird
	station *bmp.Station
	mu      sync.Mutex
	seen    []Status
	changed chan struct{} // a token when seen has grown
}

// startBird starts one of Debian's BIRDs (scripts/bird-root).
func startBird(t *testing.T, root string, peers int, withStation bool) *world {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("../../.bird", root, "usr/sbin/bird"))
	if err != nil {
		t.Fatal(err)
	}
	binary, err := lab.Find(t.Context(), path)
	if err != nil {
		t.Fatalf("%v; scripts/bird-root %s", err, root)
	}
	w := &world{changed: make(chan struct{}, 1)}
	config := lab.Config{Binary: binary, Peers: peers}
	if withStation {
		if w.station, err = bmp.Listen(t.Context(), bmp.Options{Addr: netip.MustParseAddrPort("127.0.0.1:0")}); err != nil {
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

// configure changes BIRD's configuration while it runs.
func (w *world) configure(t *testing.T, old, new string) {
	t.Helper()
	text := w.bird.ConfigText()
	if !strings.Contains(text, old) {
		t.Fatalf("no %q in the lab's configuration", old)
	}
	if err := w.bird.WriteConfig(t.Context(), strings.Replace(text, "\t"+old, "\t"+new, 1)); err != nil {
		t.Fatal(err)
	}
	c, err := birdc.Dial(t.Context(), w.bird.Control())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Command(t.Context(), "configure"); err != nil {
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

func (w *world) status(s Status) {
	w.mu.Lock()
	w.seen = append(w.seen, s)
	w.mu.Unlock()
	select {
	case w.changed <- struct{}{}:
	default:
	}
}

// wait waits for a status.
func (w *world) wait(t *testing.T, what string, is func(Status) bool) Status {
	t.Helper()
	deadline := time.After(time.Minute)
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
		select {
		case <-w.changed:
		case <-deadline:
			t.Fatalf("no status with %s; the last is %+v", what, seen)
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

// restarting is a BGP speaker that says it can restart gracefully (RFC 4724)
// and announces one route.
func restarting(t *testing.T, remote netip.AddrPort, restart time.Duration) net.Conn {
	t.Helper()
	d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(lab.PeerAddr(0), 0))}
	conn, err := d.DialContext(t.Context(), "tcp", remote.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	send := func(m *bgp.BGPMessage) {
		t.Helper()
		b, err := m.Serialize()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write(b); err != nil {
			t.Fatal(err)
		}
	}
	id := lab.PeerAddr(0).String()
	send(bgp.NewBGPOpenMessage(uint16(lab.PeerASN(0)), 240, id, []bgp.OptionParameterInterface{bgp.NewOptionParameterCapability([]bgp.ParameterCapabilityInterface{
		bgp.NewCapMultiProtocol(bgp.RF_IPv4_UC), bgp.NewCapFourOctetASNumber(lab.PeerASN(0)),
		bgp.NewCapGracefulRestart(false, false, uint16(restart/time.Second), []*bgp.CapGracefulRestartTuple{bgp.NewCapGracefulRestartTuple(bgp.RF_IPv4_UC, true)}),
	})}))
	// The session is up when BIRD's OPEN and KEEPALIVE are here.
	header := make([]byte, bgp.BGP_HEADER_LENGTH)
	for range 2 {
		if _, err := io.ReadFull(conn, header); err != nil {
			t.Fatal(err)
		}
		if _, err := io.CopyN(io.Discard, conn, int64(header[16])<<8+int64(header[17])-bgp.BGP_HEADER_LENGTH); err != nil {
			t.Fatal(err)
		}
		if header[18] == bgp.BGP_MSG_OPEN {
			send(bgp.NewBGPKeepAliveMessage())
		}
	}
	send(bgp.NewBGPUpdateMessage(nil, []bgp.PathAttributeInterface{
		bgp.NewPathAttributeOrigin(0),
		bgp.NewPathAttributeAsPath([]bgp.AsPathParamInterface{bgp.NewAs4PathParam(bgp.BGP_ASPATH_ATTR_TYPE_SEQ, []uint32{lab.PeerASN(0)})}),
		bgp.NewPathAttributeNextHop(id),
	}, []*bgp.IPAddrPrefix{bgp.NewIPAddrPrefix(24, "198.51.100.0")}))
	return conn
}

// TestGracefulRestart: BIRD keeps the routes of a neighbor that is to come
// back; nothing has settled before they are gone.
func TestGracefulRestart(t *testing.T) {
	for _, c := range []struct {
		root    string
		station bool
	}{{"bird2-sid", false}, {"bird3-trixie", true}} {
		t.Run(c.root, func(t *testing.T) {
			t.Parallel()
			const restart = 6 * time.Second
			w := startBird(t, c.root, 1, c.station)
			w.configure(t, "graceful restart off;", "graceful restart aware;")
			done := w.follow(t, 1, nil)
			w.wait(t, "a quiet baseline", func(s Status) bool { return s.AtRest })
			conn := restarting(t, w.bird.BGPAddr(), restart)
			w.wait(t, "a quiet flood", func(s Status) bool { return s.Phase == session.Flooded && s.AtRest })
			down := time.Now()
			conn.Close()
			s := w.wait(t, "a graceful restart", func(s Status) bool { return s.Keeping })
			if want := "graceful restart of peer1 holds 1 route"; s.Waiting != want {
				t.Errorf("it waits for %q, want %q", s.Waiting, want)
			}
			if left := s.Until.Sub(down); left < restart-time.Second || left > restart+3*time.Second {
				t.Errorf("it waits for %v more, want about %v", left, restart)
			}
			res := <-done
			if got, want := phases(res), "baseline flooding flooded dropping settled"; got != want {
				t.Fatalf("phases %s, want %s", got, want)
			}
			last := res.Phases[len(res.Phases)-1]
			if took := last.Start.Sub(down); took < restart-time.Second {
				t.Errorf("settled after %v, while BIRD kept the route for %v", took, restart)
			}
			if last.Routes != 0 {
				t.Errorf("%d routes at the end", last.Routes)
			}
		})
	}
}
