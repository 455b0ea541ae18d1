// SPDX-License-Identifier: Apache-2.0

package symbol

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/ulikunitz/xz/lzma"
)

const (
	// maxDebugData bounds the ELF file in .gnu_debugdata, bytes. It has only
	// symbols; those of a browser are 30 MB.
	maxDebugData = 256 << 20
	// maxDictionary bounds what the decoder allocates for a file that asks for
	// it, bytes: that of xz -9.
	maxDictionary = 64 << 20
)

// readDebugData reads the symbols in .gnu_debugdata, an ELF file compressed by
// xz that Fedora adds to stripped programs: it names the functions that
// .dynsym does not (GDB manual, "Debugging information in a special section").
// A section that cannot be read is as none: the file has names without it.
func (m *Module) readDebugData(f *elf.File) {
	s := f.Section(".gnu_debugdata")
	if s == nil || s.Size > maxDebugData {
		return
	}
	packed, err := sectionData(s)
	if err != nil {
		return
	}
	b, err := decodeXZ(packed)
	if err != nil {
		return
	}
	inner, err := openELF(bytes.NewReader(b))
	if err != nil {
		return
	}
	if symbols, err := inner.Symbols(); err == nil {
		m.mini = m.newSymbolTable(symbols)
	}
}

// decodeXZ decodes the only block of an xz file. The container is read here,
// because xz's reader allocates whatever dictionary a block asks for, up to
// 4 GB (The .xz File Format 1.2, sections 2 and 3).
func decodeXZ(b []byte) ([]byte, error) {
	const streamHeader = 12
	if len(b) < streamHeader+8 || string(b[:6]) != "\xfd7zXZ\x00" {
		return nil, errors.New("decode xz: no stream header")
	}
	header := b[streamHeader:]
	size := (int(header[0]) + 1) * 4
	if header[0] == 0 || size > len(header) {
		return nil, errors.New("decode xz: no block")
	}
	dictionary, err := dictionarySize(header[1 : size-4])
	if err != nil {
		return nil, err
	}
	if dictionary > maxDictionary {
		return nil, fmt.Errorf("decode xz: a dictionary of %d bytes is too large", dictionary)
	}
	rest := bytes.NewReader(header[size:])
	r, err := lzma.Reader2Config{DictCap: max(int(dictionary), lzma.MinDictCap)}.NewReader2(rest)
	if err != nil {
		return nil, fmt.Errorf("decode xz: %w", err)
	}
	out, err := io.ReadAll(io.LimitReader(r, maxDebugData+1))
	if err != nil {
		return nil, fmt.Errorf("decode xz: %w", err)
	}
	if len(out) > maxDebugData {
		return nil, fmt.Errorf("decode xz: more than %d bytes", maxDebugData)
	}
	// Padding to four bytes, and the check, whose size its kind tells.
	check := [16]int{0, 4, 4, 4, 8, 8, 8, 16, 16, 16, 32, 32, 32, 64, 64, 64}[b[7]&0xf]
	next := len(b) - rest.Len()
	next += -next&3 + check
	if next >= len(b) || b[next] != 0 { // the index begins with a zero
		return nil, errors.New("decode xz: cut short, or more than one block")
	}
	return out, nil
}

// dictionarySize reads a block's header behind its size: flags, two sizes that
// may be there, and filters, of which LZMA2 has to be the only one.
func dictionarySize(b []byte) (int64, error) {
	errFilter := errors.New("decode xz: the filter is not LZMA2 alone")
	if len(b) == 0 || b[0]&3 != 0 { // one filter
		return 0, errFilter
	}
	flags := b[0]
	b = b[1:]
	for _, present := range []byte{0x40, 0x80} {
		if flags&present != 0 {
			_, n := binary.Uvarint(b)
			if n <= 0 {
				return 0, errors.New("decode xz: malformed block header")
			}
			b = b[n:]
		}
	}
	const lzma2 = 0x21
	if len(b) < 3 || b[0] != lzma2 || b[1] != 1 {
		return 0, errFilter
	}
	size, err := lzma.DecodeDictCap(b[2])
	if err != nil {
		return 0, fmt.Errorf("decode xz: %w", err)
	}
	return size, nil
}
