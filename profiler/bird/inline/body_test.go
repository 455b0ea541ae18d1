// SPDX-License-Identifier: Apache-2.0

package inline

import (
	"slices"
	"strings"
	"testing"
)

func TestSplitSuffixes(t *testing.T) {
	tests := []struct {
		rest string
		want string // joined by spaces; "no" if it is not of a compiler
	}{
		{"", ""},
		{"lto_priv.0", "lto_priv.0"},
		{"part.0", "part.0"},
		{"part.0.lto_priv.12", "part.0 lto_priv.12"},
		{"constprop.0.isra.1", "constprop.0 isra.1"},
		{"cold", "cold"},
		{"part.0.cold", "part.0 cold"},
		{"cold.1", "cold.1"},
		{"lto_priv.1.cold", "lto_priv.1 cold"},
		{"localalias", "localalias"},
		{"llvm.1234567890", "llvm.1234567890"},
		{"__uniq.123.llvm.4", "__uniq.123 llvm.4"},
		{"17", ".17"},
		{"part", "no"},
		{"part.x", "no"},
		{"other.0", "no"},
		{"cold.x", "no"},
		{".", "no"},
		{"0.", "no"},
	}
	for _, test := range tests {
		suffixes, ok := splitSuffixes(test.rest)
		got := strings.Join(suffixes, " ")
		if !ok {
			got = "no"
		}
		if got != test.want {
			t.Errorf("%q: %q, want %q", test.rest, got, test.want)
		}
	}
}

func TestHas(t *testing.T) {
	b := Body{Suffixes: []string{"part.0", "cold", ".17"}}
	for suffix, want := range map[Suffix]bool{Part: true, Cold: true, Number: true, LTOPrivate: false, ISRA: false} {
		if b.Has(suffix) != want {
			t.Errorf("Has(%q) is %v", suffix, !want)
		}
	}
}

// TestOutOfLine links two static functions of one name, so that LTO renames
// them, and one that gcc splits.
func TestOutOfLine(t *testing.T) {
	f := open(t, build(t, "gcc", "-g -O3 -flto -flto-partition=max"))
	found := OutOfLine(f, "split", "twice", "main", "absent")
	if len(found["absent"]) > 0 || len(found["main"]) != 1 || len(found["main"][0].Suffixes) > 0 {
		t.Errorf("%+v", found)
	}
	twice := found["twice"]
	if len(twice) < 2 || !slices.ContainsFunc(twice, func(b Body) bool { return b.Has(LTOPrivate) }) {
		t.Errorf("twice: %+v", twice)
	}
	for _, b := range twice {
		if b.Address == 0 || b.Size == 0 || !strings.HasPrefix(b.Symbol, "twice") {
			t.Errorf("%+v", b)
		}
	}
}
