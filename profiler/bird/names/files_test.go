// SPDX-License-Identifier: Apache-2.0

package names

import (
	"strings"
	"testing"

	"leakprof/profiler/bird/names/internal/hash"
	"leakprof/profiler/bird/structure"
)

// parseMarks reads a sequence of functions: "A" names its file, "a" has a
// literal of the same one, "h:A" is a hook, "2" names two files, "." tells
// nothing.
func parseMarks(s string) (marks []mark) {
	for _, w := range strings.Fields(s) {
		switch {
		case w == ".":
			marks = append(marks, mark{})
		case w == "2":
			marks = append(marks, mark{names: 2})
		case strings.HasPrefix(w, "h:"):
			marks = append(marks, mark{file: w[2:], source: ByTable})
		case w == strings.ToUpper(w):
			marks = append(marks, mark{file: w, source: ByFileName, names: 1})
		default:
			marks = append(marks, mark{file: strings.ToUpper(w), source: ByLiteral})
		}
	}
	return marks
}

func TestSettleAndFill(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"between two of a file", ". A . . A .", ". A A A A ."},
		{"between two files", "A . B", "A . B"},
		{"literals alone", "a . a b . b", "A A A B B B"},
		{"a hook ends a row", "A . h:A . B", "A A A . B"},
		{"a literal within another file", "A . b . A", "A A A A A"},
		{"a literal within literals", "a a b a a", "A A A A A"},
		{"the smaller row of a file", "a a . B . a . C", "A A . B . . . C"},
		{"a row where the file's name is", "A A . b . A", "A A A A A A"},
		{"a row behind the file's name", "a . B B A", ". . B B A"},
		{"within, then one row", "A b b . c B", "A B B B B B"},
		{"two in turn", "a b a b a C", "A A A A A C"},
		{"names stay", "A B A", "A B A"},
		{"nothing", ". . .", ". . ."},
		{"empty", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			marks := parseMarks(c.in)
			settle(marks)
			fill(marks)
			var got []string
			for _, m := range marks {
				if m.file == "" {
					m.file = "."
				}
				got = append(got, m.file)
			}
			if s := strings.Join(got, " "); s != c.want {
				t.Errorf("%s becomes %s, want %s", c.in, s, c.want)
			}
		})
	}
}

func TestMixed(t *testing.T) {
	rows := strings.Repeat("A ", 60) + ". " + strings.Repeat("B ", 60)
	for _, c := range []struct {
		name, in string
		want     bool
	}{
		{"together", rows, false},
		{"one of a hundred names two", rows + "2", false},
		{"one of fifty does", rows + "2 2 2", true},
		{"scattered", "A B A B A B A B", true},
		{"literals may be", "a b a b a b", false},
		{"nothing", "", false},
	} {
		if got := mixed(parseMarks(c.in)); (got != "") != c.want {
			t.Errorf("%s: %q, want mixed: %v", c.name, got, c.want)
		}
	}
}

func TestMarkOf(t *testing.T) {
	literals := literalTable{hash.Of("only in rip"): "proto/rip/rip.c", hash.Of("only in bfd"): "proto/bfd/bfd.c", hash.Of("rip"): "proto/rip/rip.c"}
	for _, c := range []struct {
		name  string
		texts []string
		want  mark
	}{
		{"nothing", nil, mark{}},
		{"a file's name", []string{"x", "nest/proto.c", "nest/proto.c"}, mark{"nest/proto.c", ByFileName, 1}},
		{"a name goes before a literal", []string{"only in rip", "nest/proto.c"}, mark{"nest/proto.c", ByFileName, 1}},
		{"two files' names", []string{"nest/proto.c", "lib/lists.c", "only in rip"}, mark{names: 2}},
		{"the interpreter", []string{"filter/f-inst.c", "filter/filter.c"}, mark{"filter/filter.c", ByFileName, 1}},
		{"an instruction", []string{"filter/f-inst.c"}, mark{"filter/f-inst.c", ByFileName, 1}},
		{"a header's name", []string{"lib/lists.h"}, mark{}},
		{"a file elsewhere", []string{"/etc/bird/nest/proto.c", "nest/../proto.c", "proto.c"}, mark{}},
		{"a literal", []string{"unknown", "only in rip"}, mark{"proto/rip/rip.c", ByLiteral, 0}},
		{"literals of two files", []string{"only in rip", "only in bfd"}, mark{}},
		{"literals of two files, one twice", []string{"only in rip", "only in bfd", "only in bfd"}, mark{}},
		{"a short literal", []string{"rip"}, mark{}},
	} {
		if got := markOf(c.texts, literals); got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
}

// TestSharedHook: a function that two tables have is not named.
func TestSharedHook(t *testing.T) {
	got := hooks([]structure.Protocol{
		{Name: "RIP", Hooks: map[string]uint64{"init": 16, "dump": 32}},
		{Name: "BGP", Hooks: map[string]uint64{"init": 48, "dump": 32, "get_attr": 64}},
		{Name: "Unheard", Hooks: map[string]uint64{"init": 80}},
	})
	want := map[uint64]hook{16: {"rip_init", "proto/rip/rip.c"}, 48: {"bgp_init", "proto/bgp/bgp.c"}, 64: {"bgp_get_attr", "proto/bgp/attrs.c"}}
	if len(got) != len(want) {
		t.Errorf("%d hooks, want %d", len(got), len(want))
	}
	for at, h := range want {
		if got[at] != h {
			t.Errorf("at %d is %+v, want %+v", at, got[at], h)
		}
	}
}
