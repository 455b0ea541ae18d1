// SPDX-License-Identifier: Apache-2.0

package bgp

import (
	"bytes"
	"encoding/hex"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/osrg/gobgp/v3/pkg/packet/bgp"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func testRoutes(count, sets int) Routes {
	return Routes{
		Count: count, AttributeSets: sets, ASN: 65001,
		NextHop: netip.MustParseAddr("127.0.0.2"), NextHop6: netip.MustParseAddr("2001:db8::2"),
	}
}

func encode(t testing.TB, r Routes) *Table {
	t.Helper()
	table, err := r.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// decoded is a table as gobgp's decoder, which shares no code with the encoder's prefixes
// and headers, reads it.
type decoded struct {
	messages   int
	prefixes   map[string]int
	attributes map[string]int // encoded attributes, prefixes with them
	perMessage []int
}

func decode(t *testing.T, table *Table) decoded {
	t.Helper()
	d := decoded{prefixes: map[string]int{}, attributes: map[string]int{}}
	for b := table.data; len(b) > 0; {
		length := int(b[16])<<8 | int(b[17])
		if length > 4096 {
			t.Fatalf("message %d: %d bytes", d.messages, length)
		}
		m, err := bgp.ParseBGPMessage(b[:length])
		if err != nil {
			t.Fatalf("message %d: %v", d.messages, err)
		}
		u := m.Body.(*bgp.BGPUpdate)
		families := map[bgp.RouteFamily]bgp.BGPAddPathMode{bgp.RF_IPv4_UC: bgp.BGP_ADD_PATH_NONE, bgp.RF_IPv6_UC: bgp.BGP_ADD_PATH_NONE}
		if _, err := bgp.ValidateUpdateMsg(u, families, true, false, true); err != nil {
			t.Fatalf("message %d: %v", d.messages, err)
		}
		var attrs string
		var prefixes []string
		for _, p := range u.NLRI {
			prefixes = append(prefixes, p.String())
		}
		for _, a := range u.PathAttributes {
			switch a := a.(type) {
			case *bgp.PathAttributeMpReachNLRI:
				if a.Nexthop.String() != "2001:db8::2" {
					t.Errorf("message %d: next hop %v", d.messages, a.Nexthop)
				}
				for _, p := range a.Value {
					prefixes = append(prefixes, p.String())
				}
			case *bgp.PathAttributeNextHop:
			default:
				attrs += a.String()
			}
		}
		for _, p := range prefixes {
			d.prefixes[p]++
			d.attributes[attrs]++
		}
		d.perMessage = append(d.perMessage, len(prefixes))
		d.messages++
		b = b[length:]
	}
	return d
}

func TestEncode(t *testing.T) {
	one := testRoutes(2500, 0)
	fifty := testRoutes(2500, 0)
	fifty.PerUpdate = 50
	half, ipv6, mixed := testRoutes(2500, 0), testRoutes(2500, 0), testRoutes(1000, 10)
	half.IPv6, ipv6.IPv6, mixed.IPv6 = 1250, 2500, 950
	for _, tt := range []struct {
		name           string
		routes         Routes
		messages, sets int
		perMessage     [2]int // least and most
	}{
		{"none", testRoutes(0, 0), 0, 0, [2]int{0, 0}},
		{"single", testRoutes(1, 1), 1, 1, [2]int{1, 1}},
		{"full messages", one, 3, 1, [2]int{486, 1007}},
		{"fifty each", fifty, 50, 1, [2]int{50, 50}},
		{"a set each", testRoutes(1000, 1000), 1000, 1000, [2]int{1, 1}},
		{"uneven sets", testRoutes(10870, 286), 286, 286, [2]int{38, 39}},
		{"half IPv6", half, 5, 1, [2]int{104, 1007}},
		{"IPv6", ipv6, 5, 1, [2]int{208, 573}},
		{"sets of both families", mixed, 11, 10, [2]int{50, 100}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			table := encode(t, tt.routes)
			d := decode(t, table)
			if len(d.prefixes) != tt.routes.Count || table.Prefixes() != tt.routes.Count {
				t.Errorf("%d distinct prefixes, table says %d, want %d", len(d.prefixes), table.Prefixes(), tt.routes.Count)
			}
			if n := countIPv6(d.prefixes); n != tt.routes.IPv6 || table.IPv6() != n {
				t.Errorf("%d IPv6 prefixes, table says %d, want %d", n, table.IPv6(), tt.routes.IPv6)
			}
			if d.messages != tt.messages || table.Messages() != tt.messages {
				t.Errorf("%d messages, table says %d, want %d", d.messages, table.Messages(), tt.messages)
			}
			if len(d.attributes) != tt.sets || table.AttributeSets() != tt.sets {
				t.Errorf("%d attribute sets, table says %d, want %d", len(d.attributes), table.AttributeSets(), tt.sets)
			}
			for i, n := range d.perMessage {
				if n < tt.perMessage[0] || n > tt.perMessage[1] {
					t.Errorf("message %d has %d prefixes, want %v", i, n, tt.perMessage)
				}
			}
		})
	}
}

