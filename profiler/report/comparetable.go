// SPDX-License-Identifier: Apache-2.0

package report

import (
	"fmt"
	"slices"
	"strings"
)

// tables prints the memory of both sides, beside each other where there is room
// and else below each other: before the first flood, at its height, and after its
// drop; and then what was left after each drop, if there were more.
func (c *Comparison) tables(t *text, labels [2]string) {
	a, b := c.a.comparedLooks(), c.b.comparedLooks()
	rows := comparedRows(append(slices.Clone(a), b...))
	printSides(t, labels, "show memory", rows, a, b)
	after := comparedCycles(c.a.Document, c.b.Document)
	if len(after) > 1 {
		columns := []column{{title: "Protocols"}, {title: "Total"}, {title: "live"}}
		printSides(t, labels, "after drop", after, columns, columns)
	}
}

// comparedLooks are those of the first cycle, as in the report itself.
func (s Side) comparedLooks() []column {
	var all []column
	for i := range s.Phases {
		p := &s.Phases[i]
		title := map[string]string{phaseBaseline: "before", phaseFlooded: "flooded", phaseSettled: "dropped", phaseResumed: "read again", phaseInterval: "interval 1"}[p.Name]
		if title != "" && p.Cycle <= 1 && !slices.ContainsFunc(all, func(c column) bool { return c.title == title }) {
			all = append(all, column{title, p})
		}
	}
	return all
}

// comparedRow is a row of a table: a name, and its cells; "" where something is
// not known.
type comparedRow struct {
	name string
	cell func(side, i int, c column) string
}

func comparedRows(columns []column) (rows []comparedRow) {
	add := func(name string, value func(*DocumentPhase) string) {
		rows = append(rows, comparedRow{name, func(_, _ int, c column) string { return value(c.phase) }})
	}
	for _, name := range lineNames(columns) {
		add(name, func(p *DocumentPhase) string { return p.effective(name) })
	}
	for _, r := range liveRows(columns) {
		name := r.name
		if r.isPart {
			name = "  " + name
		}
		add(name, r.cell)
	}
	return rows
}

// effective is the first number of a line of `show memory`, "" if there is none.
func (p *DocumentPhase) effective(line string) string {
	l := p.memoryLine(line)
	if l == nil {
		return ""
	}
	effective, _ := l.numbers()
	return effective
}

// comparedCycles are what is left after each cycle: BIRD's lines Protocols and
// Total, and live memory.
func comparedCycles(sides ...*Document) (rows []comparedRow) {
	looks := make([][]*DocumentPhase, len(sides))
	longest := 0
	for i, d := range sides {
		for j := range d.Phases {
			if p := &d.Phases[j]; p.Name == phaseSettled || p.Name == phaseResumed || p.Name == phaseInterval {
				looks[i] = append(looks[i], p)
			}
		}
		if len(looks[i]) > len(looks[longest]) {
			longest = i
		}
	}
	for j, p := range looks[longest] {
		name := fmt.Sprintf("cycle %d", p.Cycle)
		switch p.Name {
		case phaseResumed:
			name = "  read again"
		case phaseInterval:
			name = fmt.Sprintf("interval %d", p.Cycle)
		}
		row := comparedRow{name, func(side, i int, _ column) string {
			if j >= len(looks[side]) {
				return ""
			}
			p := looks[side][j]
			return []string{p.effective("Protocols"), p.effective("Total"), strings.TrimPrefix(p.live(), "-")}[i]
		}}
		rows = append(rows, row)
	}
	// Of many, the first and the last tell it all.
	if n := len(rows); n > 4*shownCycles {
		gap := comparedRow{"…", func(int, int, column) string { return "" }}
		rows = slices.Concat(rows[:shownCycles:shownCycles], []comparedRow{gap}, rows[n-shownCycles:])
	}
	return rows
}

// printSides prints a table of two sides.
func printSides(t *text, labels [2]string, title string, rows []comparedRow, a, b []column) {
	name := len(title)
	for _, r := range rows {
		name = max(name, len([]rune(printable(r.name))))
	}
	name = min(name, 24)
	const gap = 3
	width := cellWidth + 2
	if name+(len(a)+len(b))*width+gap <= t.o.Width {
		t.line("\n%-*s  %-*s%*s  %s", name, "", len(a)*width-2, labels[0], gap, "", labels[1])
		printRows(t, name, title, rows, 0, a, b)
		return
	}
	t.line("\n%s", labels[0])
	printRows(t, name, title, rows, 0, a)
	t.line("\n%s", labels[1])
	printRows(t, name, title, rows, 1, b)
}

// printRows prints a title and rows, of sides from first on.
func printRows(t *text, name int, title string, rows []comparedRow, first int, sides ...[]column) {
	line := func(label string, cell func(side, i int, c column) string) {
		var b strings.Builder
		for side, columns := range sides {
			if side > 0 {
				b.WriteString("   ")
			}
			for i, c := range columns {
				s := cell(first+side, i, c)
				if s == "" && label != "…" {
					s = "-"
				}
				fmt.Fprintf(&b, "  %*s", cellWidth, s)
			}
		}
		t.line("%-*s%s", name, shorten(printable(label), name), b.String())
	}
	line(title, func(_, _ int, c column) string { return c.title })
	for _, r := range rows {
		line(r.name, r.cell)
	}
}
