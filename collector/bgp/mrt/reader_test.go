// SPDX-License-Identifier: Apache-2.0

package mrt

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/osrg/gobgp/v3/pkg/packet/bgp"
	"github.com/osrg/gobgp/v3/pkg/packet/mrt"
)

// message encodes a record by gobgp, which shares no code with the reader.
func message(t testing.TB, subtype mrt.MRTSubTypeTableDumpv2, body mrt.Body) []byte {
	t.Helper()
	m, err := mrt.NewMRTMessage(1_700_000_000, mrt.TABLE_DUMPv2, subtype, body)
	if err != nil {
		t.Fatal(err)
	}
	b, err := m.Serialize()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// peerTable has three peers: with an IPv4 address and a 2-octet AS number, with IPv4 and 4
// octets, with IPv6 and 4 octets.
func peerTable(t testing.TB) []byte {
	return message(t, mrt.PEER_INDEX_TABLE, mrt.NewPeerIndexTable("192.0.2.1", "view", []*mrt.Peer{
		mrt.NewPeer("192.0.2.2", "192.0.2.2", 64500, false),
		mrt.NewPeer("192.0.2.3", "192.0.2.3", 4_200_000_000, true),
		mrt.NewPeer("192.0.2.4", "2001:db8::4", 4_200_000_001, true),
	}))
}

func attributes(asn uint32) []bgp.PathAttributeInterface {
	return []bgp.PathAttributeInterface{
		bgp.NewPathAttributeOrigin(0),
		bgp.NewPathAttributeAsPath([]bgp.AsPathParamInterface{bgp.NewAs4PathParam(bgp.BGP_ASPATH_ATTR_TYPE_SEQ, []uint32{asn, 3356})}),
		bgp.NewPathAttributeNextHop("192.0.2.2"),
	}
}

func encoded(t testing.TB, attrs []bgp.PathAttributeInterface) string {
	t.Helper()
	var b []byte
	for _, a := range attrs {
		e, err := a.Serialize()
		if err != nil {
			t.Fatal(err)
		}
		b = append(b, e...)
	}
	return string(b)
}

func ipv4RIB(t testing.TB, prefix string, peers ...uint16) []byte {
	p := netip.MustParsePrefix(prefix)
	var entries []*mrt.RibEntry
	for _, peer := range peers {
		entries = append(entries, mrt.NewRibEntry(peer, 1_700_000_000, 0, attributes(uint32(64500)+uint32(peer)), false))
	}
	return message(t, mrt.RIB_IPV4_UNICAST, mrt.NewRib(1, bgp.NewIPAddrPrefix(uint8(p.Bits()), p.Addr().String()), entries))
}

// sample is a dump with one of each that is read, and some that is not.
func sample(t testing.TB) []byte {
	ipv6 := bgp.NewIPv6AddrPrefix(48, "2001:db8:1::")
	withPaths := mrt.NewRib(3, bgp.NewIPAddrPrefix(23, "198.51.100.0"), []*mrt.RibEntry{
		mrt.NewRibEntry(0, 0, 7, attributes(64500), true), mrt.NewRibEntry(0, 0, 8, attributes(64501), true),
	})
	geo := message(t, mrt.GEO_PEER_TABLE, mrt.NewGeoPeerTable("192.0.2.1", 1, 2, nil))
	return bytes.Join([][]byte{
		peerTable(t),
		ipv4RIB(t, "203.0.113.0/25", 0, 1, 2),
		geo,
		message(t, mrt.RIB_IPV6_UNICAST, mrt.NewRib(2, ipv6, []*mrt.RibEntry{mrt.NewRibEntry(2, 0, 0, attributes(64502), false)})),
		message(t, mrt.RIB_IPV4_UNICAST_ADDPATH, withPaths),
		ipv4RIB(t, "0.0.0.0/0", 1),
	}, nil)
}

// readAll reads a dump as lines: the prefix, and each entry's peer.
func readAll(r *Reader) (lines []string, attrs []string, err error) {
	for {
		rib, err := r.Next()
		if err == io.EOF {
			return lines, attrs, nil
		}
		if err != nil {
			return lines, attrs, err
		}
		line := rib.Prefix.String()
		for _, e := range rib.Entries {
			line += fmt.Sprintf(" %d", e.Peer)
			attrs = append(attrs, string(e.Attributes))
		}
		lines = append(lines, line)
	}
}

func TestReader(t *testing.T) {
	r := NewReader(bytes.NewReader(sample(t)))
	lines, attrs, err := readAll(r)
	if err != nil {
		t.Fatal(err)
	}
	want := "203.0.113.0/25 0 1 2\n2001:db8:1::/48 2\n198.51.100.0/23 0 0\n0.0.0.0/0 1"
	if got := strings.Join(lines, "\n"); got != want {
		t.Errorf("read\n%s\nwant\n%s", got, want)
	}
	for i, asn := range []uint32{64500, 64501, 64502, 64502, 64500, 64501, 64501} {
		if attrs[i] != encoded(t, attributes(asn)) {
			t.Errorf("attributes of route %d are % x, want those of AS %d", i, attrs[i], asn)
		}
	}
	if got, want := r.Stats(), (Stats{Records: 6, RIBs: 4, Entries: 7, Skipped: 2, Bytes: int64(len(sample(t))), Peers: 3}); got != want {
		t.Errorf("stats %+v, want %+v", got, want)
	}
	if _, err := r.Next(); err != io.EOF {
		t.Errorf("after the end: %v", err)
	}
}

func TestReaderErrors(t *testing.T) {
	table, rib := peerTable(t), ipv4RIB(t, "203.0.113.0/24", 0, 1)
	at := fmt.Sprintf("record 2 at offset %d: ", len(table))
	change := func(b []byte, at int, value ...byte) []byte {
		b = bytes.Clone(b)
		copy(b[at:], value)
		return b
	}
	short := func(b []byte, by int) []byte { // the record ends earlier, and says so
		b = bytes.Clone(b[:len(b)-by])
		length := len(b) - headerLen
		b[8], b[9], b[10], b[11] = 0, 0, byte(length>>8), byte(length)
		return b
	}
	for _, tt := range []struct {
		name string
		dump []byte
		want string
	}{
		{"empty", nil, "the file is empty"},
		{"text", []byte("hello, this is no dump at all\n"), "record 1 at offset 0: 1751741216 bytes, more than 16777216: is it an MRT file?"},
		{"cut in a header", append(bytes.Clone(table), rib[:5]...), at + "the file ends after 5 of 12 bytes of the header"},
		{"cut in a record", append(bytes.Clone(table), rib[:20]...), at + "the file ends after 8 of"},
		{"no peer table", rib, "record 1 at offset 0: a RIB before the peer index table"},
		{"unknown peer", append(bytes.Clone(table), ipv4RIB(t, "203.0.113.0/24", 0, 3)...), at + "a route of peer 3 of 3"},
		{"long prefix", append(bytes.Clone(table), change(rib, 16, 33)...), at + "prefix of 33 bits: at most 32"},
		{"too many entries", append(bytes.Clone(table), change(rib, 20, 0, 3)...), at + "fields go beyond the end of the record"},
		{"short attributes", append(bytes.Clone(table), short(rib, 1)...), at + "fields go beyond the end of the record"},
		{"short entry", append(bytes.Clone(table), short(rib, len(rib)-25)...), at + "fields go beyond the end of the record"},
		{"short prefix", append(bytes.Clone(table), short(rib, len(rib)-18)...), at + "fields go beyond the end of the record"},
		{"short RIB", append(bytes.Clone(table), short(rib, len(rib)-14)...), at + "fields go beyond the end of the record"},
		{"short peer table", short(table, 1), "record 1 at offset 0: fields go beyond the end of the record"},
		{"long view name", change(table, 16, 0xff, 0xff), "record 1 at offset 0: fields go beyond the end of the record"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := NewReader(bytes.NewReader(tt.dump))
			_, _, err := readAll(r)
			if err == nil || !strings.HasPrefix(err.Error(), tt.want) {
				t.Errorf("error %v, want %s", err, tt.want)
			}
			if _, again := r.Next(); !errors.Is(again, err) {
				t.Errorf("then %v, want the same error", again)
			}
		})
	}
}

