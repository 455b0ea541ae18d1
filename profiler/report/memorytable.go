// SPDX-License-Identifier: Apache-2.0

package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// column is a phase's end in the table.
type column struct {
	title string
	phase *DocumentPhase // nil if the run did not get there
}

// cells of `show memory`: "1018.0 MB", and two of them.
const (
	cellWidth = 9
	pairWidth = 2*cellWidth + 1
)

// memory prints BIRD's own account before the flood, after it, and after the
// drop, in the first cycle; later cycles are compared by afterDrop.
func (t *text) memory() {
	cycle := 1
	for _, p := range t.d.Phases {
		if p.Cycle > 0 {
			cycle = p.Cycle
			break
		}
	}
	columns := []column{
		{"before", t.phase(phaseBaseline, 0)},
		{"flooded", t.phase(phaseFlooded, cycle)},
		{"dropped", t.phase(phaseSettled, cycle)},
	}
	if p := t.phase(phaseResumed, cycle); p != nil {
		columns = append(columns, column{"read again", p})
	}
	if first := t.phase(phaseInterval, 1); first != nil {
		columns = []column{columns[0], {"interval 1", first}}
		if last := t.last(phaseInterval); last != first {
			columns = append(columns, column{fmt.Sprintf("interval %d", last.Cycle), last})
		}
	}
	names := lineNames(columns)
	label := "memory"
	if len(names) > 0 {
		label = "show memory"
	}
	m := newTable(t, names, len(columns))
	t.line("")
	m.header(label, columns)
	for _, name := range names {
		m.row(name, columns, func(p *DocumentPhase) string { return m.cell(p.memoryLine(name)) })
	}
	for _, r := range liveRows(columns) {
		name := r.name
		if r.isPart {
			name = "  " + name
		}
		m.row(name, columns, func(p *DocumentPhase) string { return m.single(cmp.Or(r.cell(p), "-")) })
	}
}

// liveRow is what was followed at each look; cell is "" where it is not known.
type liveRow struct {
	name   string
	isPart bool // of the row before
	cell   func(*DocumentPhase) string
}

// liveRows are those of which any look knows something.
func liveRows(columns []column) []liveRow {
	size := func(field func(*DocumentPhase) *uint64) func(*DocumentPhase) string {
		return func(p *DocumentPhase) string {
			if n := field(p); n != nil {
				return amount(float64(*n))
			}
			return ""
		}
	}
	rows := []liveRow{
		{"live memory", false, size(func(p *DocumentPhase) *uint64 { return p.LiveBytes })},
		{"number", true, func(p *DocumentPhase) string {
			if p.LiveObjects == nil {
				return ""
			}
			return number(*p.LiveObjects)
		}},
		{classLost, true, size(func(p *DocumentPhase) *uint64 { return p.LostBytes })},
		{classHeld, true, size(func(p *DocumentPhase) *uint64 { return p.HeldBytes })},
		{classUnknown, true, size(func(p *DocumentPhase) *uint64 { return p.UnknownBytes })},
		{"routes", false, (*DocumentPhase).routes},
	}
	return slices.DeleteFunc(rows, func(r liveRow) bool {
		return !slices.ContainsFunc(columns, func(c column) bool { return c.phase != nil && r.cell(c.phase) != "" })
	})
}

// routes is BIRD's own count, "" if it is not known.
func (p *DocumentPhase) routes() string {
	if p.Routes == nil {
		return ""
	}
	return number(*p.Routes)
}

// What is left after each of many cycles is printed for the first few and the
// last ones.
const firstCycles, lastCycles = 3, 8

// afterDrop prints what is left after each cycle, if there was more than one.
func (t *text) afterDrop() {
	var left []*DocumentPhase
	cycles := 0
	for i := range t.d.Phases {
		switch p := &t.d.Phases[i]; p.Name {
		case phaseSettled, phaseInterval:
			cycles++
			left = append(left, p)
		case phaseResumed:
			left = append(left, p)
		}
	}
	if cycles < 2 {
		return
	}
	const protocols, total, live, routes = "Protocols", "Total", "live memory", "routes"
	label, word := "after drop", "cycle"
	if left[0].Name == phaseInterval {
		label, word = "at the end", "interval"
	}
	m := newTable(t, []string{label}, 3)
	t.line("")
	m.titles(label, []string{protocols, total, live + fmt.Sprintf("%*s", cellWidth+2, routes)})
	for i, p := range left {
		if rest := len(left) - firstCycles - lastCycles; rest > 1 && i >= firstCycles && i < firstCycles+rest {
			if i == firstCycles {
				t.line("  … %d more in %s", rest, JSONFile)
			}
			continue
		}
		name := fmt.Sprintf("%s %d", word, p.Cycle)
		if p.Name == phaseResumed {
			name = "  read again"
		}
		row := []string{m.cell(p.memoryLine(protocols)), m.cell(p.memoryLine(total)),
			fmt.Sprintf("%*s%*s", cellWidth+2, p.live(), cellWidth+2, cmp.Or(p.routes(), "-"))}
		t.line("%-*s%s", m.name, name, strings.Join(row, ""))
	}
}

