// SPDX-License-Identifier: Apache-2.0

package unwind

import (
	"debug/elf"
	"testing"
)

// BenchmarkNewTable reads libc's table, sections included. The aim is under
// 15 ms for libc, under 3 ms for a BIRD (a quarter of libc's .eh_frame).
func BenchmarkNewTable(b *testing.B) {
	f, err := elf.Open(libDir + "libc.so.6")
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	b.ReportAllocs()
	for b.Loop() {
		t, err := NewTable(f)
		if err != nil {
			b.Fatal(err)
		}
		b.SetBytes(int64(t.Stats.Bytes))
		b.ReportMetric(float64(len(t.Rows)), "rows")
	}
}

// BenchmarkLookup finds one pc in libc's table.
func BenchmarkLookup(b *testing.B) {
	f, err := elf.Open(libDir + "libc.so.6")
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	t, err := NewTable(f)
	if err != nil {
		b.Fatal(err)
	}
	pc := uint64(0)
	for b.Loop() {
		pc = (pc + 7919*16) % uint64(t.Rows[len(t.Rows)-1].PC)
		t.Lookup(pc)
	}
}
