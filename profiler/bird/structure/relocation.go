// SPDX-License-Identifier: Apache-2.0

package structure

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"math/bits"
)

// maxRelocations bounds what one file may make us hold; BIRD has some 10 000.
const maxRelocations = 1 << 20

// dynamicTags reads PT_DYNAMIC, which stays when section headers are removed.
func (im *image) dynamicTags() map[elf.DynTag]uint64 {
	tags := make(map[elf.DynTag]uint64)
	for _, p := range im.file.Progs {
		if p.Type != elf.PT_DYNAMIC {
			continue
		}
		b := im.bytes(p.Vaddr, min(p.Filesz, 1<<14))
		for ; len(b) >= 16; b = b[16:] {
			tag := elf.DynTag(binary.LittleEndian.Uint64(b))
			if tag == elf.DT_NULL {
				break
			}
			tags[tag] = binary.LittleEndian.Uint64(b[8:])
		}
	}
	return tags
}

// relocate does what the dynamic linker does at load: im.pointers gets the
// relocated words, im.imports the words that hold other libraries' functions.
func (im *image) relocate() {
	tags := im.dynamicTags()
	d := dynamicSymbols{image: im, symbols: tags[elf.DT_SYMTAB], strings: tags[elf.DT_STRTAB]}
	im.relocateTable(d, tags[elf.DT_RELA], tags[elf.DT_RELASZ])
	im.relocateTable(d, tags[elf.DT_JMPREL], tags[elf.DT_PLTRELSZ])
	const dtRelr, dtRelrSize = elf.DynTag(36), elf.DynTag(35)
	im.relocatePacked(tags[dtRelr], tags[dtRelrSize])
}

// relocateTable reads Elf64_Rela entries.
func (im *image) relocateTable(d dynamicSymbols, address, size uint64) {
	b := im.bytes(address, size)
	for ; len(b) >= 24 && len(im.pointers) < maxRelocations; b = b[24:] {
		at := binary.LittleEndian.Uint64(b)
		info := binary.LittleEndian.Uint64(b[8:])
		addend := binary.LittleEndian.Uint64(b[16:])
		switch elf.R_X86_64(info & 0xffffffff) {
		case elf.R_X86_64_RELATIVE, elf.R_X86_64_IRELATIVE:
			im.pointers[at] = addend
		case elf.R_X86_64_64, elf.R_X86_64_GLOB_DAT, elf.R_X86_64_JMP_SLOT:
			name, value := d.at(info >> 32)
			if value != 0 {
				im.pointers[at] = value + addend
			} else if name != "" {
				im.imports[at] = name
			}
		}
	}
}

// relocatePacked reads DT_RELR (generic ABI, "relative relocation table"): an
// even word is an address, an odd one a bitmap for the 63 words behind the
// last. The addend is in place.
func (im *image) relocatePacked(address, size uint64) {
	b := im.bytes(address, size)
	var next uint64
	set := func(at uint64) {
		if w, ok := im.word(at); ok && len(im.pointers) < maxRelocations {
			im.pointers[at] = w
		}
	}
	for ; len(b) >= 8; b = b[8:] {
		w := binary.LittleEndian.Uint64(b)
		if w&1 == 0 {
			set(w)
			next = w + 8
			continue
		}
		for m := w >> 1; m != 0; m &= m - 1 {
			set(next + 8*uint64(bits.TrailingZeros64(m)))
		}
		next += 8 * 63
	}
}

// dynamicSymbols is .dynsym, which a stripped file keeps.
type dynamicSymbols struct {
	image            *image
	symbols, strings uint64
}

func (d dynamicSymbols) at(i uint64) (name string, value uint64) {
	const size = 24 // Elf64_Sym
	b := d.image.bytes(d.symbols+i*size, size)
	if i == 0 || len(b) < size {
		return "", 0
	}
	s := d.image.bytes(d.strings+uint64(binary.LittleEndian.Uint32(b)), 256)
	if end := bytes.IndexByte(s, 0); end >= 0 {
		name = string(s[:end])
	}
	if section := elf.SectionIndex(binary.LittleEndian.Uint16(b[6:])); section != elf.SHN_UNDEF {
		value = binary.LittleEndian.Uint64(b[8:])
	}
	return name, value
}
