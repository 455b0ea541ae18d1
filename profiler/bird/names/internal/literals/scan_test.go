// SPDX-License-Identifier: Apache-2.0

package main

import (
	"maps"
	"slices"
	"testing"
)

func newMacros(source string) *macros {
	m := &macros{text: make(map[string]string), around: make(map[string][]template)}
	m.add(source)
	return m
}

func TestLiterals(t *testing.T) {
	const header = `
#define L_ERR "\006"	/* as in BIRD */
#define TRACE(msg, args...) \
	log(L_ERR "%s: " msg, p->name , ## args )
#define TWICE(x) one(x "!"); two(x)
#define NUMBER 5
`
	for _, c := range []struct {
		name, source string
		want         []string
	}{
		{"plain", `f("one", 'x', "two");`, []string{"one", "two"}},
		{"adjacent", "f(\"one\"\n\t\"two\");", []string{"onetwo"}},
		{"text of a macro", `log(L_ERR "bad");`, []string{"\006bad"}},
		{"around an argument", `TRACE("down %d", f("x"));`, []string{"down %d", "\006%s: down %d", "x", "\006%s: x"}},
		{"behind an argument", `TWICE("a");`, []string{"a", "a!"}},
		{"after the call", `TWICE(1); f("a");`, []string{"a"}},
		{"escapes", `f("\t\"\\\x41\101\0");`, []string{"\t\"\\AA\x00"}},
		{"in comments", "// \"one\"\n/* \"two\" */ f(\"three\"); char c = '\"'; f(\"four\");", []string{"three", "four"}},
		{"a comment in a literal", `f("a // b /* c");`, []string{"a // b /* c"}},
		{"in own macros", "#define X \"one\" \\\n  \"two\"\n#if 0 // \"no\"\n#endif\n", []string{"onetwo"}},
		{"cut short", `f("one`, []string{"on"}},
		{"nothing", "", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := newMacros(header).literals(c.source)
			slices.Sort(got)
			slices.Sort(c.want)
			if !slices.Equal(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// TestMerge: a literal tells its file only if no other source has it, in any
// release.
func TestMerge(t *testing.T) {
	of := make(map[string]string)
	merge(of, map[string]string{
		"lib/a.c":         `f("only here", "in both", "also in a header", "moves", "in the language", "tested");`,
		"lib/b.c":         `f("in both");`,
		"lib/h.h":         `inline g() { f("also in a header"); }`,
		"filter/f-inst.c": `f("in the language", "in the language alone");`,
		"lib/a_test.c":    `f("tested");`,
		"conf/cf-lex.l":   `f("scanned");`,
	})
	merge(of, map[string]string{"lib/a.c": `f("only here", "later");`, "nest/a.c": `f("moves");`})
	told := maps.Clone(of)
	maps.DeleteFunc(told, func(_, file string) bool { return file == "" })
	want := map[string]string{"only here": "lib/a.c", "later": "lib/a.c", "scanned": "conf/cf-lex.l"}
	if !maps.Equal(told, want) {
		t.Errorf("got %v, want %v", told, want)
	}
}

// FuzzLiterals: whatever the source, it is read to its end.
func FuzzLiterals(f *testing.F) {
	f.Add("#define A(x) f(\"a\" x)\nA(\"b\\x4\\18\")")
	f.Add("'\\")
	f.Add("/*")
	f.Add("#define A(")
	f.Fuzz(func(t *testing.T, source string) { newMacros(source).literals(source) })
}