func countIPv6(prefixes map[string]int) (n int) {
	for p := range prefixes {
		if strings.Contains(p, ":") {
			n++
		}
	}
	return n
}

// TestEncodeReport is the size of the report that leakprof is built for.
func TestEncodeReport(t *testing.T) {
	table := encode(t, testRoutes(1_087_000, 28_600))
	if table.Messages() != 28_600 || table.AttributeSets() != 28_600 {
		t.Errorf("%d messages with %d attribute sets, want 28600", table.Messages(), table.AttributeSets())
	}
	end, messages, prefixes := wholeMessages(table.data, len(table.data))
	if end != table.Bytes() || messages != 28_600 || prefixes != 1_087_000 {
		t.Errorf("walk ends at %d of %d after %d messages with %d prefixes", end, table.Bytes(), messages, prefixes)
	}
}

func TestEncodeIsDeterministic(t *testing.T) {
	a, b := encode(t, testRoutes(5000, 77)), encode(t, testRoutes(5000, 77))
	if !bytes.Equal(a.data, b.data) {
		t.Error("two encodings of the same routes differ")
	}
	golden := filepath.Join("testdata", "routes-6-prefixes-3-sets.hex")
	var got strings.Builder
	for b := encode(t, testRoutes(6, 3)).data; len(b) > 0; {
		end, _, _ := wholeMessages(b, int(b[16])<<8|int(b[17]))
		got.WriteString(hex.EncodeToString(b[:end]) + "\n")
		b = b[end:]
	}
	if *update {
		if err := os.WriteFile(golden, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got.String() != string(want) {
		t.Errorf("messages changed:\n%swant:\n%s", got.String(), want)
	}
}

func TestPeersOverlapOrNot(t *testing.T) {
	prefixes := func(peer int, overlap bool) map[string]int {
		r := testRoutes(1000, 10)
		r.Peer, r.Overlap, r.IPv6 = peer, overlap, 400
		return decode(t, encode(t, r)).prefixes
	}
	shared := func(a, b map[string]int) (n int) {
		for p := range a {
			n += b[p]
		}
		return n
	}
	if n := shared(prefixes(0, false), prefixes(1, false)); n != 0 {
		t.Errorf("peers share %d prefixes, want none", n)
	}
	if n := shared(prefixes(0, true), prefixes(1, true)); n != 1000 {
		t.Errorf("peers share %d prefixes, want all 1000", n)
	}
}

func TestPrefixIsRoutable(t *testing.T) {
	martians := []netip.Prefix{}
	for _, s := range []string{"0.0.0.0/8", "10.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16", "224.0.0.0/3"} {
		martians = append(martians, netip.MustParsePrefix(s))
	}
	last := netip.Prefix{}
	for i := 0; i < MaxPrefixes; i += 251 {
		p := Prefix(i)
		if p.Masked() != p || p.Bits() != 24 || (i > 0 && !last.Addr().Less(p.Addr())) {
			t.Fatalf("prefix %d is %v after %v", i, p, last)
		}
		for _, m := range martians {
			if m.Overlaps(p) {
				t.Fatalf("prefix %d, %v, is in %v", i, p, m)
			}
		}
		last = p
	}
	if p := Prefix(MaxPrefixes - 1); p.String() != "223.255.255.0/24" {
		t.Errorf("last prefix is %v", p)
	}
	for i, want := range map[int]string{0: "2a00::/48", 1: "2a00:0:1::/48", MaxPrefixes - 1: "2a00:d9:ffff::/48"} {
		if p := Prefix6(i); p.String() != want || !Acceptable(p) {
			t.Errorf("IPv6 prefix %d is %v, want %s", i, p, want)
		}
	}
}

func TestEncodeRejects(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*Routes)
		want   string
	}{
		{"negative count", func(r *Routes) { r.Count = -1 }, "-1 prefixes"},
		{"too many", func(r *Routes) { r.Count = MaxPrefixes + 1; r.Overlap = true }, "14286849 prefixes: want"},
		{"peer beyond", func(r *Routes) { r.Count = MaxPrefixes / 2; r.Peer = 2 }, "only 14286848 prefixes exist"},
		{"huge peer", func(r *Routes) { r.Peer = 1 << 62 }, "only"},
		{"negative peer", func(r *Routes) { r.Peer = -1 }, "peer number"},
		{"more sets than prefixes", func(r *Routes) { r.AttributeSets = 11 }, "11 attribute sets for 10 prefixes"},
		{"IPv6 next hop", func(r *Routes) { r.NextHop = netip.IPv6Loopback() }, "next hop ::1"},
		{"no IPv6 next hop", func(r *Routes) { r.IPv6, r.NextHop6 = 1, netip.Addr{} }, "next hop invalid IP is not an IPv6"},
		{"IPv4 for IPv6", func(r *Routes) { r.IPv6, r.NextHop6 = 1, r.NextHop }, "next hop 127.0.0.2 is not an IPv6"},
		{"more IPv6 than routes", func(r *Routes) { r.IPv6 = 11 }, "11 of 10 prefixes are IPv6"},
		{"no AS number", func(r *Routes) { r.ASN = 0 }, "RFC 7607"},
		{"negative per UPDATE", func(r *Routes) { r.PerUpdate = -1 }, "-1 prefixes per UPDATE"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := testRoutes(10, 0)
			tt.change(&r)
			if _, err := r.Encode(); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want one with %q", err, tt.want)
			}
		})
	}
}

