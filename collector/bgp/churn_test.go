// SPDX-License-Identifier: Apache-2.0

package bgp

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/osrg/gobgp/v3/pkg/packet/bgp"
)

// rib is what a daemon has of a session: prefixes with their attributes.
type rib map[string]string

// take plays one UPDATE, as gobgp decodes it, and counts what it announces and withdraws.
func (r rib) take(t *testing.T, m []byte) (announced, withdrawn int) {
	t.Helper()
	parsed, err := bgp.ParseBGPMessage(m)
	if err != nil {
		t.Fatal(err)
	}
	u := parsed.Body.(*bgp.BGPUpdate)
	var in, out []bgp.AddrPrefixInterface
	for _, p := range u.NLRI {
		in = append(in, p)
	}
	for _, p := range u.WithdrawnRoutes {
		out = append(out, p)
	}
	attrs := ""
	for _, a := range u.PathAttributes {
		switch a := a.(type) {
		case *bgp.PathAttributeMpReachNLRI:
			in = append(in, a.Value...)
			attrs += a.Nexthop.String()
		case *bgp.PathAttributeMpUnreachNLRI:
			out = append(out, a.Value...)
		default:
			attrs += a.String()
		}
	}
	for _, p := range in {
		r[p.String()] = attrs
	}
	for _, p := range out {
		if _, there := r[p.String()]; !there {
			t.Errorf("%v is withdrawn and was not announced", p)
		}
		delete(r, p.String())
	}
	return len(in), len(out)
}

// play plays all of a table.
func (r rib) play(t *testing.T, table *Table) {
	t.Helper()
	for b := table.data; len(b) > 0; b = b[len(messageAt(b)):] {
		r.take(t, messageAt(b))
	}
}

// TestChurn: at the end everything is announced as it was, and in between prefixes of both
// families were away, at about the rate that was asked for, and each in its turn.
func TestChurn(t *testing.T) {
	s, c := session(t, 90*time.Second)
	routes := testRoutes(300, 7)
	routes.IPv6 = 100
	table := encode(t, routes)
	want := rib{}
	want.play(t, table)

	type seen struct {
		rib                  rib
		announced, withdrawn int
		touched              map[string]bool
	}
	got := make(chan seen, 1)
	go func() {
		x := seen{rib: rib{}, touched: map[string]bool{}}
		x.rib.play(t, table)
		for {
			typ, body, err := readMessage(c.in, c.buf[:])
			if err != nil || typ == TypeUpdate && len(body) == 4 { // End-of-RIB
				break
			}
			if typ != TypeUpdate {
				continue
			}
			in, out := x.rib.take(t, c.buf[:headerLen+len(body)])
			x.announced, x.withdrawn = x.announced+in, x.withdrawn+out
			for p := range want {
				if _, there := x.rib[p]; !there {
					x.touched[p] = true
				}
			}
		}
		got <- x
	}()
	const rate, length = 2000, 500 * time.Millisecond
	st, err := s.Churn(t.Context(), table, rate, length)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.EndOfRIB(t.Context()); err != nil {
		t.Fatal(err)
	}
	x := <-got
	if len(x.rib) != len(want) {
		t.Errorf("%d prefixes are left of %d", len(x.rib), len(want))
	}
	for p, attrs := range want {
		if x.rib[p] != attrs {
			t.Errorf("%s has %q, want %q", p, x.rib[p], attrs)
		}
	}
	// A loaded machine does less, none does more than one tick beyond.
	most := int(rate*length.Seconds() + rate*churnTick.Seconds())
	if st.Prefixes != x.withdrawn || x.withdrawn != x.announced || x.withdrawn < len(want) || x.withdrawn > most {
		t.Errorf("%d withdrawn, %d announced, stats %+v, want the same, %d to %d", x.withdrawn, x.announced, st, len(want), most)
	}
	if len(x.touched) != len(want) {
		t.Errorf("%d of %d prefixes were away at some time", len(x.touched), len(want))
	}
	if st.Elapsed < length {
		t.Errorf("ended after %v", st.Elapsed)
	}
}

func TestChurnEnds(t *testing.T) {
	s, c := session(t, 90*time.Second)
	go io.Copy(io.Discard, c.in)
	table := encode(t, testRoutes(10, 1))
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := s.Churn(ctx, table, 1000, time.Hour); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v, want %v", err, context.DeadlineExceeded)
	}
	for _, tt := range []struct {
		table *Table
		rate  float64
	}{{table, 0}, {encode(t, testRoutes(0, 0)), 100}} {
		if st, err := s.Churn(t.Context(), tt.table, tt.rate, time.Hour); err != nil || st.Prefixes != 0 {
			t.Errorf("churn of nothing: %+v, %v", st, err)
		}
	}
	s.Drop(t.Context(), DropReset)
	if _, err := s.Churn(t.Context(), table, 1000, time.Hour); err == nil {
		t.Error("no error after the session's end")
	}
}

// TestChurnCursor goes round without a prefix left out or taken twice, whatever is asked
// for at a time.
func TestChurnCursor(t *testing.T) {
	routes := testRoutes(1000, 30)
	routes.IPv6 = 300
	table := encode(t, routes)
	for _, step := range []int{1, 7, 1000} {
		c := churnCursor{table: table}
		got, left := rib{}, table.Prefixes()
		for left > 0 {
			a, n := c.take(min(step, left))
			if m := countPrefixes(a.nlri); m != n || n == 0 || n > step {
				t.Fatalf("took %d prefixes, says %d, asked for %d", m, n, step)
			}
			got.take(t, a.append(nil))
			left -= n
		}
		if len(got) != table.Prefixes() || c.at != 0 || c.taken != 0 {
			t.Errorf("by %d: %d prefixes, then at %d and %d", step, len(got), c.at, c.taken)
		}
	}
}

// TestEndOfRIB: the markers of the families that we speak.
func TestEndOfRIB(t *testing.T) {
	m, err := bgp.ParseBGPMessage(endOfRIBIPv6Message)
	if err != nil {
		t.Fatal(err)
	}
	if end, family := m.Body.(*bgp.BGPUpdate).IsEndOfRib(); !end || family != bgp.RF_IPv6_UC {
		t.Errorf("End-of-RIB %t of %v", end, family)
	}
	p := newTestPeer(t)
	ready := make(chan *peerConn, 1)
	go func() {
		c := p.accept()
		open, err := ParseOpen(bytes.Clone(c.read(TypeOpen)))
		if err != nil || len(open.Capabilities) != 3 || !bytes.Equal(open.Capabilities[1].Value, []byte{0, 2, 0, 1}) {
			t.Errorf("OPEN %+v, error %v, want IPv6 unicast", open, err)
		}
		c.open(90 * time.Second)
		c.write(keepaliveMessage)
		c.read(TypeKeepalive)
		ready <- c
	}()
	config := p.config()
	config.IPv6 = true
	s, err := Dial(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Drop(t.Context(), DropReset)
	c := <-ready
	if err := s.EndOfRIB(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, want := range [][]byte{endOfRIBMessage, endOfRIBIPv6Message} {
		if got := c.read(TypeUpdate); !bytes.Equal(got, want[headerLen:]) {
			t.Errorf("peer reads % x, want % x", got, want[headerLen:])
		}
	}
}

func BenchmarkChurnMessages(b *testing.B) {
	c := churnCursor{table: encode(b, testRoutes(100_000, 3000))}
	var out []byte
	n := 0
	for b.Loop() {
		a, count := c.take(50)
		out = a.append(a.appendWithdrawal(out[:0]))
		n += count
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "prefixes/s")
}
