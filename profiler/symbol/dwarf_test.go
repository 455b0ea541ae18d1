// SPDX-License-Identifier: Apache-2.0

package symbol

import (
	"debug/dwarf"
	"encoding/binary"
	"errors"
	"testing"
)

// Entries of a handmade unit, by their abbreviation code.
const (
	dieUnit       = 1 + iota // low_pc, high_pc, stmt_list; has children
	dieFunction              // name, low_pc, high_pc; has children
	dieInlined               // abstract_origin, low_pc, high_pc, call_line; has children
	dieReference             // abstract_origin; no children
	dieStructure             // nothing; has children
	dieBadRanges             // name, ranges; no children
	dieUnreadable            // an attribute of a form that lacks its section
	dieSpecified             // specification, low_pc, high_pc; no children
)

// handmade is a DWARF 4 unit under construction.
type handmade struct{ info, line []byte }

func newHandmade() *handmade {
	h := &handmade{info: []byte{
		0, 0, 0, 0, // length, set by index
		4, 0, // version
		0, 0, 0, 0, // abbrev offset
		8, // address size
	}}
	h.info = append(h.info, dieUnit)
	h.pc(0x1000, 0x1000)
	h.info = append(h.info, 0, 0, 0, 0)
	h.line = lineProgram(lineHeader(0, 0))
	return h
}

func (h *handmade) pc(low, size uint64) {
	h.info = binary.LittleEndian.AppendUint64(h.info, low)
	h.info = binary.LittleEndian.AppendUint64(h.info, size)
}

// function opens a function; end closes what was opened last.
func (h *handmade) function(name string, low, size uint64) dwarf.Offset {
	off := len(h.info)
	h.info = append(append(h.info, dieFunction), name...)
	h.info = append(h.info, 0)
	h.pc(low, size)
	return dwarf.Offset(off)
}

func (h *handmade) inlined(origin dwarf.Offset, low, size uint64, line byte) {
	h.info = append(h.info, dieInlined)
	h.info = binary.LittleEndian.AppendUint32(h.info, uint32(origin))
	h.pc(low, size)
	h.info = append(h.info, line)
}

func (h *handmade) reference(origin dwarf.Offset) dwarf.Offset {
	off := len(h.info)
	h.info = append(h.info, dieReference)
	h.info = binary.LittleEndian.AppendUint32(h.info, uint32(origin))
	return dwarf.Offset(off)
}

func (h *handmade) specified(by dwarf.Offset, low, size uint64) {
	h.info = append(h.info, dieSpecified)
	h.info = binary.LittleEndian.AppendUint32(h.info, uint32(by))
	h.pc(low, size)
}

func (h *handmade) end(n int) { h.info = append(h.info, make([]byte, n)...) }

