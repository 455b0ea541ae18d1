// SPDX-License-Identifier: Apache-2.0

package report

import (
	"fmt"
	"strings"
)

// comments are the facts by which a profile's reader judges its numbers; pprof
// prints them above `-top` and with `-comments`.
func comments(r *Result) []string {
	t := r.Target
	subject := fmt.Sprintf("leakprof: pid %d, %s", t.PID, printable(t.Exe))
	if t.Version != "" {
		subject += ", BIRD " + printable(t.Version)
	}
	if t.BuildID != "" {
		subject += ", build ID " + t.BuildID
	}
	lines := []string{subject}
	if r.Verdict.Sentence != "" {
		lines = append(lines, "verdict: "+printable(r.Verdict.Sentence))
	}
	if len(r.Coverage) > 0 {
		lines = append(lines, "covered: "+printable(strings.Join(r.Coverage, "; ")))
	}
	if len(r.NotCovered) > 0 {
		lines = append(lines, "not covered: "+printable(strings.Join(r.NotCovered, "; ")))
	}
	q := newStackQuality(r.Stacks)
	lines = append(lines, "stacks: "+q.sentence())
	if names := nameSources(newStacks(r.Retained)); names != "" {
		lines = append(lines, "names: "+names)
	}
	if len(r.Health) == 0 {
		lines = append(lines, "health: nothing lost")
	}
	for _, h := range r.Health {
		h := newHealth(h)
		lines = append(lines, "health: "+h.sentence())
	}
	return lines
}
