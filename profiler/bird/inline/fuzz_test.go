// SPDX-License-Identifier: Apache-2.0

package inline

import (
	"bytes"
	"debug/elf"
	"os"
	"strings"
	"testing"
)

// smallPrograms are without the C library.
func smallPrograms(f *testing.F) [][]byte {
	f.Helper()
	var programs [][]byte
	for _, shape := range []struct{ compiler, flags string }{
		{"gcc", "-g -gdwarf-5 -O2"},
		{"gcc", "-gdwarf-4 -O2 -flto -flto-partition=max"},
		{"gcc", "-g -O2 -gz -gvariable-location-views=incompat5"},
		{"clang", "-g -gdwarf-5 -O2"},
		{"clang", "-g -gdwarf-4 -O2"},
	} {
		data, err := os.ReadFile(build(f, shape.compiler, shape.flags+" -shared -fPIC -nostdlib"))
		if err != nil {
			f.Fatal(err)
		}
		programs = append(programs, data)
	}
	return programs
}

// findAll asks for everything, and checks what callers may rely on.
func findAll(t *testing.T, data []byte) {
	f, err := elf.NewFile(bytes.NewReader(data))
	if err != nil {
		return
	}
	for _, list := range OutOfLine(f, names...) {
		for _, b := range list {
			b.Has(Part)
		}
	}
	found, _ := Find(f, names...)
	for name, list := range found {
		for _, in := range list {
			if in.Function != name || in.Problem == "" && (in.Entry == 0 || in.By == 0 || in.Entry < in.Start) {
				t.Errorf("%+v", in)
			}
			if in.Once && (in.Problem != "" || in.Doubt != "") {
				t.Errorf("%+v", in)
			}
			for _, a := range in.Args {
				switch {
				case (a.Kind == Unknown) != (a.Why != ""), a.Size < 0, a.Register < LoadBias, a.Register > lastGeneralRegister:
					t.Errorf("%+v", a)
				}
			}
		}
	}
}

// FuzzFind feeds whole files.
func FuzzFind(f *testing.F) {
	for _, data := range smallPrograms(f) {
		f.Add(data)
	}
	f.Fuzz(findAll)
}

// FuzzSections overwrites bytes in a debug section or symbol table of a
// program, which gets deeper than what changes whole files at random.
func FuzzSections(f *testing.F) {
	programs := smallPrograms(f)
	for i := range programs {
		f.Add(uint8(i), uint8(0), uint16(0), []byte{})
		f.Add(uint8(i), uint8(2), uint16(100), []byte{0xff, 0xff, 0xff, 0xff})
		f.Add(uint8(i), uint8(5), uint16(30), []byte{0x80})
	}
	f.Fuzz(func(t *testing.T, program, section uint8, offset uint16, patch []byte) {
		data := bytes.Clone(programs[int(program)%len(programs)])
		file, err := elf.NewFile(bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		var sections []*elf.Section
		for _, s := range file.Sections {
			if s.FileSize > 0 && (s.Type == elf.SHT_SYMTAB || strings.HasPrefix(s.Name, ".debug_")) {
				sections = append(sections, s)
			}
		}
		s := sections[int(section)%len(sections)]
		copy(data[s.Offset+uint64(offset)%s.FileSize:s.Offset+s.FileSize], patch)
		findAll(t, data)
	})
}

// FuzzLocations parses location lists of both versions and evaluates what they
// hold.
func FuzzLocations(f *testing.F) {
	f.Add(uint16(5), []byte(list{}.u8(lleOffsetPair).uleb(0, 8).reg(1).u8(0)), int16(-1), uint64(0x1000), uint8(0))
	f.Add(uint16(5), []byte(list{}.u8(lleGNUViewPair).uleb(3, 4).u8(lleStartxEndx).uleb(0, 0).reg(1).u8(0)), int16(2), uint64(0x1000), uint8(3))
	f.Add(uint16(5), []byte(list{}.u8(lleDefaultLocation).uleb(4).u8(opFbreg).u8(0x68).u8(opDeref).u8(opStackValue).u8(0)), int16(0), uint64(0), uint8(0))
	f.Add(uint16(4), []byte(list{}.u64(0).u64(16).reg4(3).u64(0).u64(0)), int16(0), uint64(0x1008), uint8(1))
	f.Fuzz(func(t *testing.T, version uint16, section []byte, views int16, pc uint64, view uint8) {
		s := &sections{loc: section, loclists: section, addr: section}
		u := &unit{version: version, offsetSize: 4, base: 0x1000, loclistsBase: 0}
		left := budget(1 << 16)
		found, err := u.locations(s, 0, int64(views), &left)
		if err != nil {
			return
		}
		if len(found) > len(section) {
			t.Fatalf("%d locations in %d bytes", len(found), len(section))
		}
		ev := evaluator{unit: u, sections: s, frameBase: func() (term, error) { return term{base: CFA}, nil }}
		for _, expression := range at(found, point{pc, uint64(view)}) {
			if a, err := ev.evaluate(expression); err == nil && (a.Register < LoadBias || a.Register > lastGeneralRegister) {
				t.Errorf("%+v", a)
			}
		}
	})
}

// FuzzEvaluate evaluates location expressions.
func FuzzEvaluate(f *testing.F) {
	for _, expression := range [][]byte{
		{opReg0 + 5}, {opBreg0 + 7, 8}, {opBreg0 + 3, 8, opDeref, opPlusUconst, 1, opStackValue},
		{opFbreg, 0x68}, {opAddr, 0, 1, 0, 0, 0, 0, 0, 0, opStackValue}, {opImplicitValue, 2, 1, 2},
		{opReg0, opPiece, 4, opReg0 + 1, opPiece, 4}, {opLit0, opBregx, 14, 0xff, 0x7e, opPlus},
	} {
		f.Add(expression)
	}
	f.Fuzz(func(t *testing.T, expression []byte) {
		ev := evaluator{unit: &unit{}, sections: &sections{addr: make([]byte, 16)}}
		a, err := ev.evaluate(expression)
		if err == nil && (a.Register < LoadBias || a.Register > lastGeneralRegister) {
			t.Errorf("%+v", a)
		}
	})
}

// FuzzUnit parses unit headers.
func FuzzUnit(f *testing.F) {
	f.Add([]byte{8, 0, 0, 0, 5, 0, 1, 8, 0, 0, 0, 0})
	f.Add([]byte{8, 0, 0, 0, 4, 0, 0, 0, 0, 0, 8, 0})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 12, 0, 0, 0, 0, 0, 0, 0, 5, 0, 4, 8, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, info []byte) {
		for off := 0; off < len(info); {
			u, err := parseUnit(info, off)
			if err == nil && (u.root < 0 || u.root > u.end || int(u.end) > len(info) || int(u.end) <= off) {
				t.Fatalf("unit %+v of %d bytes", u, len(info))
			}
			if int(u.end) <= off {
				return
			}
			off = int(u.end)
		}
	})
}
