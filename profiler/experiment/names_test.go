// SPDX-License-Identifier: Apache-2.0

package experiment

import (
	"strings"
	"testing"

	"leakprof/profiler/attribution"
	"leakprof/profiler/report"
)

func TestNamesHint(t *testing.T) {
	for _, c := range []struct {
		name    string
		module  attribution.Module
		symbols string
		hint    string // begins so; "" is none
	}{
		{"DWARF", attribution.Module{HasSymbols: true, HasLines: true, HasInlines: true}, "dwarf", ""},
		{"debug file", attribution.Module{HasSymbols: true, HasLines: true, HasInlines: true, DebugFile: "/d"}, "dwarf", "bird is stripped; they are from its debug file /d"},
		{"without a part", attribution.Module{HasLines: true, HasInlines: true, Unread: "some are missing"}, "dwarf", "some are missing"},
		{"symbols", attribution.Module{HasSymbols: true}, "symtab", "bird has no debug information: "},
		{"split", attribution.Module{HasSymbols: true, HasLines: true, Unread: "functions are in .dwo"}, "symtab", "inlined functions of bird are missing; functions are in .dwo"},
		{"stripped", attribution.Module{ToldFiles: true, BuildID: "ab"}, "none", "bird is stripped: allocators, protocols' hooks and most source files are told by its code, other names are file and offset; for names, build it with symbols, or fetch its debug file, which is then found: debuginfod-find debuginfo ab (it asks the servers in DEBUGINFOD_URLS)"},
		{"optimised", attribution.Module{Mixed: "2 of 9 functions name several"}, "none", "bird is stripped: allocators and protocols' hooks are told by its code, other names are file and offset; source files are not told, for it was built with link-time optimisation (2 of 9 functions name several)"},
		{"no BIRD", attribution.Module{}, "none", "bird is stripped: but for allocators, frames are file and offset"},
	} {
		phases := []report.Phase{{Heap: &attribution.Heap{Modules: []attribution.Module{c.module}}}}
		symbols, hint := names(phases, "bird")
		if symbols != c.symbols || !strings.HasPrefix(hint, c.hint) || c.hint == "" && hint != "" {
			t.Errorf("%s: %s, %q, want %s, %q", c.name, symbols, hint, c.symbols, c.hint)
		}
	}
	if symbols, hint := names(nil, "bird"); symbols != "none" || hint != "" {
		t.Errorf("of nothing: %s, %q", symbols, hint)
	}
}
