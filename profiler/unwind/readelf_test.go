// SPDX-License-Identifier: Apache-2.0

package unwind

import (
	"bufio"
	"bytes"
	"debug/elf"
	"fmt"
	"os/exec"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"testing"
)

// readelfRow is one row of readelf --debug-dump=frames-interp, with what the raw
// dump says in place of "exp" and "vexp".
type readelfRow struct {
	lo, hi uint64
	signal bool
	cells  map[string]string // column ("CFA", "rbx", ..., "ra") to its text
}

var (
	cieLine = regexp.MustCompile(`^([0-9a-f]{8,16}) [0-9a-f]{16} [0-9a-f]{8,16} CIE "([^"]*)"`)
	fdeLine = regexp.MustCompile(`^([0-9a-f]{8,16}) [0-9a-f]{16} [0-9a-f]{8,16} FDE cie=([0-9a-f]+) pc=([0-9a-f]+)\.\.([0-9a-f]+)`)
	rowLine = regexp.MustCompile(`^([0-9a-f]{16}) `)
	inReg   = regexp.MustCompile(`r\d+ \((\w+)\)`) // DW_CFA_register's cell
)

// dumpFrames runs readelf and returns the lines about section.
func dumpFrames(t *testing.T, path, option, section string) []string {
	t.Helper()
	cmd := exec.Command("readelf", "--wide", "--debug-dump="+option+",no-follow-links", path)
	cmd.Env = append(cmd.Environ(), "LC_ALL=C")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("run %v (apt-get install -y binutils): %v", cmd, err)
	}
	var lines []string
	in := false
	for s := bufio.NewScanner(bytes.NewReader(out)); s.Scan(); {
		if name, ok := strings.CutPrefix(s.Text(), "Contents of the "); ok {
			in = strings.HasPrefix(name, section+" section")
		} else if in {
			lines = append(lines, s.Text())
		}
	}
	return lines
}

// readelfRows reads the rows of section from readelf, sorted, without rows that
// cover no address.
func readelfRows(t *testing.T, path, section string) []readelfRow {
	t.Helper()
	type header struct {
		signal bool
		cells  map[string]string
	}
	var (
		cies    = map[uint64]header{}
		rows    []readelfRow
		columns []string
		current header
		cieOff  uint64
		inCIE   bool
		fde     *[2]uint64 // range of the FDE being read
		begun   bool       // it has a row
		needRaw bool
	)
	// finish ends the last row at the FDE's end; one with no instructions has
	// no row in readelf's output, and the CIE's row holds.
	finish := func() {
		if fde == nil {
			return
		}
		if !begun {
			rows = append(rows, readelfRow{lo: fde[0], signal: current.signal, cells: current.cells})
		}
		rows[len(rows)-1].hi = fde[1]
		fde = nil
	}
	for _, line := range dumpFrames(t, path, "frames-interp", section) {
		if m := cieLine.FindStringSubmatch(line); m != nil {
			finish()
			inCIE, cieOff = true, hex(t, m[1])
			cies[cieOff] = header{signal: strings.Contains(m[2], "S")}
			continue
		}
		if m := fdeLine.FindStringSubmatch(line); m != nil {
			finish()
			inCIE, begun = false, false
			fde = &[2]uint64{hex(t, m[3]), hex(t, m[4])}
			current = cies[hex(t, m[2])]
			continue
		}
		fields := strings.Fields(inReg.ReplaceAllString(line, "$1"))
		if len(fields) > 1 && fields[0] == "LOC" {
			columns = fields[1:]
			continue
		}
		if !rowLine.MatchString(line) {
			continue
		}
		if len(fields) != len(columns)+1 {
			t.Fatalf("%s: row %q has not the columns %q", path, line, columns)
		}
		cells := map[string]string{}
		for i, c := range columns {
			cells[c] = fields[i+1]
			needRaw = needRaw || strings.HasSuffix(fields[i+1], "exp")
		}
		if inCIE {
			cies[cieOff] = header{cies[cieOff].signal, cells}
			continue
		}
		pc := hex(t, fields[0])
		if begun {
			rows[len(rows)-1].hi = pc
		}
		rows = append(rows, readelfRow{lo: pc, signal: current.signal, cells: cells})
		begun = true
	}
	finish()
	if needRaw {
		expandExpressions(t, rows, dumpFrames(t, path, "frames", section))
	}
	full := rows[:0]
	for _, r := range rows {
		if r.lo < r.hi {
			full = append(full, r)
		}
	}
	sort.SliceStable(full, func(i, j int) bool { return full[i].lo < full[j].lo })
	return full
}

var (
	rawAdvance = regexp.MustCompile(`^  DW_CFA_(?:advance_loc\d?|set_loc):.* ?to ([0-9a-f]+)|^  DW_CFA_set_loc: ([0-9a-f]+)`)
	rawCFA     = regexp.MustCompile(`^  DW_CFA_def_cfa_expression \((.*)\)$`)
	rawReg     = regexp.MustCompile(`^  DW_CFA_(?:val_)?expression: r\d+ \((\w+)\) \((.*)\)$`)
)

