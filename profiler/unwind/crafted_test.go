// SPDX-License-Identifier: Apache-2.0

package unwind

import (
	"debug/elf"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
)

// frames builds an .eh_frame or .debug_frame by hand.
type frames struct {
	debug bool // .debug_frame's format
	wide  bool // 64-bit DWARF lengths
	b     []byte
}

// craftedAddr is where a crafted section is loaded.
const craftedAddr = 0x100000

func (f *frames) entry(id uint64, relative bool, body []byte) int {
	off := len(f.b)
	idSize := 4
	if f.wide {
		f.b = binary.LittleEndian.AppendUint32(f.b, 0xffffffff)
		if f.debug {
			idSize = 8
		}
		f.b = binary.LittleEndian.AppendUint64(f.b, uint64(len(body)+idSize))
	} else {
		f.b = binary.LittleEndian.AppendUint32(f.b, uint32(len(body)+idSize))
	}
	if relative {
		id = uint64(len(f.b)) - id
	}
	if idSize == 8 {
		f.b = binary.LittleEndian.AppendUint64(f.b, id)
	} else {
		f.b = binary.LittleEndian.AppendUint32(f.b, uint32(id))
	}
	f.b = append(f.b, body...)
	return off
}

// cie appends a CIE with code alignment 1, data alignment -8, and as initial
// instructions rsp+8, ra=c-8. augData includes its length.
func (f *frames) cie(version byte, aug string, augData ...byte) int {
	body := append([]byte{version}, aug...)
	body = append(body, 0)
	if version == 4 {
		body = append(body, 8, 0)
	}
	body = append(body, 1, 0x78, regRA)
	body = append(body, augData...)
	body = append(body, cfaDefCFA, regRSP, 8, cfaOffset|regRA, 1)
	id := uint64(0)
	if f.debug {
		id = 1<<64 - 1
	}
	return f.entry(id, false, body)
}

// fde appends an FDE with absolute addresses of 8 bytes.
func (f *frames) fde(cie int, lo, size uint64, code ...byte) {
	body := binary.LittleEndian.AppendUint64(nil, lo)
	body = binary.LittleEndian.AppendUint64(body, size)
	f.entry(uint64(cie), !f.debug, append(body, code...))
}

// simple starts a section with a CIE without augmentation, at offset 0.
func simple() *frames {
	f := &frames{}
	f.cie(1, "")
	return f
}

// anyImage has everything executable and an entry point that is not known.
func anyImage() *image {
	return &image{file: &elf.File{}, exec: []elf.ProgHeader{{Memsz: 1 << 62}}}
}

func (f *frames) build(im *image) (*Table, error) {
	return build(im, []*frameSection{{name: "crafted", data: f.b, addr: craftedAddr, eh: !f.debug}}, defaultLimits)
}

// text writes a table as "pc rule; pc rule".
func (t *Table) text() string {
	var rows []string
	for _, r := range t.Rows {
		rows = append(rows, fmt.Sprintf("%x %v", r.PC, t.Rules[r.Rule]))
	}
	return strings.Join(rows, "; ")
}

// def is DW_CFA_def_cfa_offset n.
func def(n byte) []byte { return []byte{cfaDefCFAOffset, n} }

func code(parts ...any) (b []byte) {
	for _, p := range parts {
		switch p := p.(type) {
		case int:
			b = append(b, byte(p))
		case []byte:
			b = append(b, p...)
		}
	}
	return b
}

