// SPDX-License-Identifier: Apache-2.0

package unwind

import (
	"errors"
	"fmt"
)

// Pointer encodings: Linux Standard Base Core 5.0, section 10.5.1. The low four
// bits are the format, the next three what it is relative to.
const (
	peAbsptr  = 0x00
	peULEB128 = 0x01
	peUdata2  = 0x02
	peUdata4  = 0x03
	peUdata8  = 0x04
	peSigned  = 0x08
	peSLEB128 = 0x09
	peSdata2  = 0x0a
	peSdata4  = 0x0b
	peSdata8  = 0x0c

	pePcrel    = 0x10
	peTextrel  = 0x20
	peDatarel  = 0x30
	peFuncrel  = 0x40
	peAligned  = 0x50
	peIndirect = 0x80
	peOmit     = 0xff
)

// bases are what encoded pointers are relative to.
type bases struct {
	section uint64 // address of the cursor's first byte, for pcrel
	fn      uint64 // the function's first address, for funcrel
	// data returns the base of datarel: in .eh_frame the value of DT_PLTGOT
	// (libgcc's unwind-dw2-fde-dip.c), in .eh_frame_hdr its own address.
	data func() (uint64, error)
	// deref reads the 8 bytes at an address from the file, for indirect.
	deref func(addr uint64) (uint64, error)
}

// pointer reads one pointer in encoding enc.
func (c *cursor) pointer(enc uint8, b *bases) (uint64, error) {
	if enc == peOmit {
		return 0, errors.New("read pointer: omitted where one is needed")
	}
	if enc&0x70 == peAligned {
		// Relative to nothing, absolute, at the next 8-byte boundary.
		c.take(-(b.section + uint64(c.pos)) & 7)
		enc = enc&peIndirect | peAbsptr
	}
	field := b.section + uint64(c.pos)
	v, err := c.value(enc)
	if err != nil {
		return 0, err
	}
	switch enc & 0x70 {
	case 0:
	case pePcrel:
		v += field
	case peFuncrel:
		v += b.fn
	case peDatarel:
		if b.data == nil {
			return 0, errors.New("read pointer: relative to a data base that is not known")
		}
		base, err := b.data()
		if err != nil {
			return 0, err
		}
		v += base
	default:
		return 0, fmt.Errorf("read pointer: unknown encoding %#x", enc)
	}
	if enc&peIndirect != 0 {
		if b.deref == nil {
			return 0, errors.New("read pointer: indirect where memory cannot be read")
		}
		return b.deref(v)
	}
	return v, nil
}

// value reads a number in the format of enc, sign-extended if that is signed.
func (c *cursor) value(enc uint8) (v uint64, err error) {
	switch enc & 0x0f {
	case peAbsptr, peUdata8, peSigned, peSdata8:
		v = c.u64()
	case peULEB128:
		v = c.uleb()
	case peUdata2:
		v = uint64(c.u16())
	case peUdata4:
		v = uint64(c.u32())
	case peSLEB128:
		v = uint64(c.sleb())
	case peSdata2:
		v = uint64(int16(c.u16()))
	case peSdata4:
		v = uint64(int32(c.u32()))
	default:
		return 0, fmt.Errorf("read pointer: unknown encoding %#x", enc)
	}
	if c.bad {
		return 0, errTruncated
	}
	return v, nil
}

// errTruncated is the cause where an entry ends in the middle of a value, or a
// LEB128 number has over 64 bits.
var errTruncated = errors.New("truncated or oversized value")
