// SPDX-License-Identifier: Apache-2.0

package bgp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/osrg/gobgp/v3/pkg/packet/bgp"

	"leakprof/collector/bgp/mrt/mrttest"
)

func testDump(peers int) Dump {
	d := Dump{Avoid: 65000}
	for i := range peers {
		d.Peers = append(d.Peers, Identity{
			ASN: 65001 + uint32(i), NextHop: netip.AddrFrom4([4]byte{127, 0, 0, byte(2 + i)}),
			NextHop6: netip.MustParseAddr(fmt.Sprintf("2001:db8::%d", 2+i)),
		})
	}
	return d
}

// announced are the routes of a table as gobgp decodes them: prefix, AS_PATH, next hop and
// communities.
func announced(t testing.TB, table *Table) []string {
	t.Helper()
	var routes []string
	for b := table.data; len(b) > 0; b = b[len(messageAt(b)):] {
		m, err := bgp.ParseBGPMessage(messageAt(b))
		if err != nil {
			t.Fatal(err)
		}
		u := m.Body.(*bgp.BGPUpdate)
		families := map[bgp.RouteFamily]bgp.BGPAddPathMode{bgp.RF_IPv4_UC: 0, bgp.RF_IPv6_UC: 0}
		if _, err := bgp.ValidateUpdateMsg(u, families, true, false, true); err != nil {
			t.Fatal(err)
		}
		var prefixes []bgp.AddrPrefixInterface
		for _, p := range u.NLRI {
			prefixes = append(prefixes, p)
		}
		text := ""
		for _, a := range u.PathAttributes {
			switch a := a.(type) {
			case *bgp.PathAttributeMpReachNLRI:
				prefixes = append(prefixes, a.Value...)
				text += fmt.Sprintf(" via %v", a.Nexthop)
			case *bgp.PathAttributeNextHop:
				text += fmt.Sprintf(" via %v", a.Value)
			case *bgp.PathAttributeAsPath:
				for _, segment := range a.Value {
					text += " path " + strings.Trim(fmt.Sprint(segment.GetAS()), "[]")
				}
			case *bgp.PathAttributeOrigin:
			default:
				text += " " + a.String()
			}
		}
		for _, p := range prefixes {
			routes = append(routes, p.String()+text)
		}
	}
	return routes
}

