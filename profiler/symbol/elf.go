// SPDX-License-Identifier: Apache-2.0

package symbol

import (
	"debug/elf"
	"encoding/hex"
	"fmt"
	"io"
)

// maxSection bounds the bytes of one section after decompression. The largest
// .debug_info of a browser is about this big; BIRD's is 1 MB.
const maxSection = 2 << 30

// sectionData returns the contents of s, decompressed.
func sectionData(s *elf.Section) ([]byte, error) {
	if s.Type == elf.SHT_NOBITS {
		return nil, nil
	}
	if s.Size > maxSection {
		return nil, fmt.Errorf("read section %s: %d bytes are too many", s.Name, s.Size)
	}
	b, err := s.Data()
	if err != nil {
		return nil, fmt.Errorf("read section %s: %w", s.Name, err)
	}
	return b, nil
}

// readDebugLink returns what .gnu_debuglink says.
func readDebugLink(f *elf.File) debugLink {
	s := f.Section(".gnu_debuglink")
	if s == nil || s.Size > maxDebugLink {
		return debugLink{}
	}
	b, err := sectionData(s)
	if err != nil {
		return debugLink{}
	}
	return parseDebugLink(b, f.ByteOrder)
}

// codeSpans returns where machine code may be: the executable sections, or the
// executable segments of a file without section headers. The linker leaves
// debug information of discarded functions behind, at addresses around 0; it
// is recognised by not being there. A separate debug file keeps the headers.
func codeSpans(f *elf.File) spanTable {
	var spans []span
	for _, s := range f.Sections {
		if s.Flags&elf.SHF_EXECINSTR != 0 && s.Flags&elf.SHF_ALLOC != 0 {
			spans = append(spans, span{lo: s.Addr, hi: s.Addr + s.Size})
		}
	}
	if len(spans) == 0 {
		for _, p := range f.Progs {
			if p.Type == elf.PT_LOAD && p.Flags&elf.PF_X != 0 {
				spans = append(spans, span{lo: p.Vaddr, hi: p.Vaddr + p.Memsz})
			}
		}
	}
	return newSpanTable(spans)
}

// maxNotes bounds the bytes of notes that are searched for the build ID.
const maxNotes = 1 << 16

// readBuildID returns the descriptor of the NT_GNU_BUILD_ID note in hex.
func readBuildID(f *elf.File) string {
	for _, s := range f.Sections {
		if s.Type == elf.SHT_NOTE {
			if id := buildIDNote(f, s.Open(), s.Addralign); id != "" {
				return id
			}
		}
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_NOTE {
			if id := buildIDNote(f, p.Open(), p.Align); id != "" {
				return id
			}
		}
	}
	return ""
}

func buildIDNote(f *elf.File, r io.Reader, align uint64) string {
	b, err := io.ReadAll(io.LimitReader(r, maxNotes))
	if err != nil {
		return ""
	}
	// Notes are padded to 4 bytes, and to 8 in segments aligned so.
	pad := func(n uint64) uint64 { return (n + 3) &^ 3 }
	if align == 8 {
		pad = func(n uint64) uint64 { return (n + 7) &^ 7 }
	}
	const ntGNUBuildID = 3
	for len(b) >= 12 {
		nameSize, descSize := uint64(f.ByteOrder.Uint32(b)), uint64(f.ByteOrder.Uint32(b[4:]))
		kind := f.ByteOrder.Uint32(b[8:])
		desc := pad(12 + nameSize)
		if desc+descSize > uint64(len(b)) {
			return ""
		}
		if kind == ntGNUBuildID && string(b[12:12+nameSize]) == "GNU\x00" {
			return hex.EncodeToString(b[desc : desc+descSize])
		}
		b = b[min(pad(desc+descSize), uint64(len(b))):]
	}
	return ""
}
