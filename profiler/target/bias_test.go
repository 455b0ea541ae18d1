// SPDX-License-Identifier: Apache-2.0

package target

import (
	"debug/elf"
	"testing"
)

// TestLoadBias: a segment may begin inside a page, and a mapping show only
// the later pages of one.
func TestLoadBias(t *testing.T) {
	const at = 0x7f0000000000
	segment := func(off, vaddr, size uint64, flags elf.ProgFlag) *elf.Prog {
		return &elf.Prog{ProgHeader: elf.ProgHeader{Type: elf.PT_LOAD, Flags: flags, Off: off, Vaddr: vaddr, Filesz: size, Memsz: size}}
	}
	for _, c := range []struct {
		name   string
		text   *elf.Prog
		offset uint64 // of the mapping
		want   uint64
		ok     bool
	}{
		{"a page of its own", segment(0x1000, 0x1000, 0x500, elf.PF_X), 0x1000, at - 0x1000, true},
		{"inside a page, as lld does", segment(0x1710, 0x2710, 0x5000, elf.PF_X), 0x1000, at - 0x2000, true},
		{"its third page", segment(0x1710, 0x2710, 0x5000, elf.PF_X), 0x3000, at - 0x4000, true},
		{"at a fixed address", segment(0x1000, at, 0x500, elf.PF_X), 0x1000, 0, true},
		{"another part of the file", segment(0x1000, 0x1000, 0x500, elf.PF_X), 0x8000, 0, false},
		{"not executable", segment(0x1000, 0x1000, 0x500, elf.PF_R), 0x1000, 0, false},
	} {
		f := &elf.File{Progs: []*elf.Prog{segment(0, 0, 0x800, elf.PF_R), c.text}}
		got, ok := loadBias(f, Mapping{Start: at, End: at + 0x1000, Offset: c.offset, Exec: true})
		if ok != c.ok || got != c.want {
			t.Errorf("%s: bias 0x%x, %v; want 0x%x, %v", c.name, got, ok, c.want, c.ok)
		}
	}
}
