// SPDX-License-Identifier: Apache-2.0

package symbol

import (
	"bytes"
	"debug/elf"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// smallPrograms returns programs of a few kilobytes, without the C library.
func smallPrograms(t testing.TB) [][]byte {
	t.Helper()
	var programs [][]byte
	for _, test := range []struct{ compiler, flags string }{
		{"gcc", "-g -gdwarf-5 -O2"},
		{"gcc", "-g -gdwarf-4 -O2 -flto -flto-partition=max"},
		{"gcc", "-g -gdwarf-5 -O2 -gz"},
		{"clang", "-g -gdwarf-5 -O2"},
		{"clang", "-g -gdwarf-4 -O2"},
		{"gcc", "-O2 -s"},
	} {
		path := filepath.Join(t.TempDir(), "prog")
		args := append(strings.Fields(test.flags), "-shared", "-fPIC", "-nostdlib", "testdata/chain.c", "testdata/chain2.c", "-o", path)
		run(t, "", test.compiler, "", test.compiler, args...)
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		programs = append(programs, data)
	}
	return programs
}

// resolveSome asks for addresses wherever the file says that there is something.
func resolveSome(t testing.TB, m *Module) {
	const most = 32
	tables := []spanTable{m.text, m.symbols.spans, m.dynamic.spans, m.plt.spans}
	if m.dwarf != nil {
		tables = append(tables, m.dwarf.spans)
	}
	for i := 0; i < len(tables); i++ {
		for j, s := range tables[i] {
			if j == most {
				break
			}
			for _, pc := range []uint64{s.lo, s.hi} {
				frames := m.Frames(pc, pc == s.hi)
				if len(frames) == 0 || len(frames) > maxInlineDepth {
					t.Fatalf("%d frames at %#x", len(frames), pc)
				}
				for k, f := range frames {
					if f.Function == "" || f.Address != pc || f.Inlined != (k < len(frames)-1) {
						t.Fatalf("frame %d of %d at %#x: %+v", k, len(frames), pc, f)
					}
				}
			}
		}
		if i == len(tables)-1 && m.dwarf != nil && len(tables) < 12 {
			for _, u := range m.dwarf.units {
				if len(tables) < 12 {
					tables = append(tables, u.spans, u.lines.spans)
				}
			}
		}
	}
}

// FuzzOpen feeds whole files.
func FuzzOpen(f *testing.F) {
	for _, data := range smallPrograms(f) {
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := Open(bytes.NewReader(data), "prog")
		if err != nil {
			return
		}
		resolveSome(t, m)
	})
}

// FuzzDebugSections overwrites bytes in a debug section or symbol table of a
// program, which gets deeper than what changes whole files at random.
func FuzzDebugSections(f *testing.F) {
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
			symbols := s.Type == elf.SHT_SYMTAB || s.Type == elf.SHT_DYNSYM || s.Type == elf.SHT_RELA || s.Type == elf.SHT_NOTE
			if s.FileSize > 0 && (symbols || strings.HasPrefix(s.Name, ".debug_")) {
				sections = append(sections, s)
			}
		}
		s := sections[int(section)%len(sections)]
		copy(data[s.Offset+uint64(offset)%s.FileSize:s.Offset+s.FileSize], patch)
		m, err := Open(bytes.NewReader(data), "prog")
		if err != nil {
			return
		}
		resolveSome(t, m)
	})
}