func TestReadDump(t *testing.T) {
	ribs := []mrttest.RIB{
		{Prefix: "0.0.0.0/0", Paths: [][]uint32{{3356}, {174}, {2914}}},
		{Prefix: "203.0.113.0/25", Paths: [][]uint32{{3356, 64999}, {65000, 174}, {174, 65000}, {2914, 1}}},
		{Prefix: "2a00:1::/32", Paths: [][]uint32{{3356, 7}, {174, 7}}},
		{Prefix: "8.8.8.8/32", Paths: [][]uint32{{3356}}, More: []bgp.PathAttributeInterface{
			bgp.NewPathAttributeLocalPref(100), bgp.NewPathAttributeCommunities([]uint32{1<<16 | 2}), bgp.NewPathAttributeMultiExitDisc(5),
		}},
		{Prefix: "9.0.0.0/8", Paths: [][]uint32{{3356}}},
		{Prefix: "203.0.113.0/25", Paths: [][]uint32{{3356}}},
		{Prefix: "127.0.0.0/8", Paths: [][]uint32{{3356}}},
		{Prefix: "7.0.0.0/8", Paths: [][]uint32{nil}},
		{Prefix: "fe80::/10", Paths: [][]uint32{{3356}}},
	}
	path := mrttest.Write(t, ribs)
	tables, stats, err := testDump(2).Read(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	want := [][]string{{
		"0.0.0.0/0 path 65001 3356 via 127.0.0.2",
		"203.0.113.0/25 path 65001 3356 64999 via 127.0.0.2",
		"2a00:1::/32 via 2001:db8::2 path 65001 3356 7",
		"9.0.0.0/8 path 65001 3356 via 127.0.0.2",
	}, {
		"0.0.0.0/0 path 65002 174 via 127.0.0.3",
		"203.0.113.0/25 path 65002 2914 1 via 127.0.0.3",
		"2a00:1::/32 via 2001:db8::3 path 65002 174 7",
		"8.8.8.8/32 path 65002 3356 via 127.0.0.3 {Communities: 1:2} {Med: 5}",
	}}
	// In one table the routes go by attributes: 9.0.0.0/8 has those of the default route.
	want[0] = []string{want[0][0], want[0][3], want[0][1], want[0][2]}
	for i, table := range tables {
		got := announced(t, table)
		if !reflect.DeepEqual(got, want[i]) {
			t.Errorf("peer %d announces\n%s\nwant\n%s", i, strings.Join(got, "\n"), strings.Join(want[i], "\n"))
		}
	}
	if stats.Routes != 8 || stats.Prefixes != 5 || stats.IPv6 != 1 || stats.Repeated != 1 || stats.Martians != 2 || stats.Looped != 2 || stats.Malformed != 1 {
		t.Errorf("stats %+v", stats)
	}
	if tables[0].Prefixes() != 4 || tables[0].IPv6() != 1 || tables[0].Messages() != 3 || tables[0].AttributeSets() != 3 {
		t.Errorf("peer 0: %d prefixes, %d IPv6, %d messages, %d sets", tables[0].Prefixes(), tables[0].IPv6(), tables[0].Messages(), tables[0].AttributeSets())
	}
}

// TestReadDumpSpreads: a dump of a single router is spread evenly, in the same way each
// time, and no peer announces more than it may.
func TestReadDumpSpreads(t *testing.T) {
	var ribs []mrttest.RIB
	for i := range 4000 {
		ribs = append(ribs, mrttest.RIB{Prefix: Prefix(i).String(), Paths: [][]uint32{{3356, uint32(1 + i%7)}}})
	}
	path := mrttest.Write(t, ribs)
	var first []*Table
	for range 2 {
		tables, stats, err := testDump(4).Read(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		for i, table := range tables {
			if table.Prefixes() != 1000 {
				t.Errorf("peer %d announces %d routes, want 1000", i, table.Prefixes())
			}
			if first != nil && !bytes.Equal(table.data, first[i].data) {
				t.Errorf("peer %d announces something else the second time", i)
			}
		}
		if stats.Prefixes != 4000 {
			t.Errorf("%d prefixes", stats.Prefixes)
		}
		first = tables
	}
	d := testDump(4)
	d.PerPeer = 10
	tables, stats, err := d.Read(t.Context(), path)
	if err != nil || stats.Routes != 40 || stats.Prefixes != 40 || tables[3].Prefixes() != 10 {
		t.Errorf("%+v, error %v, want 10 routes each", stats, err)
	}
	if stats.RIBs > 40 {
		t.Errorf("read %d RIBs for 40 routes", stats.RIBs)
	}
}

// TestReadDumpFull: what no peer announces is not counted, though the dump goes on for the
// sake of another peer.
func TestReadDumpFull(t *testing.T) {
	// The second peer has nothing to announce before the last prefix.
	ribs := []mrttest.RIB{
		{Prefix: "1.0.0.0/24", Paths: [][]uint32{{3356}, {65000}}},
		{Prefix: "1.0.1.0/24", Paths: [][]uint32{{3356}, {65000}}},
		{Prefix: "1.0.2.0/24", Paths: [][]uint32{{3356}, {65000}}},
		{Prefix: "1.0.3.0/24", Paths: [][]uint32{{3356}, {174}}},
	}
	d := testDump(2)
	d.PerPeer = 2
	tables, stats, err := d.Read(t.Context(), mrttest.Write(t, ribs))
	if err != nil {
		t.Fatal(err)
	}
	if tables[0].Prefixes() != 2 || tables[1].Prefixes() != 1 || stats.Routes != 3 || stats.Prefixes != 3 || stats.RIBs != 4 {
		t.Errorf("peers announce %d and %d, stats %+v", tables[0].Prefixes(), tables[1].Prefixes(), stats)
	}
}

func TestReadDumpProgress(t *testing.T) {
	var ribs []mrttest.RIB
	for i := range 2 * progressEvery {
		ribs = append(ribs, mrttest.RIB{Prefix: Prefix(i).String(), Paths: [][]uint32{{3356}}})
	}
	path := mrttest.Write(t, ribs)
	d := testDump(1)
	var calls []int64
	d.Progress = func(read, size int64, routes int) {
		if read <= 0 || read > size || routes == 0 {
			t.Errorf("progress %d of %d, %d routes", read, size, routes)
		}
		calls = append(calls, read)
	}
	if _, _, err := d.Read(t.Context(), path); err != nil || len(calls) != 2 || calls[1] <= calls[0] {
		t.Errorf("error %v, progress %v", err, calls)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := d.Read(ctx, path); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want %v", err, context.Canceled)
	}
}

func TestReadDumpErrors(t *testing.T) {
	bgp4mp := filepath.Join(t.TempDir(), "updates")
	if err := os.WriteFile(bgp4mp, []byte{0, 0, 0, 0, 0, 16, 0, 4, 0, 0, 0, 1, 0}, 0o600); err != nil {
		t.Fatal(err)
	}
	cut := mrttest.Write(t, []mrttest.RIB{{Prefix: "9.0.0.0/8", Paths: [][]uint32{{3356}}}})
	if err := os.Truncate(cut, 150); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ name, path, want string }{
		{"missing", "/nonexistent", "read MRT dump: open /nonexistent: no such file"},
		{"updates", bgp4mp, ": no unicast RIB of a TABLE_DUMP_V2 in 1 records: a table dump is needed"},
		{"cut", cut, "read " + cut + ": record 2 at offset "},
		{"malformed", mrttest.Write(t, []mrttest.RIB{{Prefix: "9.0.0.0/8", Paths: [][]uint32{nil}}}), "no usable route in 1 RIBs: 9.0.0.0/8: malformed attributes: no AS_PATH"},
		{"loops", mrttest.Write(t, []mrttest.RIB{{Prefix: "9.0.0.0/8", Paths: [][]uint32{{65000}}}}), "0 prefixes are martians, 1 routes would be a loop"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, _, err := testDump(1).Read(t.Context(), tt.path); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want one with %q", err, tt.want)
			}
		})
	}
}

// BenchmarkReadDump reads a table of 100,000 prefixes with eight routes each for four
// peers.
func BenchmarkReadDump(b *testing.B) {
	const prefixes = 100_000
	var ribs []mrttest.RIB
	for i := range prefixes {
		rib := mrttest.RIB{Prefix: Prefix(i).String()}
		for peer := range 8 {
			rib.Paths = append(rib.Paths, []uint32{uint32(3356 + peer), uint32(1 + i/3), uint32(100_000 + i/3)})
		}
		ribs = append(ribs, rib)
	}
	path := mrttest.Write(b, ribs)
	for b.Loop() {
		if _, _, err := testDump(4).Read(b.Context(), path); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(prefixes*float64(b.N)/b.Elapsed().Seconds(), "prefixes/s")
}