// index closes the unit and reads it as the only one of a file.
func (h *handmade) index(t testing.TB) *dwarfIndex {
	t.Helper()
	h.end(1)
	binary.LittleEndian.PutUint32(h.info, uint32(len(h.info)-4))
	const (
		address, data8, ref4, text, udata, offset = 0x01, 0x07, 0x13, 0x08, 0x0f, 0x17 // DW_FORM
		low, high, name, origin, line, ranges     = 0x11, 0x12, 0x03, 0x31, 0x59, 0x55 // DW_AT
		program, specification                    = 0x10, 0x47
	)
	abbrev := []byte{
		dieUnit, 0x11, 1, low, address, high, data8, program, offset, 0, 0,
		dieFunction, 0x2e, 1, name, text, low, address, high, data8, 0, 0,
		dieInlined, 0x1d, 1, origin, ref4, low, address, high, data8, line, udata, 0, 0,
		dieReference, 0x2e, 0, origin, ref4, 0, 0,
		dieStructure, 0x13, 1, 0, 0,
		dieBadRanges, 0x2e, 0, name, text, ranges, offset, 0, 0,
		dieUnreadable, 0x2e, 0, name, 0x23 /* DW_FORM_rnglistx, with no section */, 0, 0,
		dieSpecified, 0x2e, 0, specification, ref4, low, address, high, data8, 0, 0,
		0,
	}
	sections := map[string][]byte{"abbrev": abbrev, "info": h.info, "line": h.line, "ranges": make([]byte, 16)}
	d, err := newDWARFIndex(sections, binary.LittleEndian, spanTable{{lo: 0x1000, hi: 0x2000}})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestCyclicOrigin(t *testing.T) {
	h := newHandmade()
	a := h.reference(0)
	b := h.reference(a)
	binary.LittleEndian.PutUint32(h.info[a+1:], uint32(b))
	h.function("f", 0x1000, 0x100)
	h.inlined(a, 0x1010, 0x10, 7)
	h.end(2)
	d := h.index(t)
	frames := d.frames(0x1010)
	if len(frames) != 2 || !frames[0].Inlined || frames[1].Function != "f" || frames[1].Line != 7 {
		t.Errorf("frames: %+v", frames)
	}
	if s := d.statistics(); s.Errors != 1 {
		t.Errorf("a cycle is %d errors: %+v", s.Errors, s)
	}
}

// TestSpecification takes the name from a declaration, as methods have it.
func TestSpecification(t *testing.T) {
	h := newHandmade()
	declared := h.function("method", 0, 0)
	h.end(1)
	h.specified(declared, 0x1000, 0x10)
	if frames := h.index(t).frames(0x1000); len(frames) != 1 || frames[0].Function != "method" {
		t.Errorf("frames: %+v", frames)
	}
}

func TestDeepInlines(t *testing.T) {
	h := newHandmade()
	f := h.function("f", 0x1000, 0x100)
	for range 100 {
		h.inlined(f, 0x1000, 0x100, 1)
	}
	h.end(101)
	d := h.index(t)
	if n := len(d.frames(0x1000)); n != maxInlineDepth {
		t.Errorf("%d frames, want %d", n, maxInlineDepth)
	}
	if s := d.statistics(); s.DeepInlines != 100-maxInlineDepth+1 || s.Errors != 0 {
		t.Errorf("stats: %+v", s)
	}
}

// TestDeepTree has more levels than a recursive walk has stack.
func TestDeepTree(t *testing.T) {
	const depth = 5_000_000
	h := newHandmade()
	h.function("before", 0x1000, 0x10)
	h.end(1)
	for range depth {
		h.info = append(h.info, dieStructure)
	}
	h.end(depth)
	h.function("after", 0x1010, 0x10)
	h.end(1)
	d := h.index(t)
	for pc, want := range map[uint64]string{0x1000: "before", 0x1010: "after"} {
		if frames := d.frames(pc); len(frames) != 1 || frames[0].Function != want {
			t.Errorf("frames of %#x: %+v, want %s (%+v)", pc, frames, want, d.stats)
		}
	}
}

// TestBadEntries checks that what precedes or surrounds a bad entry is kept.
func TestBadEntries(t *testing.T) {
	h := newHandmade()
	h.function("f", 0x1000, 0x10)
	h.end(1)
	h.info = append(h.info, dieBadRanges, 'b', 0, 0xff, 0xff, 0, 0)
	h.function("g", 0x1010, 0x10)
	h.end(1)
	h.info = append(h.info, dieUnreadable, 1)
	h.function("h", 0x1020, 0x10)
	h.end(1)
	d := h.index(t)
	for pc, want := range map[uint64]string{0x1000: "f", 0x1010: "g", 0x1020: ""} {
		if frames := d.frames(pc); len(frames) != 1 || frames[0].Function != want {
			t.Errorf("frames of %#x: %+v, want %q", pc, frames, want)
		}
	}
	if s := d.statistics(); s.Errors != 2 || s.FirstError == nil {
		t.Errorf("stats: %+v, want 2 errors", s)
	}
}

// TestDiscarded checks that functions at 0, which the linker discarded, do not
// hide others.
func TestDiscarded(t *testing.T) {
	h := newHandmade()
	h.function("discarded", 0, 0x10000)
	h.end(1)
	h.function("f", 0x1000, 0x10)
	h.end(1)
	d := h.index(t)
	if frames := d.frames(0x1000); len(frames) != 1 || frames[0].Function != "f" {
		t.Errorf("frames: %+v", frames)
	}
	if frames := d.frames(0x1800); len(frames) != 1 || frames[0].Function != "" {
		t.Errorf("frames between functions: %+v", frames)
	}
}

func TestUnitHeader(t *testing.T) {
	tests := []struct {
		name      string
		info      []byte
		root, end int
		ok        bool
	}{
		{"DWARF 4", []byte{8, 0, 0, 0, 4, 0, 0, 0, 0, 0, 8, 1}, 11, 12, true},
		{"DWARF 5", []byte{9, 0, 0, 0, 5, 0, 1, 8, 0, 0, 0, 0, 1}, 12, 13, true},
		{"skeleton", append([]byte{17, 0, 0, 0, 5, 0, 4, 8}, make([]byte, 13)...), 20, 21, true},
		{"type", append([]byte{21, 0, 0, 0, 5, 0, 2, 8}, make([]byte, 17)...), 24, 25, true},
		{"64-bit", append([]byte{255, 255, 255, 255, 12, 0, 0, 0, 0, 0, 0, 0, 4, 0}, make([]byte, 10)...), 23, 24, true},
		{"no length", []byte{8, 0, 0}, 0, 0, false},
		{"no 64-bit length", []byte{255, 255, 255, 255, 12, 0, 0, 0}, 0, 0, false},
		{"too long", []byte{9, 0, 0, 0, 4, 0, 0, 0, 0, 0, 8, 1}, 0, 0, false},
		{"too short", []byte{3, 0, 0, 0, 4, 0, 0}, 0, 0, false},
		{"huge", []byte{255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 4, 0}, 0, 0, false},
	}
	for _, test := range tests {
		root, end, ok := unitHeader(test.info, 0, binary.LittleEndian)
		if ok != test.ok || ok && (root != test.root || end != test.end) {
			t.Errorf("%s: %d, %d, %v, want %d, %d, %v", test.name, root, end, ok, test.root, test.end, test.ok)
		}
	}
}

func TestSplitDWARF(t *testing.T) {
	for _, test := range []struct{ compiler, flags string }{
		{"gcc", "-g -gdwarf-5 -gsplit-dwarf -O2"},
		{"gcc", "-g -gdwarf-4 -gsplit-dwarf -O2"},
		{"clang", "-g -gdwarf-5 -gsplit-dwarf -O2"},
		{"clang", "-g -gdwarf-4 -gsplit-dwarf -O2"},
	} {
		m := open(t, build(t, test.compiler, test.flags))
		if err := m.DWARFError(); m.HasDWARF() || !errors.Is(err, ErrSplitDWARF) {
			t.Errorf("%v: HasDWARF %v: %v", test, m.HasDWARF(), err)
			continue
		}
		f := m.Frames(symbolAddress(t, m, "levels"), false)
		if !m.HasLines() || len(f) != 1 || f[0].Function != "levels" || f[0].Source != SourceSymbol || f[0].Line == 0 {
			t.Errorf("%v: HasLines %v, frame of levels: %+v", test, m.HasLines(), f)
		}
	}
}
