// SPDX-License-Identifier: Apache-2.0

package unwind

import (
	"bytes"
	"debug/elf"
	"math"
	"os"
	"testing"
)

// checkTable fails t unless table keeps what Table promises.
func checkTable(t *testing.T, table *Table) {
	t.Helper()
	if len(table.Rules) == 0 || table.Rules[0] != (Rule{}) {
		t.Fatalf("rule 0 is %v", table.Rules)
	}
	seen := map[Rule]bool{}
	for i, r := range table.Rules {
		if seen[r] {
			t.Errorf("rule %d, %v, is there twice", i, r)
		}
		seen[r] = true
		switch r.CFA {
		case CFARegister, CFADeref, CFAPLT:
			if r.Reg > 15 || r.RAReg > 15 || r.CFA == CFAPLT && (r.Add < 0 || r.Add > 31) {
				t.Errorf("rule %d, %+v, has a value out of range", i, r)
			}
		default:
			if r != (Rule{CFA: r.CFA}) {
				t.Errorf("rule %d, %+v, has fields without a meaning", i, r)
			}
		}
		for _, s := range r.Saved {
			if s.Kind > SavedLost || s.Kind == SavedRegister && (s.Off < 0 || s.Off > 15) ||
				s.Off != 0 && (s.Kind == SavedSame || s.Kind == SavedLost) {
				t.Errorf("rule %d, %+v, has a value out of range", i, r)
			}
		}
	}
	if len(table.Rows) == 0 {
		t.Fatal("no rows")
	}
	for i, r := range table.Rows {
		if int(r.Rule) >= len(table.Rules) {
			t.Fatalf("row %d has rule %d of %d", i, r.Rule, len(table.Rules))
		}
		if i > 0 && (r.PC <= table.Rows[i-1].PC || r.Rule == table.Rows[i-1].Rule) {
			t.Fatalf("rows %d and %d are not sorted, or not merged: %+v %+v", i-1, i, table.Rows[i-1], r)
		}
		if got := table.Lookup(uint64(r.PC)); got != table.Rules[r.Rule] {
			t.Fatalf("lookup of row %d: %v, want %v", i, got, table.Rules[r.Rule])
		}
	}
	if got := table.Lookup(math.MaxUint32 + 1); got != (Rule{}) {
		t.Errorf("%v at 4 GiB", got)
	}
}

// fixtures are files that gcc and clang make: small, and with every way to hold
// CFI.
func fixtures(t testing.TB) (paths []string) {
	for _, args := range [][]string{
		{"gcc", "cfi.S", "-s", "-shared", "-nostdlib"},
		{"gcc", "start.S", "-nostdlib"},
		{"gcc", "frames.c", "-s", "-O2", "-mstackrealign"},
		{"clang", "frames.c", "-s", "-O2"},
		{"gcc", "frames.c", "-O1", "-g", "-shared", "-fPIC", "-nostartfiles", "-fno-asynchronous-unwind-tables",
			"-fno-exceptions", "-Wl,--no-ld-generated-unwind-info"},
	} {
		paths = append(paths, compile(t, args[0], args[1], args[2:]...))
	}
	return paths
}

// FuzzNewTable takes ELF files.
func FuzzNewTable(f *testing.F) {
	for _, path := range fixtures(f) {
		data, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
		bare := bytes.Clone(data)
		clear(bare[0x28:0x30]) // e_shoff
		clear(bare[0x3c:0x40]) // e_shnum, e_shstrndx
		f.Add(bare)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := elf.NewFile(bytes.NewReader(data))
		if err != nil {
			return
		}
		table, err := NewTable(file)
		if err != nil {
			return
		}
		checkTable(t, table)
	})
}

// FuzzFrames takes the contents of .eh_frame or .debug_frame and its address.
func FuzzFrames(f *testing.F) {
	for _, path := range append(fixtures(f), libDir+"libgcc_s.so.1") {
		file, err := elf.Open(path)
		if err != nil {
			f.Fatal(err)
		}
		defer file.Close()
		sections, err := newImage(file).frameSections()
		if err != nil {
			f.Fatal(err)
		}
		for _, s := range sections {
			f.Add(s.data, s.addr, s.eh)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte, addr uint64, eh bool) {
		s := &frameSection{name: "fuzz", data: data, addr: addr, eh: eh}
		table, err := build(anyImage(), []*frameSection{s}, defaultLimits)
		if err != nil {
			return
		}
		checkTable(t, table)
	})
}
