// SPDX-License-Identifier: Apache-2.0

package symbol

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestBaseName(t *testing.T) {
	tests := map[string]string{
		"mb_free":                              "mb_free",
		"bmp_peer_down.lto_priv.0":             "bmp_peer_down",
		"sl_alloc.part.0":                      "sl_alloc",
		"alloc_page.part.0.lto_priv.0":         "alloc_page",
		"net_format.constprop.0.isra.0":        "net_format",
		"rt_exporter_push.cold":                "rt_exporter_push",
		"cf_parse.isra.0.cold":                 "cf_parse",
		"f.cold.3":                             "f",
		"f.llvm.1234567890":                    "f",
		"f.localalias":                         "f",
		"memcpy@@GLIBC_2.14":                   "memcpy",
		"malloc@plt":                           "malloc@plt",
		"_ZN3fooC2Ev.part.0":                   "_ZN3fooC2Ev",
		"nested.0":                             "nested.0",
		"part.0":                               "part.0",
		".part.0":                              ".part.0",
		"spare.part":                           "spare",
		"x.":                                   "x.",
		"@":                                    "@",
		"":                                     "",
		"locking_unwind.lto_priv.1.lto_priv.0": "locking_unwind",
	}
	for symbol, want := range tests {
		if got := baseName(symbol); got != want {
			t.Errorf("baseName(%q) = %q, want %q", symbol, got, want)
		}
	}
}

// symbolAddress returns the address of a function in .symtab.
func symbolAddress(t testing.TB, m *Module, name string) uint64 {
	t.Helper()
	for _, s := range m.symbols.symbols {
		if s.name == name {
			return s.value
		}
	}
	t.Fatalf("no symbol %s", name)
	return 0
}

func TestAssembledSymbols(t *testing.T) {
	m := open(t, build(t, "gcc", "-O2 -fPIE -pie"))
	assembled, unsized := symbolAddress(t, m, "assembled"), symbolAddress(t, m, "unsized")
	untyped := symbolAddress(t, m, "untyped")
	tests := []struct {
		vaddr    uint64
		function string
		source   Source
	}{
		{assembled, "assembled", SourceSymbol},
		{unsized - 1, "assembled", SourceSymbol},
		{unsized, "unsized", SourceSymbol},
		{unsized + 1, "", SourceAddress}, // its extent is unknown
		{untyped, "untyped", SourceSymbol},
		{untyped + 1, "untyped", SourceSymbol},
	}
	for _, test := range tests {
		f := m.Frames(test.vaddr, false)[0]
		if f.Source != test.source || test.function != "" && f.Function != test.function {
			t.Errorf("Frames(%#x) = %+v, want %s by %v", test.vaddr, f, test.function, test.source)
		}
	}
}

// TestStrippedLibrary checks that no function takes the name of an exported
// neighbour.
func TestStrippedLibrary(t *testing.T) {
	dir := t.TempDir()
	source := `
__attribute__((visibility("default"))) int first(int n) { return n + 1; }
__attribute__((noinline, used)) static int hidden(int n) { return n * 3; }
__attribute__((visibility("default"))) int second(int n) { return n + 2; }
`
	if err := os.WriteFile(filepath.Join(dir, "lib.c"), []byte(source), 0o644); err != nil {
		t.Fatal(err)
	}
	run(t, dir, "gcc", "", "gcc", "-shared", "-fPIC", "-fno-toplevel-reorder", "-O1", "lib.c", "-o", "lib.so")
	run(t, dir, "binutils", "", "strip", "-o", "stripped.so", "lib.so")
	lib, stripped := open(t, filepath.Join(dir, "lib.so")), open(t, filepath.Join(dir, "stripped.so"))
	if stripped.HasSymbols() || stripped.HasDWARF() || stripped.HasLines() {
		t.Fatal("the stripped library is not stripped")
	}
	for _, name := range []string{"first", "second"} {
		f := stripped.Frames(symbolAddress(t, lib, name), false)[0]
		if f.Function != name || f.Source != SourceDynamic {
			t.Errorf("frame of %s: %+v", name, f)
		}
	}
	f := stripped.Frames(symbolAddress(t, lib, "hidden"), false)[0]
	if f.Source != SourceAddress || !strings.HasPrefix(f.Function, "prog+0x") {
		t.Errorf("frame of hidden: %+v, want an address", f)
	}

	hidden := symbolAddress(t, lib, "hidden")
	stripped.UseFound([]Found{{"found", hidden, 3}, {"not first", symbolAddress(t, lib, "first"), 4}})
	for _, c := range []struct {
		vaddr    uint64
		function string
		source   Source
	}{
		{hidden, "found", SourceFound},
		{hidden + 2, "found", SourceFound},
		{hidden + 3, fmt.Sprintf("prog+%#x", hidden+3), SourceAddress},
		{symbolAddress(t, lib, "first"), "first", SourceDynamic},
	} {
		if f := stripped.Frames(c.vaddr, false)[0]; f.Function != c.function || f.Source != c.source {
			t.Errorf("frame at %#x: %+v, want %s by %v", c.vaddr, f, c.function, c.source)
		}
	}
}

func TestPLT(t *testing.T) {
	for _, flags := range []string{
		"-O2 -fPIE -pie -fcf-protection=none",
		"-O2 -fPIE -pie -fcf-protection=full -Wl,-z,ibtplt",
		"-O2 -fno-pie -no-pie",
	} {
		path := build(t, "gcc", flags)
		m := open(t, path)
		// objdump labels the stubs: "0000000000001030 <malloc@plt>:"
		out := run(t, "", "binutils", "", "objdump", "-d", path)
		found := 0
		for line := range bytes.Lines(out) {
			addr, name, ok := strings.Cut(strings.TrimSpace(string(line)), " <")
			name = strings.TrimSuffix(name, ">:")
			if !ok || !strings.HasSuffix(name, "@plt") || strings.Contains(addr, ":") {
				continue
			}
			found++
			f := m.Frames(parseHex(t, addr), false)[0]
			if f.Function != name || f.Source != SourcePLT {
				t.Errorf("%s: frame of %s: %+v", flags, name, f)
			}
		}
		if found < 3 {
			t.Errorf("%s: objdump labels %d stubs, want malloc, exit and qsort", flags, found)
		}
	}
}

func TestAliases(t *testing.T) {
	const path = "/lib/x86_64-linux-gnu/libc.so.6"
	m := open(t, path)
	for _, s := range m.dynamic.symbols {
		if s.name == "malloc" {
			// Also __libc_malloc.
			if f := m.Frames(s.value, false)[0]; f.Function != "malloc" {
				t.Errorf("frame of malloc: %+v", f)
			}
			return
		}
	}
	t.Errorf("no malloc in .dynsym of %s", path)
}
