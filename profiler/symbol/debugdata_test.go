// SPDX-License-Identifier: Apache-2.0

package symbol

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// xz compresses b as the tool does with these options.
func xz(t testing.TB, b []byte, options ...string) []byte {
	t.Helper()
	return run(t, "", "xz-utils", string(b), "xz", append([]string{"--stdout"}, options...)...)
}

// TestDebugData reads a stripped program with the symbols that Fedora leaves it.
func TestDebugData(t *testing.T) {
	path := build(t, "gcc", "-g -O2")
	dir := filepath.Dir(path)
	// As find-debuginfo of debugedit does: symbols alone, of a debug file.
	run(t, dir, "binutils", "", "objcopy", "--only-keep-debug", "prog", "prog.debug")
	run(t, dir, "binutils", "", "objcopy", "-S", "--remove-section", ".comment", "--keep-symbol=split", "--keep-symbol=main", "prog.debug", "mini")
	mini, err := os.ReadFile(filepath.Join(dir, "mini"))
	if err != nil {
		t.Fatal(err)
	}
	full := open(t, path)
	addrs, _ := instructions(t, path)
	for _, test := range []struct {
		name string
		data []byte
		want bool
	}{
		{"xz", xz(t, mini), true},
		{"many threads", xz(t, mini, "-T4"), true},
		{"cut", xz(t, mini)[:len(mini)/8], false},
		{"no xz", mini, false},
		{"no ELF", xz(t, []byte("text")), false},
	} {
		if err := os.WriteFile(filepath.Join(dir, "mini.xz"), test.data, 0o644); err != nil {
			t.Fatal(err)
		}
		run(t, dir, "binutils", "", "strip", "-o", "stripped", "prog")
		run(t, dir, "binutils", "", "objcopy", "--add-section", ".gnu_debugdata=mini.xz", "stripped")
		m := open(t, filepath.Join(dir, "stripped"))
		if m.HasSymbols() != test.want || m.HasDWARF() {
			t.Errorf("%s: HasSymbols %v, want %v; HasDWARF %v", test.name, m.HasSymbols(), test.want, m.HasDWARF())
		}
		named := 0
		for _, pc := range addrs {
			if f := m.Frames(pc, false); f[0].Source == SourceMini {
				named++
				all := full.Frames(pc, false)
				if got, want := f[0].Function, all[len(all)-1].Function; got != want {
					t.Fatalf("%s: function at %#x: got %s, want %s", test.name, pc, got, want)
				}
			}
		}
		if named > 0 != test.want {
			t.Errorf("%s: %d addresses named", test.name, named)
		}
		// The whole .symtab is better.
		if used, err := m.FindDebugFile("/opt/prog", Places{File: filepath.Join(dir, "prog.debug")}); used == "" || err != nil {
			t.Fatalf("%s: %v", test.name, err)
		}
		for _, pc := range addrs {
			if f := m.Frames(pc, false); f[0].Source == SourceMini || f[len(f)-1].Symbol != full.Frames(pc, false)[len(f)-1].Symbol {
				t.Fatalf("%s: frames of %#x with debug file: %+v", test.name, pc, f)
			}
		}
	}
}

func TestDecodeXZ(t *testing.T) {
	text := []byte(strings.Repeat("some text ", 10000))
	change := func(b []byte, at int, to byte) []byte {
		b = bytes.Clone(b)
		b[at] = to
		return b
	}
	good := xz(t, text)
	// The block header of xz without threads: size, flags, filter, size, dictionary.
	dictionary := bytes.Index(good[:24], []byte{0x21, 1}) + 2
	tests := []struct {
		name string
		data []byte
		err  string
	}{
		{"default", good, ""},
		{"sizes in the block header", xz(t, text, "-T2", "--block-size=1MiB"), ""},
		{"CRC-32", xz(t, text, "--check=crc32"), ""},
		{"SHA-256", xz(t, text, "--check=sha256"), ""},
		{"no check", xz(t, text, "--check=none"), ""},
		{"best", xz(t, text, "-9e"), ""},
		{"empty", nil, "no stream header"},
		{"gzip", []byte("\x1f\x8b\x08" + strings.Repeat("\x00", 40)), "no stream header"},
		{"of nothing", xz(t, nil), "no block"},
		{"two blocks", xz(t, text, "--block-size=50000"), "more than one block"},
		{"other filter", xz(t, text, "--x86", "--lzma2"), "not LZMA2 alone"},
		{"two filters", change(good, 13, 1), "not LZMA2 alone"},
		{"4 GB dictionary", change(good, dictionary, 40), "a dictionary of 4294967295 bytes is too large"},
		{"impossible dictionary", change(good, dictionary, 41), "decode xz: "},
		{"cut in the data", good[:len(good)/2], "decode xz: "},
		{"cut in the header", good[:21], "no block"},
		{"cut before the index", good[:len(good)-30], "cut short"},
	}
	for _, test := range tests {
		got, err := decodeXZ(test.data)
		switch {
		case test.err == "" && (err != nil || !bytes.Equal(got, text)):
			t.Errorf("%s: %d bytes, %v", test.name, len(got), err)
		case test.err != "" && (err == nil || !strings.Contains(err.Error(), test.err)):
			t.Errorf("%s: %v, want %q", test.name, err, test.err)
		}
	}
}

func FuzzDecodeXZ(f *testing.F) {
	for _, options := range [][]string{nil, {"-T2"}, {"--check=none"}, {"--x86", "--lzma2"}} {
		f.Add(xz(f, []byte("some text, some text"), options...))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if out, err := decodeXZ(b); err != nil && out != nil {
			t.Errorf("%d bytes and %v", len(out), err)
		}
	})
}
