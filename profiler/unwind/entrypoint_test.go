// SPDX-License-Identifier: Apache-2.0

package unwind

import (
	"debug/elf"
	"testing"
)

// TestEntryPoint compiles entry points that lack an end of the stack. _start has
// 8 bytes, its symbol says.
func TestEntryPoint(t *testing.T) {
	const function = "rsp+8 ra=c-8"
	for _, tt := range []struct {
		name  string
		flags []string
		size  uint64 // of the range made CFAEnd, 0: none
		next  string // rule behind it
	}{
		{"symbol", nil, 8, "undefined"},
		{"static PIE", []string{"-static-pie"}, 8, "undefined"},
		{"stripped", []string{"-s"}, entrySize, "undefined"},
		{"stripped and short", []string{"-s", "-DGAP=32"}, 32, function},
		{"FDE", []string{"-s", "-DCFI"}, 8, "undefined"},
		{"FDE in static PIE", []string{"-s", "-DCFI", "-static-pie"}, 8, "undefined"},
		{"library", []string{"-s", "-shared", "-Wl,-e,_start"}, 8, "undefined"},
		{"FDE in library", []string{"-s", "-DCFI", "-shared", "-Wl,-e,_start"}, 0, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			path := compile(t, "gcc", "start.S", append([]string{"-nostdlib", "-Wl,-z,noexecstack"}, tt.flags...)...)
			f, err := elf.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			table, err := NewTable(f)
			if err != nil {
				t.Fatal(err)
			}
			entry := table.Stats.Entry
			if tt.size == 0 {
				if got := table.Lookup(f.Entry); entry.Hi != 0 || got.String() != function {
					t.Errorf("%v at a library's entry point, %+v", got, entry)
				}
				return
			}
			if entry.Lo != f.Entry || entry.Hi != f.Entry+tt.size {
				t.Errorf("entry point is %#x..%#x, want %#x and %d bytes", entry.Lo, entry.Hi, f.Entry, tt.size)
			}
			for _, at := range []struct {
				pc   uint64
				want string
			}{{f.Entry, "end"}, {f.Entry + tt.size - 1, "end"}, {f.Entry + tt.size, tt.next}} {
				if got := table.Lookup(at.pc); got.String() != at.want {
					t.Errorf("entry+%d: got %v, want %s", at.pc-f.Entry, got, at.want)
				}
			}
			compareWithReadelf(t, path)
		})
	}
}

// TestEntryPointMarked has nothing to add to: crt1.o's _start ends the stack.
func TestEntryPointMarked(t *testing.T) {
	for _, path := range []string{"/bin/bash", compile(t, "gcc", "frames.c", "-no-pie")} {
		table := open(t, path)
		if table.Stats.Entry.Hi != 0 {
			t.Errorf("%s: added %+v", path, table.Stats.Entry)
		}
	}
}