// TestEncodeInPlace wants that a table is built in the memory that it takes, whatever its
// attributes and messages are.
func TestEncodeInPlace(t *testing.T) {
	single := testRoutes(10_000, 10_000)
	single.PerUpdate = 1
	mixed := testRoutes(10_000, 100)
	mixed.IPv6 = 5000
	for _, r := range []Routes{testRoutes(10_000, 0), testRoutes(10_000, 10_000), single, mixed} {
		// The table, its bytes, a set of attributes, which grows a few times, and the
		// prefixes with it.
		if n := testing.AllocsPerRun(3, func() { encode(t, r) }); n > 20 {
			t.Errorf("%+v: %v allocations", r, n)
		}
	}
}

func BenchmarkEncode(b *testing.B) {
	single := testRoutes(1_087_000, 0)
	single.PerUpdate = 1
	for _, bb := range []struct {
		name   string
		routes Routes
	}{
		{"report", testRoutes(1_087_000, 28_600)},
		{"one-set", testRoutes(1_087_000, 1)},
		{"1-per-update", single},
	} {
		b.Run(bb.name, func(b *testing.B) {
			before := processTime(b)
			for range b.N {
				encode(b, bb.routes)
			}
			used := processTime(b) - before
			b.ReportMetric(float64(bb.routes.Count)*float64(b.N)/used.Seconds(), "prefixes/s")
		})
	}
}
