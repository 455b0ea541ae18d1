// SPDX-License-Identifier: Apache-2.0

package symbol

import (
	"debug/dwarf"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
)

// ErrNoDWARF is why HasDWARF is false for a file without .debug_info.
var ErrNoDWARF = errors.New("no .debug_info section")

// ErrSplitDWARF is why HasDWARF is false for a file of which some part was built
// with -gsplit-dwarf. The other parts (often just assembly) are still resolved.
var ErrSplitDWARF = errors.New("inlined functions are in split DWARF files (.dwo, .dwp), which are not read; symbols name the others; for all of them build without -gsplit-dwarf")

// Stats counts what was read of the debug information and what could not be.
type Stats struct {
	Units       int   // compile units with code
	UnitsRead   int   // of these, read so far because an address was asked for
	SplitUnits  int   // units whose functions are in a .dwo file
	Errors      int   // entries, range lists and line tables left out because malformed
	FirstError  error // the first of these
	DeepInlines int   // inlined calls left out because nested deeper than 64 levels
}

// dwarfIndex finds the functions at an address. Units are read on demand.
type dwarfIndex struct {
	hasLines bool
	text     spanTable
	line     []byte // .debug_line
	order    binary.ByteOrder

	mu sync.Mutex // debug/dwarf is not safe for concurrent use; guards all below
	// data and reader are used for one unit or name at a time.
	data   *dwarf.Data
	reader *dwarf.Reader
	units  []*unit
	spans  spanTable // address to index in units
	names  map[dwarf.Offset]string
	// link is the supplementary file that is referred to, nil if none is, and
	// supplement what it has, nil if it was not found.
	link       *Supplement
	supplement *supplement
	// budget is the number of ranges and line rows that may still be kept: a
	// file of n bytes can describe n² of them by sharing.
	budget int
	stats  Stats
}

// unit is a compile unit that has code.
type unit struct {
	root, end dwarf.Offset // of its DW_TAG_compile_unit; where its entries end
	read      bool
	scopes    []scope
	spans     spanTable // address to innermost scope
	lines     lineTable
}

// maxKept is the initial budget: 24 bytes each, 400 times what BIRD needs.
const maxKept = 1 << 25

// dwarfSections are the parts of DWARF that names and lines need.
var dwarfSections = []string{"abbrev", "info", "line", "ranges", "str", "addr", "line_str", "rnglists", "str_offsets"}

// readDWARF indexes the compile units of a file by address. The index may be
// non-nil together with an error if lines, or some units, can still be had.
func readDWARF(f *elf.File, text spanTable) (*dwarfIndex, error) {
	sections, err := loadSections(f, dwarfSections)
	if err != nil {
		return nil, err
	}
	d, err := newDWARFIndex(sections, f.ByteOrder, text)
	if d != nil {
		d.link = readSupplementLink(f)
	}
	return d, err
}

func newDWARFIndex(sections map[string][]byte, order binary.ByteOrder, text spanTable) (*dwarfIndex, error) {
	if len(sections["info"]) == 0 {
		return nil, ErrNoDWARF
	}
	if len(sections["info"]) > math.MaxUint32 {
		return nil, errors.New("parse DWARF: .debug_info is larger than 4 GiB")
	}
	d := &dwarfIndex{
		text:   text,
		line:   sections["line"],
		order:  order,
		names:  make(map[dwarf.Offset]string),
		budget: maxKept,
	}
	err := guard(func() (err error) {
		d.data, err = dwarf.New(sections["abbrev"], nil, nil, sections["info"], sections["line"], nil, sections["ranges"], sections["str"])
		if err != nil {
			return fmt.Errorf("parse DWARF: %w", err)
		}
		for _, name := range []string{"addr", "line_str", "rnglists", "str_offsets"} {
			if err := d.data.AddSection(".debug_"+name, sections[name]); err != nil {
				return fmt.Errorf("parse DWARF: %w", err)
			}
		}
		d.reader = d.data.Reader()
		return nil
	})
	if err != nil {
		return nil, err
	}
	d.indexUnits(sections["info"])
	d.hasLines = d.hasLines && len(d.line) > 0
	switch {
	case d.stats.SplitUnits > 0:
		return d, ErrSplitDWARF
	case d.stats.Units == 0 && d.stats.FirstError != nil:
		return d, d.stats.FirstError
	case d.stats.Units == 0:
		return d, errors.New("no compile unit of .debug_info has code")
	}
	return d, nil
}

