// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"strings"
	"testing"
	"unsafe"

	"leakprof/profiler/unwind"
)

// TestLayouts compares the Go types with the assertions at the end of abi.h.
func TestLayouts(t *testing.T) {
	var stack liveStack
	var areas liveUnwindAreas
	var block liveBlock
	var rule liveUnwindRule
	for _, c := range []struct {
		what      string
		got, want uintptr
	}{
		{"sizeof unwind_row", unsafe.Sizeof(liveUnwindRow{}), 8},
		{"sizeof unwind_rule", unsafe.Sizeof(rule), 32},
		{"unwind_rule.off", unsafe.Offsetof(rule.Off), 4},
		{"unwind_rule.add", unsafe.Offsetof(rule.Add), 8},
		{"unwind_rule.ra_off", unsafe.Offsetof(rule.RaOff), 12},
		{"unwind_rule.saved", unsafe.Offsetof(rule.Saved), 14},
		{"unwind_rule.saved_kind", unsafe.Offsetof(rule.SavedKind), 26},
		{"sizeof unwind_area", unsafe.Sizeof(areas.Area[0]), 32},
		{"sizeof unwind_areas", unsafe.Sizeof(areas), 8 + 32*256},
		{"unwind_areas.area", unsafe.Offsetof(areas.Area), 8},
		{"sizeof block", unsafe.Sizeof(block), 24},
		{"block.stack", unsafe.Offsetof(block.Stack), 8},
		{"block.mark", unsafe.Offsetof(block.Mark), 12},
		{"block.function", unsafe.Offsetof(block.Function), 14},
		{"block.mb", unsafe.Offsetof(block.Mb), 15},
		{"block.slots", unsafe.Offsetof(block.Slots), 16},
		{"sizeof slots_head", unsafe.Sizeof(liveSlotsHead{}), 16},
		{"block.table", unsafe.Offsetof(block.Table), 20},
		{"sizeof slab_layout", unsafe.Sizeof(SlabLayout{}), 24},
		{"sizeof linpool_object", unsafe.Sizeof(LinpoolObject{}), 24},
		{"sizeof stack", unsafe.Sizeof(stack), 8 + 32 + 8*uintptr(MaxFrames)},
		{"stack.number", unsafe.Offsetof(stack.Number), 0},
		{"stack.frames", unsafe.Offsetof(stack.Frames), 4},
		{"stack.end", unsafe.Offsetof(stack.End), 6},
		{"stack.exact", unsafe.Offsetof(stack.Exact), 8},
		{"stack.pc", unsafe.Offsetof(stack.Pc), 8 + 32},
		{"sizeof stack_account", unsafe.Sizeof(StackAccount{}), 16},
		{"callee-saved registers", uintptr(len(rule.Saved)), uintptr(len(unwind.CalleeSaved))},
	} {
		if c.got != c.want {
			t.Errorf("%s is %d, want %d", c.what, c.got, c.want)
		}
	}
	if MaxFrames < 128 {
		t.Errorf("stacks of %d frames, want at least 128", MaxFrames)
	}
}

// TestNames: every value that the programs can send has a name of its own.
func TestNames(t *testing.T) {
	check := func(kind string, n int, name func(int) string) {
		seen := make(map[string]int)
		for i := range n {
			s := name(i)
			if s == "" || strings.Contains(s, "unknown ") {
				t.Errorf("%s %d is named %q", kind, i, s)
			}
			if j, dup := seen[s]; dup {
				t.Errorf("%s %d and %d are both named %q", kind, i, j, s)
			}
			seen[s] = i
		}
		if s := name(n); !strings.HasPrefix(s, "unknown ") {
			t.Errorf("%s %d, which is none, is named %q", kind, n, s)
		}
	}
	check("stack end", StackEnds, func(i int) string { return StackEnd(i).String() })
	check("counter", len(Counters{}), func(i int) string { return Counter(i).String() })
	check("function", int(liveFunctionFUNCTION_COUNT)-1, func(i int) string { return Function(i + 1).String() })
	if s := FunctionNone.String(); s != "" {
		t.Errorf("no function is named %q", s)
	}
}

func TestInBytes(t *testing.T) {
	for i := range (Counters{}) {
		c := Counter(i)
		want := map[Counter]bool{
			AllocatedBytes: true, FreedBytes: true, MissedFreeBytes: true, LiveFullBytes: true, NotAcceptedBytes: true,
			LiveNoMemoryBytes: true, ReturnLostBytes: true,
		}[c]
		if c.InBytes() != want {
			t.Errorf("%s in bytes: %v, want %v", c, c.InBytes(), want)
		}
	}
}
