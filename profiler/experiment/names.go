// SPDX-License-Identifier: Apache-2.0

package experiment

import (
	"fmt"

	"leakprof/profiler/attribution"
	"leakprof/profiler/report"
)

// names says where the program's names come from, and how better ones could be
// had. program is its base name.
func names(phases []report.Phase, program string) (symbols, hint string) {
	h := lastHeap(phases)
	if h == nil || len(h.Modules) == 0 {
		return "none", ""
	}
	m := &h.Modules[0]
	symbols, hint = namesOf(m, program)
	if m.Unread != "" {
		if hint != "" {
			hint += "; "
		}
		hint += m.Unread
	}
	return symbols, hint
}

func namesOf(m *attribution.Module, program string) (symbols, hint string) {
	switch {
	case m.HasInlines && m.DebugFile != "":
		return "dwarf", fmt.Sprintf("%s is stripped; they are from its debug file %s", program, m.DebugFile)
	case m.HasInlines:
		return "dwarf", ""
	case m.HasSymbols && m.HasLines:
		return "symtab", fmt.Sprintf("inlined functions of %s are missing", program)
	case m.HasSymbols:
		return "symtab", fmt.Sprintf("%s has no debug information: files, lines and inlined functions are missing", program)
	}
	told := "but for allocators, frames are file and offset"
	switch {
	case m.ToldFiles:
		told = "allocators, protocols' hooks and most source files are told by its code, other names are file and offset"
	case m.Mixed != "":
		told = fmt.Sprintf("allocators and protocols' hooks are told by its code, other names are file and offset; source files are not told, for it was built with link-time optimisation (%s)", m.Mixed)
	}
	hint = fmt.Sprintf("%s is stripped: %s", program, told)
	if m.BuildID != "" {
		hint += fmt.Sprintf("; for names, build it with symbols, or fetch its debug file, which is then found: debuginfod-find debuginfo %s (it asks the servers in DEBUGINFOD_URLS)", m.BuildID)
	}
	return "none", hint
}