// loadSections returns .debug_NAME, or .zdebug_NAME as older linkers compressed
// it.
func loadSections(f *elf.File, names []string) (map[string][]byte, error) {
	sections := make(map[string][]byte)
	for _, name := range names {
		s := f.Section(".debug_" + name)
		if s == nil {
			s = f.Section(".zdebug_" + name)
		}
		if s == nil {
			continue
		}
		b, err := sectionData(s)
		if err != nil {
			return nil, err
		}
		sections[name] = b
	}
	return sections, nil
}

// indexUnits walks the unit headers and notes which addresses each unit covers.
func (d *dwarfIndex) indexUnits(info []byte) {
	var spans []span
	for off := 0; off < len(info); {
		root, end, ok := unitHeader(info, off, d.order)
		if !ok {
			d.fail(fmt.Errorf("parse unit header at %#x: truncated", off))
			break
		}
		off = end
		u := &unit{root: dwarf.Offset(root), end: dwarf.Offset(end)}
		var ranges [][2]uint64
		err := guard(func() error {
			e, err := d.entry(u.root)
			if err != nil || e.Tag != dwarf.TagCompileUnit && e.Tag != dwarf.TagSkeletonUnit {
				return err
			}
			if ranges, err = d.data.Ranges(e); err != nil {
				return err
			}
			if ranges = d.inText(ranges); len(ranges) == 0 {
				return nil
			}
			if e.Val(dwarf.AttrStmtList) != nil {
				d.hasLines = true
			}
			if isSplit(e) {
				d.stats.SplitUnits++
			}
			return nil
		})
		if err != nil {
			d.fail(fmt.Errorf("parse unit at %#x: %w", root, err))
		}
		if len(ranges) == 0 {
			continue
		}
		for _, r := range ranges {
			// A narrower unit wins where units claim the same address.
			spans = append(spans, span{r[0], r[1], math.MaxUint64 - (r[1] - r[0]), int32(len(d.units))})
		}
		d.units = append(d.units, u)
	}
	d.stats.Units = len(d.units)
	d.spans = newSpanTable(spans)
}

// isSplit reports whether the unit's entries are in another file (DWARF 5
// §3.1.2; DW_AT_GNU_dwo_name of gcc and clang with DWARF 4).
func isSplit(e *dwarf.Entry) bool {
	const attrGNUDwoName dwarf.Attr = 0x2130
	return e.Tag == dwarf.TagSkeletonUnit || e.Val(dwarf.AttrDwoName) != nil || e.Val(attrGNUDwoName) != nil
}

// unitHeader reads the unit header at off (DWARF 5 §7.5.1) and returns where
// the unit's first entry is and where the unit ends.
func unitHeader(info []byte, off int, order binary.ByteOrder) (root, end int, ok bool) {
	b := info[off:]
	if len(b) < 4 {
		return 0, 0, false
	}
	length, header, offsetSize := uint64(order.Uint32(b)), 4, 4
	if length == 0xffffffff { // 64-bit DWARF
		if len(b) < 12 {
			return 0, 0, false
		}
		length, header, offsetSize = order.Uint64(b[4:]), 12, 8
	}
	if length > uint64(len(b)-header) || length < 4 {
		return 0, 0, false
	}
	end = off + header + int(length)
	version, unitType := order.Uint16(b[header:]), b[header+2]
	header += 2 + offsetSize + 1 // version, abbrev offset, address size
	if version >= 5 {
		header++ // unit type
		switch unitType {
		case 0x04, 0x05: // DW_UT_skeleton, DW_UT_split_compile: dwo_id
			header += 8
		case 0x02, 0x06: // DW_UT_type, DW_UT_split_type: signature, type offset
			header += 8 + offsetSize
		}
	}
	return off + header, end, off+header <= end
}

