// SPDX-License-Identifier: Apache-2.0

package birdc

import (
	"bufio"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func read(s string) (*Reply, error) {
	return readReply(bufio.NewReaderSize(strings.NewReader(s), maxLine))
}

func TestReadReply(t *testing.T) {
	for _, tt := range []struct {
		name, in string
		code     int
		lines    []Line
		err      string
	}{
		{"one line", "0013 up\n", 13, []Line{{13, "up"}}, ""},
		{"empty text", "0000 \n", 0, []Line{{0, ""}}, ""},
		{"table", "2002-Name\n1002-a\n b\n \n0000 \n", 0, []Line{{2002, "Name"}, {1002, "a"}, {1002, "b"}, {1002, ""}, {0, ""}}, ""},
		{"echoed log", "1002-a\n+bird: hello\n0000 \n", 0, []Line{{1002, "a"}, {0, ""}}, ""},
		{"CRLF", "0000 ok\r\n", 0, []Line{{0, "ok"}}, ""},
		{"error", "9001 syntax error\n", 9001, []Line{{9001, "syntax error"}}, ""},
		{"no code", "hello\n", 0, nil, `"hello" has no code`},
		{"continuation first", " a\n0000 \n", 0, nil, "has no code"},
		{"bad separator", "0000:a\n", 0, nil, "has no code"},
		{"short", "000\n", 0, nil, "has no code"},
		{"cut", "0000 ok", 0, nil, "unexpected EOF"},
		{"unfinished", "1002-a\n", 0, nil, "EOF"},
		{"long line", "0000 " + strings.Repeat("x", maxLine) + "\n", 0, nil, "line longer than 65536 bytes"},
		{"long reply", strings.Repeat("1000-"+strings.Repeat("x", 60000)+"\n", maxReply/60000+1), 0, nil, "longer than 16777216 bytes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, err := read(tt.in)
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Fatalf("error %v, want one with %q", err, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if r.Code != tt.code || len(r.Lines) != len(tt.lines) {
				t.Fatalf("reply %+v", r)
			}
			for i, l := range tt.lines {
				if r.Lines[i] != l {
					t.Errorf("line %d is %+v, want %+v", i, r.Lines[i], l)
				}
			}
		})
	}
}

// printSize is how BIRD prints a size: one decimal, and units from 10,000 on.
func printSize(v uint64) (whole, decimal, unit uint64) {
	v *= 10
	for v >= 100_000 && unit < 4 {
		v = (v + 512) / 1024
		unit++
	}
	return v / 10, v % 10, unit
}

func TestParseSizeInverts(t *testing.T) {
	values := []uint64{0, 1, 9999, 10_000, 10_239, 10_240, 123_456, 1 << 20, 10_238_976, 10_239_999, 5_739_286, 1_018_000_000, 1 << 35, 1<<40 + 12345, 1 << 44}
	for v := uint64(1); v < 1<<45; v = v*5/3 + 1 {
		values = append(values, v)
	}
	for _, v := range values {
		whole, decimal, unit := printSize(v)
		s, err := parseSize(itoa(whole), itoa(decimal), " kMGT"[unit:unit+1])
		if err != nil {
			t.Fatal(err)
		}
		if v < s.Min || v > s.Max || s.Bytes < s.Min || s.Bytes > s.Max {
			t.Errorf("%d prints as %d.%d unit %d, which is read as %+v", v, whole, decimal, unit, s)
		}
		if v < 10_000 && (s.Min != v || s.Max != v) {
			t.Errorf("%d is not exact: %+v", v, s)
		}
		// The bounds are tight: what is beyond prints otherwise.
		for _, outside := range []uint64{s.Min - 1, s.Max + 1} {
			if w, d, u := printSize(outside); s.Min > 0 && w == whole && d == decimal && u == unit {
				t.Errorf("%d prints like %d but is outside %+v", outside, v, s)
			}
		}
	}
}

func itoa(n uint64) string {
	if n < 10 {
		return string(rune('0' + n))
	}
	return itoa(n/10) + string(rune('0'+n%10))
}

func TestParseMemoryRejects(t *testing.T) {
	for _, in := range []string{
		"0000 \n",
		"1018-BIRD memory usage\n0000 \n",
		"1018-Total: 999999999999999.9 TB 0.0  B\n0000 \n",
	} {
		r, err := read(in)
		if err != nil {
			t.Fatal(err)
		}
		if all, err := parseSessions(r); err == nil {
			for _, s := range all {
				if s.Left < 0 {
					t.Errorf("session %+v", s)
				}
			}
		}
		if m, err := parseMemory(r); err == nil {
			t.Errorf("%q is read as %+v", in, m)
		}
	}
}

func TestParseProtocol(t *testing.T) {
	for _, tt := range []struct {
		row  string
		want Protocol
	}{
		{"bmp1       BMP        ---        up     05:47:05.349  Established", Protocol{"bmp1", "BMP", "---", "up", "05:47:05.349", "Established"}},
		{"device1    Device     ---        up     08:06:33.967  ", Protocol{"device1", "Device", "---", "up", "08:06:33.967", ""}},
		{"a_name_that_is_long BGP master4 start 2026-11-22  Active        Socket: Connection refused", Protocol{"a_name_that_is_long", "BGP", "master4", "start", "2026-11-22", "Active Socket: Connection refused"}},
		{"p BGP --- up 2026-11-22 08:06:33  Established", Protocol{"p", "BGP", "---", "up", "2026-11-22 08:06:33", "Established"}},
		{"p BGP --- up 22-11-2026 08:06:33.123", Protocol{"p", "BGP", "---", "up", "22-11-2026 08:06:33.123", ""}},
	} {
		got, err := parseProtocol(tt.row)
		if err != nil || got != tt.want {
			t.Errorf("%q is read as %+v, error %v", tt.row, got, err)
		}
	}
	if _, err := parseProtocol("bmp1 BMP --- up"); err == nil {
		t.Error("four columns are taken for a row")
	}
}

func TestParseRouteCountRejects(t *testing.T) {
	for _, in := range []string{"0000 \n", "0014 Total: 1 of 1 routes for 1 networks in 2 tables\n", "1007-99999999999999999999 of 1 routes for 1 networks in table t\n0000 \n"} {
		r, err := read(in)
		if err != nil {
			t.Fatal(err)
		}
		if c, err := parseRouteCount(r); err == nil {
			t.Errorf("%q is read as %+v", in, c)
		}
	}
}

func FuzzReply(f *testing.F) {
	files, err := filepath.Glob("testdata/*/*.txt")
	if err != nil || len(files) == 0 {
		f.Fatal("no recorded replies in testdata", err)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		_, reply, _ := strings.Cut(string(b), "\n")
		f.Add(reply)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := read(s)
		if err != nil {
			return
		}
		if len(r.Lines) == 0 || r.Lines[len(r.Lines)-1].Code != r.Code || r.Code < 0 || r.Code > 9999 {
			t.Errorf("reply %+v", r)
		}
		if m, err := parseMemory(r); err == nil {
			for _, l := range m.Lines {
				if l.Effective.Min > l.Effective.Max || l.Overhead.Min > l.Overhead.Max {
					t.Errorf("line %+v", l)
				}
			}
		}
		parseProtocols(r)
		parseRouteCount(r)
		parseGreeting(r)
	})
}
