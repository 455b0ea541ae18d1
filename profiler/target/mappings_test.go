// SPDX-License-Identifier: Apache-2.0

package target

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestParseMapping(t *testing.T) {
	for _, c := range []struct {
		line string
		want Mapping
	}{
		{"7f2c4a000000-7f2c4a021000 r-xp 00001000 fe:00 131                        /usr/sbin/bird",
			Mapping{Start: 0x7f2c4a000000, End: 0x7f2c4a021000, Offset: 0x1000, Read: true, Exec: true, Device: unix.Mkdev(0xfe, 0), Inode: 131, Path: "/usr/sbin/bird"}},
		{"00400000-00401000 r--p 00000000 103:02 4294967297 /a b (deleted)",
			Mapping{Start: 0x400000, End: 0x401000, Read: true, Device: unix.Mkdev(0x103, 2), Inode: 1<<32 + 1, Path: "/a b (deleted)"}},
		{"7ffd0000-7ffd1000 rw-p 00000000 00:00 0                          [stack]",
			Mapping{Start: 0x7ffd0000, End: 0x7ffd1000, Read: true, Write: true, Path: "[stack]"}},
		{"7ffd0000-7ffd1000 ---p 00000000 00:00 0 ", Mapping{Start: 0x7ffd0000, End: 0x7ffd1000}},
		{"7ffd0000-7ffd1000 ---p 00000000 00:00 0", Mapping{Start: 0x7ffd0000, End: 0x7ffd1000}},
		{"ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]",
			Mapping{Start: 0xffffffffff600000, End: 0xffffffffff601000, Exec: true, Path: "[vsyscall]"}},
	} {
		got, err := parseMapping(c.line)
		if err != nil || got != c.want {
			t.Errorf("%q: got %+v (%v), want %+v", c.line, got, err, c.want)
		}
	}
	for _, line := range []string{
		"", " ", "x", "1000-2000", "1000-2000 r-xp", "1000-2000 r-xp 0 0:0", "1000 r-xp 0 0:0 0", "1000-2000 r-x 0 0:0 0",
		"1000-2000 r-xp 0 00 0", "2000-1000 r-xp 0 0:0 0", "g-2000 r-xp 0 0:0 0", "1000-2000 r-xp -1 0:0 0",
		"11111111111111111-2 r-xp 0 0:0 0", "1000-2000 r-xp 0 0:0 a",
	} {
		if m, err := parseMapping(line); err == nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: got %+v, %v, want an error", line, m, err)
		}
	}
}

func TestParseMappings(t *testing.T) {
	line := "1000-2000 r-xp 00000000 00:00 0 /a\n"
	m, err := parseMappings(strings.NewReader(strings.Repeat(line, 3)))
	if err != nil || len(m) != 3 {
		t.Errorf("%d mappings, %v", len(m), err)
	}
	if _, err := parseMappings(strings.NewReader(line + "bad\n")); err == nil {
		t.Error("a bad line is taken")
	}
	if _, err := parseMappings(strings.NewReader(strings.Repeat(line, maxMappings+1))); err == nil {
		t.Error("too many mappings are taken")
	}
	if _, err := parseMappings(strings.NewReader("1000-2000 r-xp 00000000 00:00 0 " + strings.Repeat("x", 2<<20))); err == nil {
		t.Error("too long a line is taken")
	}
}

// FuzzParseMapping: what is parsed can be written and parsed again.
func FuzzParseMapping(f *testing.F) {
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		f.Fatal(err)
	}
	for line := range strings.Lines(string(maps)) {
		f.Add(strings.TrimSuffix(line, "\n"))
	}
	f.Add("7ffd0000-7ffd1000 ---p 00000000 00:00 0")
	f.Fuzz(func(t *testing.T, line string) {
		m, err := parseMapping(line)
		if err != nil {
			return
		}
		if m.End < m.Start {
			t.Fatalf("%q: ends before it starts", line)
		}
		flag := func(on bool, c byte) byte {
			if on {
				return c
			}
			return '-'
		}
		again, err := parseMapping(fmt.Sprintf("%x-%x %c%c%cp %08x %x:%x %d %s", m.Start, m.End,
			flag(m.Read, 'r'), flag(m.Write, 'w'), flag(m.Exec, 'x'), m.Offset, unix.Major(m.Device), unix.Minor(m.Device), m.Inode, m.Path))
		if err != nil || again != m {
			t.Fatalf("%q: got %+v, then %+v (%v)", line, m, again, err)
		}
	})
}