// TestOpen reads the same dump plain and compressed, with names that say nothing.
func TestOpen(t *testing.T) {
	plain := sample(t)
	var zipped bytes.Buffer
	for _, half := range [][]byte{plain[:50], plain[50:]} { // two members, as pigz writes them
		w := gzip.NewWriter(&zipped)
		w.Write(half)
		w.Close()
	}
	// What bzip2 makes of the sample; Go cannot.
	squeezed, err := os.ReadFile(filepath.Join("testdata", "sample.mrt.bz2"))
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{"plain": plain, "gzip": zipped.Bytes(), "bzip2": squeezed} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "dump")
			if err := os.WriteFile(path, data, 0o600); err != nil {
				t.Fatal(err)
			}
			f, err := Open(path)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			lines, _, err := readAll(f.Reader)
			if err != nil || len(lines) != 4 {
				t.Errorf("read %q, error %v", lines, err)
			}
			if read, size := f.Progress(); read != size || size != int64(len(data)) {
				t.Errorf("progress %d of %d, want %d", read, size, len(data))
			}
		})
	}
	t.Run("cut gzip", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "dump")
		if err := os.WriteFile(path, zipped.Bytes()[:60], 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, _, err := readAll(f.Reader); !errors.Is(err, io.ErrUnexpectedEOF) && (err == nil || !strings.Contains(err.Error(), "the file ends after")) {
			t.Errorf("error %v", err)
		}
	})
	t.Run("missing", func(t *testing.T) {
		if _, err := Open(filepath.Join(t.TempDir(), "missing")); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("error %v", err)
		}
	})
}

