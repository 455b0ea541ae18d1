// SPDX-License-Identifier: Apache-2.0

package experiment

import (
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/osrg/gobgp/v3/pkg/packet/bgp"

	"leakprof/collector/bmp"
	"leakprof/collector/lab"
	"leakprof/collector/session"
	"leakprof/profiler/report"
)

// restarting is a BGP speaker that announces one route and says that it can
// restart gracefully (RFC 4724) and, if longLived is not 0, that its route is to
// be kept as stale for so long after that (RFC 9494).
func restarting(t *testing.T, remote netip.AddrPort, restart, longLived time.Duration) net.Conn {
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
	capabilities := []bgp.ParameterCapabilityInterface{
		bgp.NewCapMultiProtocol(bgp.RF_IPv4_UC), bgp.NewCapFourOctetASNumber(lab.PeerASN(0)),
		bgp.NewCapGracefulRestart(false, false, uint16(restart/time.Second), []*bgp.CapGracefulRestartTuple{bgp.NewCapGracefulRestartTuple(bgp.RF_IPv4_UC, true)}),
	}
	if longLived > 0 {
		capabilities = append(capabilities, bgp.NewCapLongLivedGracefulRestart([]*bgp.CapLongLivedGracefulRestartTuple{
			bgp.NewCapLongLivedGracefulRestartTuple(bgp.RF_IPv4_UC, true, uint32(longLived/time.Second)),
		}))
	}
	send(bgp.NewBGPOpenMessage(uint16(lab.PeerASN(0)), 240, id, []bgp.OptionParameterInterface{bgp.NewOptionParameterCapability(capabilities)}))
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
// back; nothing has settled before they are gone, or until the limit, and then
// it says so.
func TestGracefulRestart(t *testing.T) {
	const long = 3600 * time.Second
	for _, c := range []struct {
		name, root         string
		station            *bmp.Options
		restart, longLived time.Duration
		limit              time.Duration
		want               string // what it waits for
	}{
		{"bird2-sid", "bird2-sid", nil, 6 * time.Second, 0, 0, "graceful restart of peer1 holds 1 route"},
		{"bird3-trixie", "bird3-trixie", new(bmp.Options), 6 * time.Second, 0, 0, "graceful restart of peer1 holds 1 route"},
		{"limit", "bird2-sid", new(bmp.Options), long, 0, 3 * time.Second, "graceful restart of peer1 holds 1 route"},
		{"long-lived", "bird2-sid", new(bmp.Options), 0, 6 * time.Second, 0, "long-lived graceful restart of peer1 holds 1 route"},
		{"long-lived, limit", "bird3-sid", new(bmp.Options), 0, long, 3 * time.Second, "long-lived graceful restart of peer1 holds 1 route"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := startBird(t, c.root, 1, c.station)
			w.configure(t, "graceful restart off;\n\tlong lived graceful restart off;", "graceful restart aware;\n\tlong lived graceful restart aware;")
			done := w.follow(t, 1, func(f *Config) {
				if f.Session.Limit = c.limit; c.limit > 0 {
					f.Profiler = w.attach(t) // for the verdict
					f.Process = f.Profiler.Process
				}
			})
			w.phase(t, session.Baseline, 0)
			conn := restarting(t, w.bird.BGPAddr(), c.restart, c.longLived)
			w.phase(t, session.Flooded, 1)
			down := time.Now()
			conn.Close()
			s := w.wait(t, "a graceful restart", func(s Status) bool { return s.Keeping })
			if s.Waiting != c.want {
				t.Errorf("it waits for %q, want %q", s.Waiting, c.want)
			}
			lasts := max(c.restart, c.longLived)
			if c.limit > 0 {
				lasts = c.limit
			}
			if left := s.Until.Sub(down); left < lasts-time.Second || left > lasts+3*time.Second {
				t.Errorf("it waits for %v more, want about %v", left, lasts)
			}
			res := w.result(t, done)
			want, routes := "baseline flooding flooded dropping settled", int64(0)
			if c.limit > 0 {
				want, routes = want+" (not at rest after 3s: "+c.want+")", 1
				if v := res.Verdict; v.Kind != report.Incomplete || !strings.Contains(v.Sentence, "cycle 1 never settled (not at rest after 3s: "+c.want+")") {
					t.Errorf("verdict: %s", v.Sentence)
				}
			}
			if got := phases(res); got != want {
				t.Fatalf("phases %s, want %s", got, want)
			}
			last := res.Phases[len(res.Phases)-1]
			if took := last.Start.Sub(down); took < lasts-time.Second {
				t.Errorf("settled after %v, want at least %v", took, lasts)
			}
			if last.Routes != routes {
				t.Errorf("%d routes at the end, want %d", last.Routes, routes)
			}
		})
	}
}