// TestSections reads crafted sections whole.
func TestSections(t *testing.T) {
	const f1000 = "1000 rsp+8 ra=c-8; 1010 undefined"
	for _, tt := range []struct {
		name string
		make func() *frames
		want string // the table, or "error: " and a part of the error
		bad  int    // Stats.BadFDEs
		gone int    // Stats.DiscardedFDEs
	}{
		{name: "one", want: f1000, make: func() *frames {
			f := simple()
			f.fde(0, 0x1000, 16)
			return f
		}},
		{name: "64-bit lengths", want: f1000, make: func() *frames {
			f := &frames{wide: true}
			f.fde(f.cie(1, ""), 0x1000, 16)
			return f
		}},
		{name: "64-bit .debug_frame", want: f1000, make: func() *frames {
			f := &frames{wide: true, debug: true}
			f.fde(f.cie(3, ""), 0x1000, 16)
			return f
		}},
		{name: "CIE after its FDE", want: f1000, make: func() *frames {
			f := &frames{debug: true}
			f.fde(24, 0x1000, 16)
			f.cie(4, "")
			return f
		}},
		{name: "CIE version 3", want: f1000, make: func() *frames {
			f := &frames{}
			f.fde(f.cie(3, ""), 0x1000, 16)
			return f
		}},
		{name: "CIE version 4", want: f1000, make: func() *frames {
			f := &frames{}
			f.fde(f.cie(4, ""), 0x1000, 16)
			return f
		}},
		{name: "CIE version 2", want: "error: CIE version 2 is not known", make: func() *frames {
			f := &frames{}
			f.fde(f.cie(2, ""), 0x1000, 16)
			return f
		}},
		{name: "terminators between", want: "1000 rsp+8 ra=c-8; 1010 undefined; 2000 rsp+8 ra=c-8; 2010 undefined", make: func() *frames {
			f := simple()
			f.fde(0, 0x1000, 16)
			f.b = append(f.b, 0, 0, 0, 0)
			f.fde(f.cie(1, ""), 0x2000, 16)
			f.b = append(f.b, 0, 0, 0, 0, 0)
			return f
		}},
		{name: "personality and LSDA", want: f1000, make: func() *frames {
			f := &frames{}
			c := f.cie(1, "zPLR", 11, peUdata8|peIndirect, 1, 2, 3, 4, 5, 6, 7, 8, peSdata4, peAbsptr)
			f.fde(c, 0x1000, 16, 4, 1, 2, 3, 4)
			return f
		}},
		{name: "aligned personality", want: f1000, make: func() *frames {
			f := &frames{}
			// The encoding is at offset 17, so the pointer is at 24.
			c := f.cie(1, "zPR", 16, peAligned, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, peAbsptr, 0)
			f.fde(c, 0x1000, 16, 0)
			return f
		}},
		{name: "eh augmentation", want: `error: CIE augmentation "eh" of gcc before 3.0 is not known`, make: func() *frames {
			f := &frames{}
			f.fde(f.cie(1, "eh", 0, 0, 0, 0, 0, 0, 0, 0), 0x1000, 16)
			return f
		}},
		{name: "unknown augmentation", want: f1000, bad: 2, make: func() *frames {
			f := simple()
			f.fde(f.cie(1, "zXR", 1, 0), 0x3000, 16)
			f.fde(0, 0x1000, 16)
			f.fde(f.cie(1, "R", 1), 0x3000, 16)
			return f
		}},
		{name: "CIE pointer to no CIE", want: f1000, bad: 1, make: func() *frames {
			f := simple()
			f.fde(0, 0x1000, 16)
			f.fde(4, 0x2000, 16)
			return f
		}},
		{name: "no frames", want: "error: " + ErrNoFrames.Error(), make: simple},
		{name: "length over the end", want: "error: entry at 0x12 is longer than the section", make: func() *frames {
			f := simple()
			f.fde(0, 0x1000, 16)
			f.b = f.b[:len(f.b)-1]
			return f
		}},
		{name: "64-bit length over the end", want: "error: longer than the section", make: func() *frames {
			return &frames{b: []byte{255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 127, 0, 0, 0, 0}}
		}},
		{name: "entry without id", want: "error: entry at 0x0 is too short", make: func() *frames {
			return &frames{b: []byte{2, 0, 0, 0, 0, 0, 0, 0}}
		}},
		{name: "empty and unmapped", want: f1000, gone: 2, make: func() *frames {
			f := simple()
			f.fde(0, 0x2000, 0)
			f.fde(0, 0x1000, 16)
			f.fde(0, 0, 16) // TestSections' image begins at 0x100
			return f
		}},
		{name: "4 GiB", want: "ffffff00 rsp+8 ra=c-8", bad: 2, make: func() *frames {
			f := simple()
			f.fde(0, 0xffffff00, 0x100)
			f.fde(0, 0xffffff00, 0x101)
			f.fde(0, 1<<32, 16)
			return f
		}},
		{name: "negative range", want: f1000, bad: 1, make: func() *frames {
			f := simple()
			f.fde(0, 0x1000, 16)
			f.fde(0, 0x2000, 1<<64-16)
			return f
		}},
		{name: "adjacent and equal", want: f1000, make: func() *frames {
			f := simple()
			f.fde(0, 0x1008, 8)
			f.fde(0, 0x1000, 8)
			return f
		}},
		{name: "duplicates", want: f1000, make: func() *frames {
			f := simple()
			f.fde(0, 0x1000, 16)
			f.fde(0, 0x1000, 16, def(16)...)
			return f
		}},
		{name: "same beginning, second longer", want: "1000 rsp+8 ra=c-8; 1010 rsp+16 ra=c-8; 1020 undefined", make: func() *frames {
			f := simple()
			f.fde(0, 0x1000, 16)
			f.fde(0, 0x1000, 32, def(16)...)
			return f
		}},
		{name: "nested", want: "1000 rsp+24 ra=c-8; 1004 rsp+8 ra=c-8; 1010 rsp+32 ra=c-8; 1020 undefined", make: func() *frames {
			f := simple()
			f.fde(0, 0x1004, 12)
			f.fde(0, 0x1000, 32, code(def(24), cfaAdvanceLoc|8, def(32))...)
			return f
		}},
		{name: "staggered", want: "1000 rsp+24 ra=c-8; 1008 rsp+16 ra=c-8; 1018 undefined", make: func() *frames {
			f := simple()
			f.fde(0, 0x1000, 16, def(24)...)
			f.fde(0, 0x1008, 16, def(16)...)
			return f
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			im := anyImage()
			im.exec[0].Vaddr = 0x100
			got, err := tt.make().build(im)
			if want, isErr := strings.CutPrefix(tt.want, "error: "); isErr {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Fatalf("got error %v, want %s", err, want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got.text() != tt.want {
				t.Errorf("got  %s\nwant %s", got.text(), tt.want)
			}
			if got.Stats.BadFDEs != tt.bad || got.Stats.DiscardedFDEs != tt.gone {
				t.Errorf("%d bad FDEs (%v), %d discarded; want %d, %d",
					got.Stats.BadFDEs, got.Stats.FirstBad, got.Stats.DiscardedFDEs, tt.bad, tt.gone)
			}
		})
	}
}

// TestTerminator finds the end of an .eh_frame whose size nothing says.
func TestTerminator(t *testing.T) {
	f := simple()
	f.fde(0, 0x1000, 16)
	end := uint64(len(f.b))
	for _, tt := range []struct {
		name string
		data []byte
		want uint64
	}{
		{"terminated", append(f.b[:end:end], 0, 0, 0, 0, 1, 2, 3, 4), end},
		{"64-bit length first", append([]byte("\xff\xff\xff\xff\x04\x00\x00\x00\x00\x00\x00\x00abcd"), 0, 0, 0, 0, 5), 16},
		{"not terminated", f.b, end},
		{"length over the end", append(f.b[:end:end], 9, 0, 0, 0, 1), end + 5},
	} {
		if got := terminator(tt.data, 0); got != tt.want {
			t.Errorf("%s: got %d, want %d", tt.name, got, tt.want)
		}
	}
}

// TestBadInstructions makes sure that an FDE with bad instructions is an
// unsupported range, whatever came before in it, and leaves the others alone.
func TestBadInstructions(t *testing.T) {
	for _, tt := range []struct {
		name string
		code []byte
		want string
	}{
		{"unknown instruction", []byte{0x3f}, "unknown call frame instruction 0x3f"},
		{"restore without remember", []byte{cfaRestoreState}, "no remembered state"},
		{"remember without end", []byte(strings.Repeat("\x0a", maxRemembered+1)), "over 64 remembered states"},
		{"long expression", append([]byte{cfaDefCFAExpression, 0x81, 8}, make([]byte, 1025)...), "expression of 1025 bytes"},
		{"truncated expression", []byte{cfaDefCFAExpression, 3, 0x77, 8}, "truncated"},
		{"truncated register expression", []byte{cfaExpression, 3, 3, 0x77, 8}, "truncated"},
		{"truncated value expression", []byte{cfaValExpression, 3, 3, 0x77, 8}, "truncated"},
		{"truncated operand", []byte{cfaDefCFAOffset}, "truncated"},
		{"truncated advance", []byte{cfaAdvanceLoc4, 1, 0, 0}, "truncated"},
		{"unterminated LEB128", []byte{cfaDefCFAOffset, 0x80, 0x80}, "truncated"},
		{"oversized LEB128", []byte{cfaDefCFAOffset, 255, 255, 255, 255, 255, 255, 255, 255, 255, 127}, "oversized"},
		{"huge offset", []byte{cfaDefCFAOffset, 0x80, 0x80, 0x80, 0x80, 0x08}, "out of range"},
		{"huge factored offset", []byte{cfaOffset | regRBX, 0x80, 0x80, 0x80, 0x80, 0x08}, "out of range"},
		{"huge negative offset", []byte{cfaGNUNegOffsetExtended, 3, 0x80, 0x80, 0x80, 0x80, 0x08}, "out of range"},
		{"backwards", []byte{cfaSetLoc, 0, 0x10, 0, 0, 0, 0, 0, 0}, "backwards"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			good := code(def(16), cfaAdvanceLoc|1, def(24), cfaAdvanceLoc|1, def(32))
			f := simple()
			f.fde(0, 0x1000, 16)
			f.fde(0, 0x2000, 16, append(good, tt.code...)...)
			f.fde(0, 0x2010, 16)
			got, err := f.build(anyImage())
			if err != nil {
				t.Fatal(err)
			}
			want := "1000 rsp+8 ra=c-8; 1010 undefined; 2000 unsupported; 2010 rsp+8 ra=c-8; 2020 undefined"
			if got.text() != want {
				t.Errorf("got  %s\nwant %s", got.text(), want)
			}
			if got.Stats.BadFDEs != 1 || got.Stats.Unsupported[ReasonMalformed] != 1 ||
				!strings.Contains(fmt.Sprint(got.Stats.FirstBad), tt.want) {
				t.Errorf("%d bad FDEs, first %v, unsupported %v; want 1 for %s",
					got.Stats.BadFDEs, got.Stats.FirstBad, got.Stats.Unsupported, tt.want)
			}
		})
	}
}

// TestSetLoc has DW_CFA_set_loc, which no assembler writes for x86-64.
func TestSetLoc(t *testing.T) {
	f := simple()
	f.fde(0, 0x1000, 64, code(cfaSetLoc, 0x20, 0x10, 0, 0, 0, 0, 0, 0, def(16), cfaSetLoc, 0x50, 0x10, 0, 0, 0, 0, 0, 0, def(24))...)
	got, err := f.build(anyImage())
	if err != nil {
		t.Fatal(err)
	}
	want := "1000 rsp+8 ra=c-8; 1020 rsp+16 ra=c-8; 1040 undefined" // the second is beyond the FDE
	if got.text() != want {
		t.Errorf("got  %s\nwant %s", got.text(), want)
	}
}

// TestLimits exceeds what one file may have.
func TestLimits(t *testing.T) {
	f := simple()
	f.fde(f.cie(1, ""), 0x1000, 16, code(def(16), cfaAdvanceLoc|1, def(24), cfaAdvanceLoc|1, def(16))...)
	sections := []*frameSection{{name: "crafted", data: f.b, addr: craftedAddr, eh: true}}
	// 2 CIEs, 3 rows and with the gap's 4, rule 0 and 2 more.
	for _, tt := range []struct {
		max  limits
		want string
	}{
		{limits{2, 4, 3}, ""},
		{limits{1, 4, 3}, "over 1 CIEs"},
		{limits{2, 2, 3}, "over 2 rows"},
		{limits{2, 3, 3}, "over 3 rows"},
		{limits{2, 4, 2}, "over 2 different rules"},
	} {
		_, err := build(anyImage(), sections, tt.max)
		if err == nil && tt.want != "" || err != nil && (tt.want == "" || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%+v: got error %v, want %q", tt.max, err, tt.want)
		}
	}
}
