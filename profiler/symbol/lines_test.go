// SPDX-License-Identifier: Apache-2.0

package symbol

import (
	"debug/dwarf"
	"encoding/binary"
	"testing"
)

// lineHeader is a DWARF 5 line program header with one directory of
// DW_FORM_string and the given table of files.
func lineHeader(files ...byte) []byte {
	h := []byte{
		0, 0, 0, 0, // length
		5, 0, 8, 0, // version, sizes
		0, 0, 0, 0, // header_length
		1, 1, 1, 0xfb, 14, // up to line_range
		4, 0, 1, 1, // opcode_base, lengths of three opcodes
		1, 1, 0x08, // directory format: path as string
		1, '/', 0, // one directory
	}
	return append(h, files...)
}

// lineProgram makes the header a complete program without instructions.
func lineProgram(header []byte) []byte {
	binary.LittleEndian.PutUint32(header, uint32(len(header)-4))
	binary.LittleEndian.PutUint32(header[8:], uint32(len(header)-12))
	return header
}

// TestHugeLineHeader claims more files than there is memory for.
func TestHugeLineHeader(t *testing.T) {
	for _, test := range []struct {
		files  string
		errors int
	}{
		{"\x00\x00", 0},
		{"\x01\x01\x08\xff\xff\xff\xff\xff\x7f", 1},
	} {
		h := newHandmade()
		h.line = lineProgram(lineHeader([]byte(test.files)...))
		h.function("f", 0x1000, 0x10)
		h.end(1)
		d := h.index(t)
		if frames := d.frames(0x1000); len(frames) != 1 || frames[0].Function != "f" {
			t.Errorf("files %q: frames %+v", test.files, frames)
		}
		if s := d.statistics(); s.Errors != test.errors {
			t.Errorf("files %q: %+v, want %d errors", test.files, s, test.errors)
		}
	}
}

func TestCheckLineHeader(t *testing.T) {
	const huge = "\xff\xff\xff\xff\xff\x7f"
	tests := []struct {
		name  string
		files []byte
		ok    bool
	}{
		{"no files", []byte{0, 0}, true},
		{"one file", []byte{2, 1, 0x1f, 2, 0x0b, 1, 0, 0, 0, 0, 0}, true},
		{"MD5 and strx", []byte{2, 5, 0x1e, 1, 0x25, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}, true},
		{"block", []byte{1, 0x81, 0x40, 0x09, 1, 2, 0, 0}, true},
		{"too many", append([]byte{1, 1, 0x08}, huge...), false},
		{"too many of nothing", append([]byte{0}, huge...), false},
		{"no string end", []byte{1, 1, 0x08, 1, 'a'}, false},
		{"unknown form", []byte{1, 1, 0x01, 1, 0, 0, 0, 0, 0, 0, 0, 0}, false},
		{"huge block", append(append([]byte{1, 1, 0x09, 1}, huge...), 0), false},
		{"truncated", []byte{2, 1}, false},
		{"nothing", nil, false},
	}
	for _, test := range tests {
		header := lineHeader(test.files...)
		if err := checkLineHeader(header, 0, binary.LittleEndian); (err == nil) != test.ok {
			t.Errorf("%s: %v", test.name, err)
		}
	}
	for _, off := range []int64{-1, 1000} {
		if err := checkLineHeader(lineHeader(0, 0), off, binary.LittleEndian); err == nil {
			t.Errorf("offset %d: no error", off)
		}
	}
}

func TestFileNames(t *testing.T) {
	root := &dwarf.Entry{Field: []dwarf.Field{
		{Attr: dwarf.AttrCompDir, Val: "/src"},
		{Attr: dwarf.AttrName, Val: "/other/main.c"},
	}}
	files := []*dwarf.LineFile{
		nil,
		{Name: "/src/other/main.c"}, // as debug/dwarf joins it
		{Name: "nest/../lib/resource.c"},
		{Name: "/usr/include//stdio.h"},
		{Name: "/src/proto/bmp.c"},
	}
	want := []string{"", "/other/main.c", "/src/lib/resource.c", "/usr/include/stdio.h", "/src/proto/bmp.c"}
	var table lineTable
	index := table.setFiles(files, root)
	for i := range files {
		if got := table.file(i); got != want[i] {
			t.Errorf("file %d is %q, want %q", i, got, want[i])
		}
		if files[i] != nil && index[files[i]] != int32(i) {
			t.Errorf("index of %q is %d, want %d", files[i].Name, index[files[i]], i)
		}
	}
	for _, i := range []int{-1, len(files)} {
		if got := table.file(i); got != "" {
			t.Errorf("file %d is %q", i, got)
		}
	}
}
