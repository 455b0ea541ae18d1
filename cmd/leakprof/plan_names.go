// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strings"

	"leakprof/profiler/plan"
	"leakprof/profiler/symbol"
)

// namePlan gives what a plan has found in a stripped program the names of the
// program's debug file, and notes whether they are what it was found to be. The
// probes stay where they are: the plan looks at the program alone. m is nil if its
// symbols cannot be read.
func namePlan(p *plan.Plan, m *symbol.Module) {
	if m == nil || m.DebugFile() == "" {
		return
	}
	// owner is the function that has the code at an address, by the debug file.
	owner := func(address uint64) (symbol.Frame, bool) {
		frames := m.Frames(address, false)
		f := frames[len(frames)-1]
		return f, f.Separate
	}
	asked, other := 0, []string{}
	for i := range p.Functions {
		f := &p.Functions[i]
		if f.FoundBy != plan.ByStructure {
			continue
		}
		is, ok := owner(f.Address)
		if !ok {
			continue
		}
		f.Symbol = is.Symbol
		if asked++; is.Function != f.Name {
			other = append(other, fmt.Sprintf("%s is %s", f.Name, is.Function))
		}
	}
	name := func(s *plan.Site) {
		if !strings.HasPrefix(s.Into, "0x") { // it has a name
			return
		}
		if is, ok := owner(s.Address); ok {
			s.Into = is.Function
		}
	}
	for i := range p.Sites {
		name(&p.Sites[i])
	}
	for i := range p.Events {
		for j := range p.Events[i].Sites {
			name(&p.Events[i].Sites[j])
		}
	}
	note := fmt.Sprintf("symbols are of the debug file %s", m.DebugFile())
	switch {
	case len(other) > 0:
		note += fmt.Sprintf("; it says otherwise of %d of %d functions found by structure: %s", len(other), asked, strings.Join(other, ", "))
	case asked > 0:
		note += fmt.Sprintf("; it says the same of all %d functions found by structure", asked)
	}
	p.Notes = append(p.Notes, note)
}
