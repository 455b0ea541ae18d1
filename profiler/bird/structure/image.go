// SPDX-License-Identifier: Apache-2.0

package structure

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// maxSegments bounds the bytes of segments held; BIRD has some 2 MB.
const maxSegments = 64 << 20

// segment is a PT_LOAD with its bytes from the file.
type segment struct {
	start    uint64
	data     []byte
	size     uint64 // in memory
	exec     bool
	writable bool
}

// image is the file as the dynamic linker leaves it in memory, at bias 0.
type image struct {
	file     *elf.File
	segments []segment
	// pointers are the relocated words by address. A file that is not position
	// independent has few; its words are used as they are.
	pointers map[uint64]uint64
	// imports names the function of another library that a word points to.
	imports map[uint64]string
	fixed   bool // not position independent
	relro   struct{ start, end uint64 }
}

func newImage(f *elf.File) (*image, error) {
	if f.Machine != elf.EM_X86_64 || f.Class != elf.ELFCLASS64 || f.Data != elf.ELFDATA2LSB {
		return nil, fmt.Errorf("file is for %v %v, want x86-64", f.Machine, f.Class)
	}
	if f.Type != elf.ET_EXEC && f.Type != elf.ET_DYN {
		return nil, fmt.Errorf("file type is %v, want an executable", f.Type)
	}
	im := &image{
		file:     f,
		pointers: make(map[uint64]uint64),
		imports:  make(map[uint64]string),
		fixed:    f.Type == elf.ET_EXEC,
	}
	left := uint64(maxSegments)
	for _, p := range f.Progs {
		switch p.Type {
		case elf.PT_LOAD:
			if p.Filesz > left || p.Filesz > p.Memsz || p.Vaddr+p.Memsz < p.Vaddr {
				return nil, errors.New("segments are too large")
			}
			left -= p.Filesz
			// ReadAll grows with what is there; a size in a header proves nothing.
			data, err := io.ReadAll(io.LimitReader(p.Open(), int64(p.Filesz)))
			if err != nil {
				return nil, fmt.Errorf("read segment at %#x: %w", p.Vaddr, err)
			}
			im.segments = append(im.segments, segment{
				start: p.Vaddr, data: data, size: p.Memsz,
				exec: p.Flags&elf.PF_X != 0, writable: p.Flags&elf.PF_W != 0,
			})
		case elf.PT_GNU_RELRO:
			im.relro.start, im.relro.end = p.Vaddr, p.Vaddr+p.Memsz
		}
	}
	im.relocate()
	return im, nil
}

func (im *image) segment(address uint64) *segment {
	for i := range im.segments {
		if s := &im.segments[i]; address-s.start < s.size {
			return s
		}
	}
	return nil
}

// bytes returns up to n bytes of the file at address.
func (im *image) bytes(address, n uint64) []byte {
	s := im.segment(address)
	if s == nil {
		return nil
	}
	off := address - s.start
	if off >= uint64(len(s.data)) {
		return nil
	}
	return s.data[off:min(uint64(len(s.data)), off+min(n, maxSegments))]
}

// word returns the 8 bytes at address as the file has them.
func (im *image) word(address uint64) (uint64, bool) {
	b := im.bytes(address, 8)
	if len(b) < 8 {
		return 0, false
	}
	return binary.LittleEndian.Uint64(b), true
}

// pointer returns the address that the word at an address holds at run time.
func (im *image) pointer(address uint64) (uint64, bool) {
	if p, ok := im.pointers[address]; ok {
		return p, true
	}
	if !im.fixed {
		return 0, false
	}
	w, ok := im.word(address)
	return w, ok && im.segment(w) != nil
}

// plain returns the word at an address that is no pointer.
func (im *image) plain(address uint64) (uint64, bool) {
	if _, ok := im.pointers[address]; ok {
		return 0, false
	}
	if _, ok := im.imports[address]; ok {
		return 0, false
	}
	return im.word(address)
}

// constantAt returns the word at an address that the program cannot change:
// compilers keep pairs of addresses there to store both at once.
func (im *image) constantAt(address uint64) (uint64, bool) {
	s := im.segment(address)
	if s == nil || s.writable && address-im.relro.start >= im.relro.end-im.relro.start {
		return 0, false
	}
	if p, ok := im.pointers[address]; ok {
		return p, true
	}
	if _, ok := im.imports[address]; ok {
		return 0, false
	}
	return im.word(address)
}

// text returns the printable C string at address.
func (im *image) text(address uint64) (string, bool) {
	b := im.bytes(address, 64)
	end := bytes.IndexByte(b, 0)
	if end < 1 {
		return "", false
	}
	for _, c := range b[:end] {
		if c < ' ' || c > '~' {
			return "", false
		}
	}
	return string(b[:end]), true
}

// endbr64 begins functions built with -fcf-protection.
var endbr64 = []byte{0xf3, 0x0f, 0x1e, 0xfa}

// stub returns the import that a linkage table entry at address jumps to: an
// optional endbr64 and bnd prefix, then jmp *slot(%rip), as the linkers write
// .plt, .plt.got and .plt.sec.
func (im *image) stub(address uint64) string {
	b := bytes.TrimPrefix(im.bytes(address, 16), endbr64)
	at := address + uint64(len(im.bytes(address, 16))-len(b))
	if len(b) > 0 && b[0] == 0xf2 {
		b, at = b[1:], at+1
	}
	if len(b) < 6 || b[0] != 0xff || b[1] != 0x25 {
		return ""
	}
	disp := int64(int32(binary.LittleEndian.Uint32(b[2:])))
	return im.imports[at+6+uint64(disp)]
}
