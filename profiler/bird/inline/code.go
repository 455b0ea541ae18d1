// SPDX-License-Identifier: Apache-2.0

package inline

import (
	"bytes"
	"cmp"
	"debug/elf"
	"fmt"
	"slices"

	"golang.org/x/arch/x86/x86asm"
)

// code is a file's machine code and the symbols in it.
type code struct {
	file    *elf.File
	spans   [][2]uint64  // executable addresses, [lo, hi)
	symbols []elf.Symbol // functions by address, the largest at each
	loaded  map[*elf.Section][]byte
}

func newCode(f *elf.File) *code {
	c := &code{file: f, loaded: make(map[*elf.Section][]byte)}
	for _, s := range f.Sections {
		if s.Flags&elf.SHF_EXECINSTR != 0 && s.Flags&elf.SHF_ALLOC != 0 {
			c.spans = append(c.spans, [2]uint64{s.Addr, s.Addr + s.Size})
		}
	}
	c.symbols = slices.CompactFunc(definedFunctions(f), func(a, b elf.Symbol) bool { return a.Value == b.Value })
	return c
}

// executable reports whether there is code at addr.
func (c *code) executable(addr uint64) bool {
	return slices.ContainsFunc(c.spans, func(s [2]uint64) bool { return s[0] <= addr && addr < s[1] })
}

// symbol returns the function around addr.
func (c *code) symbol(addr uint64) (elf.Symbol, bool) {
	i, exact := slices.BinarySearchFunc(c.symbols, addr, func(s elf.Symbol, addr uint64) int { return cmp.Compare(s.Value, addr) })
	if !exact {
		i--
	}
	if i < 0 || addr-c.symbols[i].Value >= max(c.symbols[i].Size, 1) {
		return elf.Symbol{}, false
	}
	return c.symbols[i], true
}

// definedFunctions returns the functions of .symtab and then .dynsym, sorted by
// address, and largest first where several begin.
func definedFunctions(f *elf.File) []elf.Symbol {
	static, _ := f.Symbols()
	dynamic, _ := f.DynamicSymbols()
	all := slices.DeleteFunc(append(static, dynamic...), func(s elf.Symbol) bool {
		return elf.ST_TYPE(s.Info) != elf.STT_FUNC || s.Section == elf.SHN_UNDEF
	})
	slices.SortStableFunc(all, func(a, b elf.Symbol) int {
		return cmp.Or(cmp.Compare(a.Value, b.Value), cmp.Compare(b.Size, a.Size))
	})
	return all
}

// maxCode bounds the bytes decoded for one function.
const maxCode = 1 << 20

// check decodes the functions that the instances are in, and notes which
// entries are where an instruction begins.
func (c *code) check(found map[string][]Instance) {
	type group struct {
		last    uint64
		members []*Instance
	}
	groups := make(map[uint64]*group)
	for _, list := range found {
		for i := range list {
			in := &list[i]
			if in.Problem != "" || in.Entry < in.Start || in.Entry-in.Start > maxCode {
				continue
			}
			g := groups[in.Start]
			if g == nil {
				g = new(group)
				groups[in.Start] = g
			}
			g.last = max(g.last, in.Entry)
			g.members = append(g.members, in)
		}
	}
	for start, g := range groups {
		begins, end := c.decode(start, g.last)
		for _, in := range g.members {
			switch {
			case begins[in.Entry]:
				in.Decoded = true
			case in.Entry < end:
				in.Problem = fmt.Sprintf("entry %#x is inside of an instruction", in.Entry)
				in.Once, in.Doubt = false, ""
			}
		}
	}
}

// endbr64 begins functions built with -fcf-protection; x86asm does not know it.
var endbr64 = []byte{0xf3, 0x0f, 0x1e, 0xfa}

// decode returns where instructions begin from start to last, and the address
// up to which that is known.
func (c *code) decode(start, last uint64) (begins map[uint64]bool, end uint64) {
	begins = make(map[uint64]bool)
	text := c.bytes(start, last)
	at := 0
	for at < len(text) && start+uint64(at) <= last {
		length := len(endbr64)
		if !bytes.HasPrefix(text[at:], endbr64) {
			inst, err := x86asm.Decode(text[at:], 64)
			if err != nil || inst.Op == 0 || inst.Len == 0 {
				break
			}
			length = inst.Len
		}
		begins[start+uint64(at)] = true
		at += length
	}
	return begins, start + uint64(at)
}

// bytes returns the code from start through the instruction at last, nil if the
// file has none.
func (c *code) bytes(start, last uint64) []byte {
	const longest = 15 // bytes of an x86 instruction
	for _, s := range c.file.Sections {
		if s.Type != elf.SHT_PROGBITS || s.Flags&elf.SHF_EXECINSTR == 0 || start < s.Addr || last-s.Addr >= s.Size {
			continue
		}
		b := make([]byte, min(last+longest-start, s.Addr+s.Size-start))
		n, _ := s.ReadAt(b, int64(start-s.Addr))
		return b[:n]
	}
	return nil
}

// text returns the code from pc to the end of its section, nil if the file has
// none.
func (c *code) text(pc uint64) []byte {
	for _, s := range c.file.Sections {
		if s.Type != elf.SHT_PROGBITS || s.Flags&elf.SHF_EXECINSTR == 0 || pc < s.Addr || pc-s.Addr >= s.Size || s.Size > maxSection {
			continue
		}
		b, ok := c.loaded[s]
		if !ok {
			b, _ = s.Data()
			c.loaded[s] = b
		}
		return b[min(pc-s.Addr, uint64(len(b))):]
	}
	return nil
}
