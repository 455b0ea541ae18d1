// SPDX-License-Identifier: Apache-2.0

package symbol

import (
	"cmp"
	"debug/dwarf"
	"fmt"
	"io"
	"path"
	"slices"
	"sort"
)

// lineTable maps the addresses of a unit to file and line.
type lineTable struct {
	files     []string // by DWARF's file index
	rows      []lineRow
	sequences [][2]int  // first and one past the last row of each sequence
	spans     spanTable // address to index in sequences
}

// lineRow holds from addr up to the next row of its sequence.
type lineRow struct {
	addr uint64
	file int32 // index in files, -1 unknown
	line int32
}

// readLines runs the unit's line number program.
func (d *dwarfIndex) readLines(u *unit) {
	err := guard(func() error {
		e, err := d.entry(u.root)
		if err != nil {
			return err
		}
		off, ok := e.Val(dwarf.AttrStmtList).(int64)
		if !ok {
			return nil
		}
		if err := checkLineHeader(d.line, off, d.order); err != nil {
			return err
		}
		reader, err := d.data.LineReader(e)
		if err != nil || reader == nil {
			return err
		}
		return d.runLines(reader, e, &u.lines)
	})
	if err != nil {
		d.fail(fmt.Errorf("read lines of unit at %#x: %w", u.root, err))
	}
}

// runLines keeps the rows up to the first error.
func (d *dwarfIndex) runLines(reader *dwarf.LineReader, root *dwarf.Entry, t *lineTable) error {
	index := t.setFiles(reader.Files(), root)
	var spans []span
	var last *dwarf.LineFile // consecutive rows mostly have the same file
	file, first := int32(-1), 0
	var err error
	for d.budget > 0 {
		var row dwarf.LineEntry
		if err = reader.Next(&row); err != nil {
			break
		}
		if !row.EndSequence {
			if row.File != last {
				last, file = row.File, -1
				if i, ok := index[row.File]; ok {
					file = i
				}
			}
			t.rows = append(t.rows, lineRow{row.Address, file, int32(row.Line)})
			d.budget--
			continue
		}
		rows := t.rows[first:]
		if len(rows) > 0 {
			// DWARF has them in order; a crafted file may not.
			slices.SortStableFunc(rows, func(a, b lineRow) int { return cmp.Compare(a.addr, b.addr) })
			lo := rows[0].addr
			if _, ok := d.text.find(lo); ok && lo < row.Address {
				spans = append(spans, span{lo, row.Address, uint64(len(spans)), int32(len(t.sequences))})
				t.sequences = append(t.sequences, [2]int{first, len(t.rows)})
			} else {
				t.rows = t.rows[:first]
			}
		}
		first = len(t.rows)
	}
	t.rows = slices.Clip(t.rows)
	t.spans = newSpanTable(spans)
	if err == io.EOF {
		return nil
	}
	return err
}

// setFiles keeps the names, made absolute. It returns the index of each file,
// which DW_AT_call_file uses too: from 0 in DWARF 5, from 1 before, where files
// has a nil at 0.
//
// In DWARF 5 debug/dwarf (go1.26) joins every name to its directory, an
// absolute one too, and no directory to the compilation directory. clang writes
// an absolute name only for the unit's primary file, which is DW_AT_name.
func (t *lineTable) setFiles(files []*dwarf.LineFile, root *dwarf.Entry) map[*dwarf.LineFile]int32 {
	dir, _ := root.Val(dwarf.AttrCompDir).(string)
	primary, _ := root.Val(dwarf.AttrName).(string)
	index := make(map[*dwarf.LineFile]int32, len(files))
	t.files = make([]string, len(files))
	for i, f := range files {
		if f == nil {
			continue
		}
		index[f] = int32(i)
		switch {
		case path.IsAbs(primary) && f.Name == path.Join(dir, primary):
			t.files[i] = path.Clean(primary)
		case path.IsAbs(f.Name):
			t.files[i] = path.Clean(f.Name)
		default:
			t.files[i] = path.Join(dir, f.Name)
		}
	}
	return index
}

// file returns the name of a file by its index, "" if there is none.
func (t *lineTable) file(i int) string {
	if i < 0 || i >= len(t.files) {
		return ""
	}
	return t.files[i]
}

// find returns the file and line of pc. Of several rows at one address the last
// one holds (DWARF 5 §6.2.2: the others describe no instruction).
func (t *lineTable) find(pc uint64) (file string, line int) {
	i, ok := t.spans.find(pc)
	if !ok {
		return "", 0
	}
	rows := t.rows[t.sequences[i][0]:t.sequences[i][1]]
	after := sort.Search(len(rows), func(i int) bool { return rows[i].addr > pc })
	if after == 0 {
		return "", 0
	}
	row := rows[after-1]
	return t.file(int(row.file)), int(row.line)
}
