// SPDX-License-Identifier: Apache-2.0

package unwind

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// image is the ELF file as it is loaded: addresses, not sections.
type image struct {
	file *elf.File
	exec []elf.ProgHeader // executable PT_LOADs

	dynamic map[elf.DynTag]uint64 // first value of each tag, once read
}

func newImage(f *elf.File) *image {
	im := &image{file: f}
	for _, p := range f.Progs {
		if p.Type == elf.PT_LOAD && p.Flags&elf.PF_X != 0 {
			im.exec = append(im.exec, p.ProgHeader)
		}
	}
	return im
}

// executable reports whether addr is in an executable segment.
func (im *image) executable(addr uint64) bool {
	for i := range im.exec {
		if p := &im.exec[i]; addr-p.Vaddr < p.Memsz {
			return true
		}
	}
	return false
}

// program reports whether the kernel or the dynamic loader starts the file at
// its entry point.
func (im *image) program() bool {
	if im.file.Type == elf.ET_EXEC {
		return true
	}
	for _, p := range im.file.Progs {
		if p.Type == elf.PT_INTERP {
			return true
		}
	}
	flags, _ := im.dynValue(elf.DT_FLAGS_1)
	return elf.DynFlag1(flags)&elf.DF_1_PIE != 0 // a static PIE
}

// dynValue returns the first value of tag in PT_DYNAMIC.
func (im *image) dynValue(tag elf.DynTag) (v uint64, ok bool) {
	if im.dynamic == nil {
		im.dynamic = map[elf.DynTag]uint64{}
		for _, p := range im.file.Progs {
			if p.Type != elf.PT_DYNAMIC {
				continue
			}
			const maxDynamic = 1 << 16 // bytes; libraries have some 500
			c := cursor{}
			c.b, _ = io.ReadAll(io.LimitReader(p.Open(), maxDynamic))
			for {
				t, v := elf.DynTag(c.u64()), c.u64()
				if c.bad || t == elf.DT_NULL {
					break
				}
				if _, dup := im.dynamic[t]; !dup {
					im.dynamic[t] = v
				}
			}
		}
	}
	v, ok = im.dynamic[tag]
	return v, ok
}

// pltgot is the base of data-relative pointers in .eh_frame.
func (im *image) pltgot() (uint64, error) {
	if v, ok := im.dynValue(elf.DT_PLTGOT); ok {
		return v, nil
	}
	return 0, errors.New("read pointer: relative to DT_PLTGOT, which the file has not")
}

// deref reads 8 bytes at addr as they are in the file, without relocation.
func (im *image) deref(addr uint64) (uint64, error) {
	b, err := im.read(addr, 8)
	if err != nil {
		return 0, err
	}
	if len(b) < 8 {
		return 0, fmt.Errorf("read %#x: end of segment", addr)
	}
	return binary.LittleEndian.Uint64(b), nil
}

// read returns up to n bytes at addr, fewer where the segment ends.
func (im *image) read(addr, n uint64) ([]byte, error) {
	for _, p := range im.file.Progs {
		if off := addr - p.Vaddr; p.Type == elf.PT_LOAD && off < p.Filesz {
			r := io.NewSectionReader(p, int64(off), int64(min(n, p.Filesz-off, maxSection)))
			// ReadAll grows with what is there; a size in a header proves nothing.
			b, err := io.ReadAll(r)
			if err != nil {
				return nil, fmt.Errorf("read %#x: %w", addr, err)
			}
			return b, nil
		}
	}
	return nil, fmt.Errorf("read %#x: not in a segment of the file", addr)
}

// frameSections returns the file's CFI.
func (im *image) frameSections() ([]*frameSection, error) {
	if found, err := im.sections(".eh_frame", true); found != nil || err != nil {
		return found, err
	}
	// A separate debug file has .eh_frame as SHT_NOBITS, and a segment with
	// nothing behind it.
	if im.file.Section(".eh_frame") == nil {
		if s, err := im.frameSegment(); s != nil || err != nil {
			return []*frameSection{s}, err
		}
	}
	found, err := im.sections(".debug_frame", false)
	if found == nil && err == nil {
		err = ErrNoFrames
	}
	return found, err
}