// FuzzReader: whatever the bytes, the reader ends, and what it gives lies within them.
func FuzzReader(f *testing.F) {
	whole := sample(f)
	f.Add(whole)
	f.Add(whole[:len(whole)-7])
	f.Add(peerTable(f))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := NewReader(bytes.NewReader(b))
		for {
			rib, err := r.Next()
			if err != nil {
				break
			}
			size := 0
			for _, e := range rib.Entries {
				size += entryHeaderLen + len(e.Attributes)
				if e.Peer >= r.Stats().Peers {
					t.Fatalf("peer %d of %d", e.Peer, r.Stats().Peers)
				}
			}
			if size > len(b) || rib.Prefix != rib.Prefix.Masked() || !rib.Prefix.IsValid() {
				t.Fatalf("%v with %d bytes of entries in %d bytes", rib.Prefix, size, len(b))
			}
		}
		if s := r.Stats(); s.Bytes > int64(len(b)) {
			t.Fatalf("%d of %d bytes read", s.Bytes, len(b))
		}
	})
}

func BenchmarkReader(b *testing.B) {
	dump := peerTable(b)
	rib := ipv4RIB(b, "203.0.113.0/24", 0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2)
	const ribs = 10_000
	for range ribs {
		dump = append(dump, rib...)
	}
	b.SetBytes(int64(len(dump)))
	for b.Loop() {
		if _, err := NewReader(bytes.NewReader(dump)).countAll(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(ribs)*float64(b.N)/b.Elapsed().Seconds(), "prefixes/s")
}

// countAll reads to the end.
func (r *Reader) countAll() (n int, err error) {
	for {
		if _, err = r.Next(); err == io.EOF {
			return n, nil
		} else if err != nil {
			return n, err
		}
		n++
	}
}