// entry reads the entry at off.
func (d *dwarfIndex) entry(off dwarf.Offset) (*dwarf.Entry, error) {
	return d.readEntry(die{off: off})
}

// inText keeps the ranges that start in code and charges them to the budget.
func (d *dwarfIndex) inText(ranges [][2]uint64) [][2]uint64 {
	kept := ranges[:0]
	for _, r := range ranges {
		if _, ok := d.text.find(r[0]); ok && r[0] < r[1] && d.budget > 0 {
			d.budget--
			kept = append(kept, r)
		}
	}
	return kept
}

// frames returns the chain of functions at pc, nil if no unit covers it. The
// last frame lacks its Function if only its line is known.
func (d *dwarfIndex) frames(pc uint64) []Frame {
	d.mu.Lock()
	defer d.mu.Unlock()
	i, ok := d.spans.find(pc)
	if !ok {
		return nil
	}
	u := d.units[i]
	if !u.read {
		u.read = true
		d.stats.UnitsRead++
		d.readScopes(u)
		d.readLines(u)
	}
	file, line := u.lines.find(pc)
	s, ok := u.spans.find(pc)
	if !ok {
		return []Frame{{File: file, Line: line}}
	}
	var frames []Frame
	for ; s >= 0; s = u.scopes[s].parent {
		scope := &u.scopes[s]
		f := Frame{Function: d.name(scope.die), File: file, Line: line, Source: SourceDWARF}
		if f.Inlined = scope.parent >= 0; f.Inlined {
			f.Source = SourceInline
			if f.Function == "" {
				f.Function = "(unnamed inline)"
			}
		}
		frames = append(frames, f)
		file, line = u.lines.file(scope.callFile), scope.callLine
	}
	return frames
}

func (d *dwarfIndex) fail(err error) {
	d.stats.Errors++
	if d.stats.FirstError == nil {
		d.stats.FirstError = err
	}
}

func (d *dwarfIndex) statistics() Stats {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.stats
}

// maxOrigins bounds the hops from an inlined or specialised entry to the one
// that has the name; compilers need at most three.
const maxOrigins = 16

// name returns the function name of the entry at off, following
// DW_AT_abstract_origin and DW_AT_specification into other units, "" if it has
// none.
func (d *dwarfIndex) name(off dwarf.Offset) string {
	if name, ok := d.names[off]; ok {
		return name
	}
	var name string
	err := guard(func() error {
		at := die{off: off}
		for range maxOrigins {
			e, err := d.readEntry(at)
			if errors.Is(err, errNoSupplement) {
				return nil // said once (MissingSupplement)
			}
			if err != nil {
				return err
			}
			if name == "" {
				name, _ = e.Val(dwarf.AttrName).(string)
			}
			// A linkage name that is not mangled is an alias, e.g. glibc's
			// __isoc99_sscanf, and not what the source says.
			linkage, _ := e.Val(dwarf.AttrLinkageName).(string)
			if strings.HasPrefix(linkage, "_Z") || strings.HasPrefix(linkage, "_R") {
				name = baseName(linkage)
				return nil
			}
			next, ok := reference(e, at, dwarf.AttrAbstractOrigin)
			if !ok {
				next, ok = reference(e, at, dwarf.AttrSpecification)
			}
			if !ok {
				return nil
			}
			at = next
		}
		return errors.New("too many DW_AT_abstract_origin hops")
	})
	if err != nil {
		d.fail(fmt.Errorf("resolve name of entry at %#x: %w", off, err))
	}
	d.names[off] = name
	return name
}
