// SPDX-License-Identifier: Apache-2.0

package report

import (
	"fmt"
	"slices"
	"strings"
)

// tables prints the memory of both sides, beside each other where there is room
// and else below each other: before the first flood, at its height, and after the
// last drop.
func (c *Comparison) tables(t *text) {
	a, b := c.a.comparedLooks(), c.b.comparedLooks()
	names := lineNames(append(slices.Clone(a), b...))
	rows := comparedRows(names)
	name := len("show memory")
	for _, r := range rows {
		name = max(name, len([]rune(printable(r.name))))
	}
	name = min(name, 24)
	const gap = 3
	width := cellWidth + 2
	if name+(len(a)+len(b))*width+gap <= t.o.Width {
		t.line("\n%-*s  %-*s%*s%s", name, "", len(a)*width-2, "A", gap, "", "  B")
		printCompared(t, name, rows, a, b)
		return
	}
	t.line("\nA")
	printCompared(t, name, rows, a)
	t.line("\nB")
	printCompared(t, name, rows, b)
}

// comparedLooks are few, so that two results have room beside each other.
func (s Side) comparedLooks() []column {
	all := s.looks()
	i := slices.IndexFunc(all, func(c column) bool { return c.phase == nil || c.phase.Name == phaseSettled })
	if i >= 0 {
		all = append(all[:i:i], all[len(all)-1])
	}
	return all
}

type comparedRow struct {
	name string
	cell func(*DocumentPhase) string // "" if not known
}

func comparedRows(names []string) (rows []comparedRow) {
	for _, name := range names {
		rows = append(rows, comparedRow{name, func(p *DocumentPhase) string {
			l := p.memoryLine(name)
			if l == nil {
				return ""
			}
			effective, _ := l.numbers()
			return effective
		}})
	}
	return append(rows,
		comparedRow{"live memory", func(p *DocumentPhase) string { return strings.TrimPrefix(p.live(), "-") }},
		comparedRow{"  number", func(p *DocumentPhase) string {
			if p.LiveObjects == nil {
				return ""
			}
			return number(*p.LiveObjects)
		}},
		comparedRow{"routes", func(p *DocumentPhase) string {
			if p.Routes == nil {
				return ""
			}
			return number(*p.Routes)
		}})
}

func printCompared(t *text, name int, rows []comparedRow, sides ...[]column) {
	line := func(label string, cell func(column) string) {
		var b strings.Builder
		for i, side := range sides {
			if i > 0 {
				b.WriteString("   ")
			}
			for _, c := range side {
				fmt.Fprintf(&b, "  %*s", cellWidth, cell(c))
			}
		}
		t.line("%-*s%s", name, shorten(printable(label), name), b.String())
	}
	line("show memory", func(c column) string { return c.title })
	for _, r := range rows {
		line(r.name, func(c column) string {
			if c.phase == nil {
				return "-"
			}
			if s := r.cell(c.phase); s != "" {
				return s
			}
			return "-"
		})
	}
}
