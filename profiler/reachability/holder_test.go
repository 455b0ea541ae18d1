// SPDX-License-Identifier: Apache-2.0

package reachability

import (
	"debug/elf"
	"testing"

	"leakprof/profiler/target"
)

// TestNames: words of a program are named by variable, without symbols by
// section, and never by that of thread-local storage, which shares its addresses
// with others.
func TestNames(t *testing.T) {
	section := func(name string, address, size uint64, kind elf.SectionType, flags elf.SectionFlag) *elf.Section {
		return &elf.Section{SectionHeader: elf.SectionHeader{Name: name, Addr: address, Size: size, Type: kind, Flags: flags | elf.SHF_ALLOC}}
	}
	m := &target.Module{Name: "bird", Bias: 0x100000}
	n := &names{byModule: map[*target.Module]variables{m: {
		symbols: []elf.Symbol{{Name: "first", Value: 0x2000, Size: 16}, {Name: "root_pool", Value: 0x2100, Size: 64}},
		sections: []*elf.Section{
			section(".tbss", 0x2000, 0x12000, elf.SHT_NOBITS, elf.SHF_TLS|elf.SHF_WRITE),
			section(".data", 0x2000, 0x1000, elf.SHT_PROGBITS, elf.SHF_WRITE),
			section(".bss", 0x3000, 0x1000, elf.SHT_NOBITS, elf.SHF_WRITE),
		},
	}}}
	for _, c := range []struct {
		root    root
		address uint64
		want    string
	}{
		{root{module: m}, 0x102000, "first of bird"},
		{root{module: m}, 0x102108, "root_pool+0x8 of bird"},
		{root{module: m}, 0x102010, ".data+0x10 of bird"},
		{root{module: m}, 0x103ff8, ".bss+0xff8 of bird"},
		{root{module: m}, 0x105000, "data+0x5000 of bird"},
		{root{thread: 7}, 0x7ff0, "stack of thread 7"},
		{root{thread: 7}, 0, "system call of thread 7"},
		{root{thread: 7, local: true}, 0x7ff0, "thread-local storage of thread 7"},
	} {
		if got := n.of(c.root, c.address); got != c.want {
			t.Errorf("0x%x is %q, want %q", c.address, got, c.want)
		}
	}
}
