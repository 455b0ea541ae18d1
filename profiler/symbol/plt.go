// SPDX-License-Identifier: Apache-2.0

package symbol

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
)

// readPLT names the stubs of an x86-64 procedure linkage table. A stub jumps
// through a slot of the GOT ("jmp *disp32(%rip)"), and a relocation of that
// slot names the function.
func readPLT(f *elf.File, dynamic []elf.Symbol) symbolTable {
	if f.Machine != elf.EM_X86_64 {
		return symbolTable{}
	}
	slots := gotSlots(f, dynamic)
	var stubs []function
	for _, s := range f.Sections {
		var size uint64 = 16
		switch s.Name {
		case ".plt", ".plt.sec":
		case ".plt.got":
			if s.Entsize == 8 {
				size = 8 // jmp and a two-byte nop; 16 with endbr64
			}
		default:
			continue
		}
		code, err := sectionData(s)
		if err != nil {
			continue
		}
		for off := uint64(0); off+size <= uint64(len(code)); off += size {
			slot, ok := jumpSlot(code[off:off+size], s.Addr+off)
			if name := slots[slot]; ok && name != "" {
				stubs = append(stubs, function{name + "@plt", s.Addr + off, size, false})
			}
		}
	}
	return newFunctionTable(stubs)
}

// jumpSlot returns the GOT slot that the stub at addr jumps through.
func jumpSlot(stub []byte, addr uint64) (slot uint64, ok bool) {
	// With control-flow protection endbr64 precedes the jump, and a bnd
	// prefix (0xf2), which older linkers emit, is part of it.
	at := 0
	if bytes.HasPrefix(stub, []byte{0xf3, 0x0f, 0x1e, 0xfa}) {
		at = 4
	}
	if at < len(stub) && stub[at] == 0xf2 {
		at++
	}
	if at+6 > len(stub) || stub[at] != 0xff || stub[at+1] != 0x25 {
		return 0, false
	}
	disp := int32(binary.LittleEndian.Uint32(stub[at+2:]))
	return addr + uint64(at) + 6 + uint64(int64(disp)), true
}

// gotSlots maps the address of each GOT slot to the symbol it is bound to.
func gotSlots(f *elf.File, dynamic []elf.Symbol) map[uint64]string {
	const entry = 24 // sizeof(Elf64_Rela)
	slots := make(map[uint64]string)
	for _, s := range f.Sections {
		if s.Type != elf.SHT_RELA || s.Flags&elf.SHF_ALLOC == 0 {
			continue
		}
		b, err := sectionData(s)
		if err != nil {
			continue
		}
		for ; len(b) >= entry; b = b[entry:] {
			offset, info := f.ByteOrder.Uint64(b), f.ByteOrder.Uint64(b[8:])
			kind := elf.R_X86_64(elf.R_TYPE64(info))
			if kind != elf.R_X86_64_JMP_SLOT && kind != elf.R_X86_64_GLOB_DAT {
				continue
			}
			// DynamicSymbols leaves out the null symbol at index 0.
			if i := elf.R_SYM64(info); i > 0 && uint64(i) <= uint64(len(dynamic)) {
				slots[offset] = dynamic[i-1].Name
			}
		}
	}
	return slots
}