// last is the last phase of a name, nil if there is none.
func (t *text) last(name string) *DocumentPhase {
	for _, p := range slices.Backward(t.d.Phases) {
		if p.Name == name {
			return t.phase(name, p.Cycle)
		}
	}
	return nil
}

func (t *text) phase(name string, cycle int) *DocumentPhase {
	for i := range t.d.Phases {
		if p := &t.d.Phases[i]; p.Name == name && p.Cycle == cycle {
			return p
		}
	}
	return nil
}

// lineNames are the names of all lines, in the order in which BIRD has them.
func lineNames(columns []column) []string {
	var names []string
	seen := make(map[string]bool)
	for _, c := range columns {
		if c.phase == nil {
			continue
		}
		for _, l := range c.phase.ShowMemory {
			if !seen[l.Name] {
				seen[l.Name] = true
				names = append(names, l.Name)
			}
		}
	}
	return names
}

func (p *DocumentPhase) memoryLine(name string) *DocumentMemoryLine {
	for i := range p.ShowMemory {
		if l := &p.ShowMemory[i]; l.Name == name {
			return l
		}
	}
	return nil
}

func (p *DocumentPhase) live() string {
	if p.LiveBytes == nil {
		return "-"
	}
	return amount(float64(*p.LiveBytes))
}

// table is the layout: a name, and cells of one or, where BIRD prints the
// overhead of its allocators and there is room for it, two numbers.
type table struct {
	t     *text
	name  int
	width int // of a cell with the space before it
	pairs bool
}

func newTable(t *text, names []string, cells int) table {
	m := table{t: t, name: len("live memory")}
	for _, n := range names {
		m.name = max(m.name, len(printable(n)))
	}
	m.name = min(m.name, 24)
	for _, p := range t.d.Phases {
		for _, l := range p.ShowMemory {
			m.pairs = m.pairs || l.OverheadBytes != nil
		}
	}
	m.pairs = m.pairs && m.name+cells*(pairWidth+2) <= t.o.Width
	m.width = cellWidth + 2
	if m.pairs {
		m.width = pairWidth + 2
	}
	return m
}

func (m table) header(label string, columns []column) {
	titles := make([]string, len(columns))
	for i, c := range columns {
		titles[i] = c.title
	}
	m.titles(label, titles)
	if m.pairs {
		m.t.line("%-*s%s", m.name, "", strings.Repeat(fmt.Sprintf("%*s %*s", cellWidth+2, "effective", cellWidth, "overhead"), len(columns)))
	}
}

func (m table) titles(label string, titles []string) {
	var b strings.Builder
	for _, title := range titles {
		b.WriteString(m.single(title))
	}
	m.t.line("%-*s%s", m.name, label, b.String())
}

func (m table) row(name string, columns []column, cell func(*DocumentPhase) string) {
	var b strings.Builder
	for _, c := range columns {
		if c.phase == nil {
			b.WriteString(m.single("-"))
		} else {
			b.WriteString(cell(c.phase))
		}
	}
	m.t.line("%-*s%s", m.name, shorten(printable(name), m.name), b.String())
}

// single is a cell with one number, under "effective".
func (m table) single(s string) string {
	s = fmt.Sprintf("%*s", cellWidth+2, s)
	return fmt.Sprintf("%-*s", m.width, s)
}

func (m table) cell(l *DocumentMemoryLine) string {
	if l == nil {
		return m.single("-")
	}
	effective, overhead := l.numbers()
	if !m.pairs || overhead == "" {
		return m.single(effective)
	}
	return m.single(effective)[:cellWidth+2] + fmt.Sprintf(" %*s", cellWidth, overhead)
}

// numbers are the two as BIRD printed them; where that text is not at hand,
// as it would.
func (l *DocumentMemoryLine) numbers() (effective, overhead string) {
	switch f := strings.Fields(printable(l.Text)); {
	case len(f) == 2 && l.OverheadBytes == nil && fits(f[0], f[1]):
		return join(f[0], f[1]), ""
	case len(f) == 4 && l.OverheadBytes != nil && fits(f[0], f[1]) && fits(f[2], f[3]):
		return join(f[0], f[1]), join(f[2], f[3])
	}
	if l.OverheadBytes != nil {
		overhead = amount(*l.OverheadBytes)
	}
	return amount(l.EffectiveBytes), overhead
}

func fits(n, unit string) bool { return len(n) <= cellWidth-3 && len(unit) <= 2 }

// join aligns the units: BIRD prints "336.0  B" above "1.0 kB".
func join(n, unit string) string { return fmt.Sprintf("%s %2s", n, unit) }
