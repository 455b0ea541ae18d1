// SPDX-License-Identifier: Apache-2.0

package attribution

import (
	"slices"
	"sort"

	"leakprof/profiler/bird/names"
	"leakprof/profiler/plan"
	"leakprof/profiler/symbol"
)

// useStructure gives a BIRD that has neither symbols nor debug information the
// names and source files that its structure tells. allocators are known already.
func (m *module) useStructure(allocators []plan.Function) {
	found := byStructure(allocators)
	if !m.symbols.HasSymbols() && !m.symbols.HasLines() {
		// Where nothing can be told there are addresses still.
		if n, err := names.Find(m.Reader); err == nil {
			m.functions, m.mixed = n.Functions, n.Mixed
		}
	}
	for _, f := range m.functions {
		if f.Name != "" {
			found = append(found, symbol.Found{Name: f.Name, Address: f.Address, Size: f.Size})
		}
	}
	m.symbols.UseFound(found)
}

// toldFiles says whether source files are told, and not protocols' hooks alone.
func (m *module) toldFiles() bool {
	return slices.ContainsFunc(m.functions, func(f names.Function) bool { return f.Source != names.ByTable })
}

// frames returns the functions at an ELF virtual address as symbol.Module.Frames
// does, with the source file where structure alone tells it: a path in BIRD's
// sources.
func (m *module) frames(vaddr uint64, isReturn bool) []symbol.Frame {
	frames := m.symbols.Frames(vaddr, isReturn)
	last := len(frames) - 1 // the function that owns the code
	if frames[last].File != "" {
		return frames
	}
	pc := vaddr
	if isReturn {
		pc--
	}
	i := sort.Search(len(m.functions), func(i int) bool { return m.functions[i].Address > pc }) - 1
	if i < 0 || pc-m.functions[i].Address >= m.functions[i].Size || m.functions[i].File == "" {
		return frames
	}
	frames = slices.Clone(frames)
	frames[last].File = m.functions[i].File
	return frames
}
