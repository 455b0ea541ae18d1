// SPDX-License-Identifier: Apache-2.0

package report

import (
	"path/filepath"
	"strings"

	"leakprof/profiler/symbol"
)

// nameSources counts the functions in stacks by where their names are from, ""
// if that is not known. Stacks share most of their outer functions, so that each
// place in the code counts once.
func nameSources(stacks []DocumentStack) string {
	type place struct{ module, address, function string }
	seen := make(map[place]bool)
	counts := make(map[string]int)
	for i := range stacks {
		for _, f := range stacks[i].Frames {
			if p := (place{f.Module, f.Address, f.Function}); f.Source != "" && !seen[p] {
				seen[p] = true
				counts[f.Source]++
			}
		}
	}
	if len(seen) == 0 {
		return ""
	}
	var parts []string
	for _, source := range symbol.Origins {
		if n := counts[source]; n > 0 {
			parts = append(parts, number(n)+" "+source)
		}
	}
	return plural(len(seen), "frame") + ", by source of the name: " + strings.Join(parts, ", ")
}

// guessed marks what no symbol tells, in brackets: a reader may want to look
// twice. That a frame is an address its name says.
func (f *DocumentFrame) guessed() string {
	switch f.Source {
	case symbol.OriginStructure, symbol.OriginFileOnly:
		return "(" + f.Source + ")"
	}
	return ""
}

// label is the function, and with a name that says nothing the source file:
// "bird+0x6990f (bmp.c)".
func (f *DocumentFrame) label() string {
	if f.Source == symbol.OriginFileOnly {
		return f.Function + " (" + filepath.Base(f.File) + ")"
	}
	return f.Function
}