// expandExpressions replaces "exp" and "vexp" by "exp:" and "vexp:" with the
// expression's text from the raw dump. Instructions that replace an expression
// need no following: the interpreted dump then has no "exp" there.
func expandExpressions(t *testing.T, rows []readelfRow, raw []string) {
	t.Helper()
	type key struct {
		pc     uint64
		column string
	}
	texts := map[key]string{} // as set at pc
	inForce := map[string]string{}
	var stack []map[string]string
	cieTexts := map[uint64]map[string]string{}
	var pc uint64
	for _, line := range raw {
		if m := fdeLine.FindStringSubmatch(line); m != nil {
			pc, inForce, stack = hex(t, m[3]), clone(cieTexts[hex(t, m[2])]), nil
		} else if strings.Contains(line, " CIE") && !strings.HasPrefix(line, " ") {
			inForce, stack = map[string]string{}, nil
			cieTexts[hex(t, strings.Fields(line)[0])] = inForce
		} else if m := rawAdvance.FindStringSubmatch(line); m != nil {
			pc = hex(t, m[1]+m[2])
		} else if m := rawCFA.FindStringSubmatch(line); m != nil {
			inForce["CFA"] = m[1]
		} else if m := rawReg.FindStringSubmatch(line); m != nil {
			column := m[1]
			if column == "rip" {
				column = "ra"
			}
			inForce[column] = m[2]
		} else if strings.HasPrefix(line, "  DW_CFA_remember_state") {
			stack = append(stack, clone(inForce))
		} else if strings.HasPrefix(line, "  DW_CFA_restore_state") && len(stack) > 0 {
			inForce, stack = stack[len(stack)-1], stack[:len(stack)-1]
		}
		for column, text := range inForce {
			texts[key{pc, column}] = text
		}
	}
	for i, r := range rows {
		cells := map[string]string{}
		for column, text := range r.cells {
			if strings.HasSuffix(text, "exp") {
				expr, ok := texts[key{r.lo, column}]
				if !ok {
					t.Fatalf("%#x %s: readelf's raw dump has no expression", r.lo, column)
				}
				text += ":" + expr
			}
			cells[column] = text
		}
		rows[i].cells = cells
	}
}

func clone(m map[string]string) map[string]string {
	out := make(map[string]string, len(m))
	for k, v := range m {
		out[k] = v
	}
	return out
}

func hex(t *testing.T, s string) uint64 {
	t.Helper()
	v, err := strconv.ParseUint(s, 16, 64)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// compareWithReadelf fails t unless NewTable reads from the file at path, at
// every address, what readelf does. Both ways: between any two neighbouring
// boundaries of either side's rows the rules are compared, gaps too.
func compareWithReadelf(t *testing.T, path string) {
	t.Helper()
	f, err := elf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	table, err := NewTable(f)
	if err != nil {
		t.Fatal(err)
	}
	if table.Stats.BadFDEs != 0 {
		t.Errorf("%s: %d bad FDEs, the first: %v", path, table.Stats.BadFDEs, table.Stats.FirstBad)
	}
	section := table.Stats.Sections[0]
	theirs := readelfRows(t, path, section)
	if len(theirs) == 0 {
		t.Fatalf("%s: readelf printed no rows of %s", path, section)
	}
	exec := newImage(f)
	kept := theirs[:0]
	for _, r := range theirs {
		if exec.executable(r.lo) {
			kept = append(kept, r)
		}
	}
	theirs = kept
	compared, unsupported := compareRows(t, table, theirs)
	t.Logf("%s: %s: %d readelf rows, %d rows, %d rules; %d ranges compared, %d of them unsupported; lost registers %d",
		path, section, len(theirs), len(table.Rows), len(table.Rules), compared, unsupported, table.Stats.LostRegisters)
}

// compareRows compares table with rows, which must be sorted and not overlap.
func compareRows(t *testing.T, table *Table, rows []readelfRow) (compared, unsupported int) {
	t.Helper()
	bounds := []uint64{}
	for i, r := range rows {
		if i > 0 && r.lo < rows[i-1].hi {
			t.Fatalf("readelf's rows overlap: %#x..%#x and %#x..%#x", rows[i-1].lo, rows[i-1].hi, r.lo, r.hi)
		}
		bounds = append(bounds, r.lo, r.hi)
	}
	for i, r := range table.Rows {
		if i > 0 && (r.PC <= table.Rows[i-1].PC || r.Rule == table.Rows[i-1].Rule) {
			t.Errorf("rows %d and %d are not sorted, or not merged: %+v %+v", i-1, i, table.Rows[i-1], r)
		}
		bounds = append(bounds, uint64(r.PC))
	}
	entry := table.Stats.Entry
	bounds = append(bounds, entry.Lo, entry.Hi)
	sort.Slice(bounds, func(i, j int) bool { return bounds[i] < bounds[j] })
	next, failures := 0, 0
	for i, pc := range bounds {
		if i+1 < len(bounds) && bounds[i+1] == pc {
			continue
		}
		for next < len(rows) && rows[next].hi <= pc {
			next++
		}
		ours := table.Lookup(pc)
		var err error
		switch covered := next < len(rows) && rows[next].lo <= pc; {
		case pc >= entry.Lo && pc < entry.Hi:
			if ours.CFA != CFAEnd {
				err = fmt.Errorf("%v at the entry point", ours)
			}
		case covered:
			err = sameRule(ours, rows[next], pc)
		case ours != Rule{}:
			err = fmt.Errorf("%v where readelf has no FDE", ours)
		}
		compared++
		if ours.CFA == CFAUnsupported {
			unsupported++
		}
		if err != nil {
			t.Errorf("%#x: %v", pc, err)
			if failures++; failures == 20 {
				t.Fatal("and so on")
			}
		}
	}
	return compared, unsupported
}