// sections returns the sections called name that have contents.
func (im *image) sections(name string, eh bool) ([]*frameSection, error) {
	var found []*frameSection
	total := uint64(0)
	for _, s := range im.file.Sections {
		if s.Name != name || s.Type == elf.SHT_NOBITS || s.Size == 0 {
			continue
		}
		if s.Size > maxSection-total {
			return nil, fmt.Errorf("read %s: over %d bytes", name, maxSection)
		}
		total += s.Size
		data, err := s.Data()
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", name, err)
		}
		if len(bytes.TrimLeft(data, "\x00")) == 0 {
			continue // crtend.o's terminator alone
		}
		found = append(found, &frameSection{name: name, data: data, addr: s.Addr, eh: eh})
	}
	return found, nil
}

// frameSegment finds .eh_frame by .eh_frame_hdr (LSB 10.6.2), for files without
// section headers. The header has where it begins and, in its search table, each
// FDE: .eh_frame is read to the end of the last. Without a table it is read to
// its first terminator.
func (im *image) frameSegment() (*frameSection, error) {
	const name = "PT_GNU_EH_FRAME"
	var hdr *elf.Prog
	for _, p := range im.file.Progs {
		if p.Type == elf.PT_GNU_EH_FRAME {
			hdr = p
		}
	}
	if hdr == nil || hdr.Filesz == 0 {
		return nil, nil
	}
	data, err := io.ReadAll(io.LimitReader(hdr.Open(), maxSection))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	c := cursor{b: data}
	b := bases{section: hdr.Vaddr, data: func() (uint64, error) { return hdr.Vaddr, nil }, deref: im.deref}
	version, ptrEnc, countEnc, tableEnc := c.u8(), c.u8(), c.u8(), c.u8()
	if c.bad || version != 1 {
		return nil, fmt.Errorf("read %s: version %d, want 1", name, version)
	}
	begin, err := c.pointer(ptrEnc, &b)
	if err != nil {
		return nil, fmt.Errorf("read %s: address of .eh_frame: %w", name, err)
	}
	s := &frameSection{name: name, addr: begin, eh: true}
	if s.data, err = im.read(begin, maxSection); err != nil {
		return nil, fmt.Errorf("read %s: .eh_frame: %w", name, err)
	}
	if countEnc == peOmit || tableEnc == peOmit {
		s.data = s.data[:terminator(s.data, 0)]
		return s, nil
	}
	count, err := c.pointer(countEnc, &b)
	if err != nil {
		return nil, fmt.Errorf("read %s: number of FDEs: %w", name, err)
	}
	last := uint64(0)
	for ; count > 0; count-- {
		if _, err := c.pointer(tableEnc, &b); err != nil {
			return nil, fmt.Errorf("read %s: search table: %w", name, err)
		}
		addr, err := c.pointer(tableEnc, &b)
		if err != nil {
			return nil, fmt.Errorf("read %s: search table: %w", name, err)
		}
		if addr-begin >= uint64(len(s.data)) {
			return nil, fmt.Errorf("read %s: search table: FDE at %#x is not in .eh_frame", name, addr)
		}
		last = max(last, addr-begin)
	}
	s.data = s.data[:entryEnd(s.data, last)]
	return s, nil
}

// terminator returns the offset of the first entry of length zero from off, or
// of the end of data.
func terminator(data []byte, off uint64) uint64 {
	for off+4 <= uint64(len(data)) {
		if binary.LittleEndian.Uint32(data[off:]) == 0 {
			return off
		}
		off = entryEnd(data, off)
	}
	return uint64(len(data))
}

// entryEnd returns the offset behind the entry at off, at most the end of data.
func entryEnd(data []byte, off uint64) uint64 {
	c := cursor{b: data, pos: int(off)}
	n := uint64(c.u32())
	if n == 0xffffffff {
		n = c.u64()
	}
	if c.take(n); c.bad {
		return uint64(len(data))
	}
	return uint64(c.pos)
}
