// SPDX-License-Identifier: Apache-2.0

package symbol

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// checkLineHeader checks what debug/dwarf (go1.26) believes in the header of a
// DWARF 5 line number program (§6.2.4): it allocates as many directories and
// files as the header claims, which exhausts memory without a panic that could
// be recovered. Everything else debug/dwarf checks itself.
func checkLineHeader(section []byte, off int64, order binary.ByteOrder) error {
	if off < 0 || off > int64(len(section)) {
		return fmt.Errorf("line program at %#x is out of .debug_line", off)
	}
	h := &headerReader{b: section[off:], order: order}
	h.offsetSize = 4
	if h.uint(4) == 0xffffffff {
		h.offsetSize = 8
		h.uint(8)
	}
	if version := h.uint(2); version < 5 {
		return h.err // files end with an empty name
	}
	// address_size, segment_selector_size, header_length,
	// minimum_instruction_length, maximum_operations_per_instruction,
	// default_is_stmt, line_base, line_range
	h.skip(uint64(2 + h.offsetSize + 5))
	if opcodes := h.uint(1); opcodes > 0 {
		h.skip(opcodes - 1) // standard_opcode_lengths
	}
	for range 2 { // directories, then files
		forms := make([]uint64, h.uint(1))
		for i := range forms {
			h.uleb() // content type
			forms[i] = h.uleb()
		}
		count := h.uleb()
		if count > uint64(len(h.b)) || count > 0 && len(forms) == 0 {
			return fmt.Errorf("line program at %#x: %d directories or files do not fit", off, count)
		}
		for ; count > 0 && h.err == nil; count-- {
			for _, form := range forms {
				h.form(form)
			}
		}
	}
	if h.err != nil {
		return fmt.Errorf("line program at %#x: %w", off, h.err)
	}
	return nil
}

// headerReader reads b from its start. After an error it returns zeros.
type headerReader struct {
	b          []byte
	order      binary.ByteOrder
	offsetSize int // 4, or 8 in 64-bit DWARF
	err        error
}

func (h *headerReader) skip(n uint64) []byte {
	if n > uint64(len(h.b)) {
		h.b = nil
		if h.err == nil {
			h.err = errors.New("truncated header")
		}
		return nil
	}
	skipped := h.b[:n]
	h.b = h.b[n:]
	return skipped
}

// uint reads an integer of 1, 2, 4 or 8 bytes.
func (h *headerReader) uint(size int) uint64 {
	b := h.skip(uint64(size))
	switch len(b) {
	case 1:
		return uint64(b[0])
	case 2:
		return uint64(h.order.Uint16(b))
	case 4:
		return uint64(h.order.Uint32(b))
	case 8:
		return h.order.Uint64(b)
	}
	return 0
}

// uleb reads an unsigned LEB128, which is what Go calls Uvarint.
func (h *headerReader) uleb() uint64 {
	v, n := binary.Uvarint(h.b)
	if n <= 0 {
		h.skip(uint64(len(h.b)) + 1)
		return 0
	}
	h.b = h.b[n:]
	return v
}

// form skips a value of a DW_FORM that DWARF 5 permits here.
func (h *headerReader) form(form uint64) {
	switch form {
	case 0x08: // DW_FORM_string
		for h.uint(1) != 0 {
		}
	case 0x0e, 0x1f, 0x1d: // DW_FORM_strp, line_strp, strp_sup
		h.skip(uint64(h.offsetSize))
	case 0x0b, 0x25: // DW_FORM_data1, strx1
		h.skip(1)
	case 0x05, 0x26: // DW_FORM_data2, strx2
		h.skip(2)
	case 0x27: // DW_FORM_strx3
		h.skip(3)
	case 0x06, 0x28: // DW_FORM_data4, strx4
		h.skip(4)
	case 0x07: // DW_FORM_data8
		h.skip(8)
	case 0x1e: // DW_FORM_data16
		h.skip(16)
	case 0x0f, 0x1a: // DW_FORM_udata, strx
		h.uleb()
	case 0x09: // DW_FORM_block
		h.skip(h.uleb())
	default:
		if h.err == nil {
			h.err = fmt.Errorf("form %#x of a directory or file is unknown", form)
		}
	}
}
