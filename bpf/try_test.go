// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"strings"
	"testing"

	"leakprof/profiler/plan"
	"leakprof/profiler/plan/prologue"
)

// TestJudge: whatever is not as it has to be speaks against a site.
func TestJudge(t *testing.T) {
	const back = 0x1234
	args := tryArguments()
	site := plan.Site{Return: true, Depth: 8, Arguments: []plan.Argument{{Number: 2, Bits: 64}, {Number: 0, Bits: 32}}}
	right := trySeen{Entered: tryCalls, Returned: tryCalls, Argument: [2]uint64{args[2], args[0] | 1<<63}, Top: back}
	for _, c := range []struct {
		name   string
		change func(*trySeen, *uint64)
		want   string
	}{
		{"right", func(*trySeen, *uint64) {}, ""},
		{"passed too often", func(s *trySeen, _ *uint64) { s.Entered++ }, "calls were seen"},
		{"never passed", func(s *trySeen, _ *uint64) { s.Entered = 0 }, "calls were seen"},
		{"no return", func(s *trySeen, _ *uint64) { s.Returned = 0 }, "returns were seen"},
		{"registers", func(_ *trySeen, broken *uint64) { *broken = 1 }, "not preserved"},
		{"return address", func(s *trySeen, _ *uint64) { s.Top++ }, "rsp was not 8 bytes"},
		{"return address unreadable", func(s *trySeen, _ *uint64) { s.Unreadable = 1 }, "rsp was not 8 bytes"},
		{"third argument", func(s *trySeen, _ *uint64) { s.Argument[0] |= 1 << 63 }, "argument 3 was seen"},
		{"first argument", func(s *trySeen, _ *uint64) { s.Argument[1]++ }, "argument 1 was seen"},
	} {
		seen, broken := right, uint64(0)
		c.change(&seen, &broken)
		err := judge(site, seen, broken, back)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

// TestEntryCookie: what does not fit into a cookie is an error, and what is where
// the calling convention has it takes no room.
func TestEntryCookie(t *testing.T) {
	at := func(number int, v prologue.Value) plan.Argument {
		return plan.Argument{Number: number, Bits: 64, Value: v}
	}
	rdi, rbx := prologue.Value{Register: prologue.RDI}, prologue.Value{Register: prologue.RBX}
	for _, c := range []struct {
		name string
		site plan.Site
		want uint64
		err  string
	}{
		{"as at the entry", plan.Site{Arguments: []plan.Argument{at(0, rdi)}}, 7, ""},
		{"deeper", plan.Site{Depth: 24}, 7 | 3<<8, ""},
		{"first in rbx", plan.Site{Arguments: []plan.Argument{at(0, rbx)}}, 7 | (1|3<<2)<<16, ""},
		{"second in rdi", plan.Site{Arguments: []plan.Argument{at(0, rdi), at(1, rdi)}}, 7 | (1|7<<2)<<40, ""},
		{"below", plan.Site{Arguments: []plan.Argument{at(0, prologue.Value{Register: prologue.RSP, Offset: -8, Load: true})}}, 7 | (1|1<<1|4<<2|0xfff8<<8)<<16, ""},
		{"too deep", plan.Site{Depth: 2048}, 0, "2048 bytes"},
		{"between words", plan.Site{Depth: 12}, 0, "12 bytes"},
		{"above", plan.Site{Depth: -8}, 0, "-8 bytes"},
		{"too many", plan.Site{Arguments: make([]plan.Argument, 3)}, 0, "3 arguments"},
		{"no such register", plan.Site{Arguments: []plan.Argument{at(0, prologue.Value{Register: 16})}}, 0, "register 16"},
		{"too far", plan.Site{Arguments: []plan.Argument{at(0, prologue.Value{Offset: prologue.MaxOffset + 1})}}, 0, "rax+16384"},
	} {
		got, err := entryCookie(7, c.site)
		if got != c.want || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: 0x%x, %v; want 0x%x, %q", c.name, got, err, c.want, c.err)
		}
	}
}
