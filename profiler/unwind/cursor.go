// SPDX-License-Identifier: Apache-2.0

package unwind

import "encoding/binary"

// cursor reads little-endian values from b. A read past the end, or a LEB128
// number over 64 bits, sets bad and yields zero, from then on: callers may
// check once after several reads.
type cursor struct {
	b   []byte
	pos int
	bad bool
}

// take returns the next n bytes, nil when there are not as many.
func (c *cursor) take(n uint64) []byte {
	if c.bad || n > uint64(len(c.b)-c.pos) {
		c.bad = true
		return nil
	}
	b := c.b[c.pos : c.pos+int(n)]
	c.pos += int(n)
	return b
}

func (c *cursor) u8() uint8 {
	if c.bad || c.pos >= len(c.b) {
		c.bad = true
		return 0
	}
	v := c.b[c.pos]
	c.pos++
	return v
}

func (c *cursor) u16() uint16 {
	if b := c.take(2); b != nil {
		return binary.LittleEndian.Uint16(b)
	}
	return 0
}

func (c *cursor) u32() uint32 {
	if b := c.take(4); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

func (c *cursor) u64() uint64 {
	if b := c.take(8); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

// uleb reads an unsigned LEB128 number (DWARF 5 section 7.6).
func (c *cursor) uleb() uint64 {
	var v uint64
	for shift := uint(0); ; shift += 7 {
		x := c.u8()
		if c.bad {
			return 0
		}
		if bits := uint64(x & 0x7f); bits != 0 {
			if shift >= 64 || bits<<shift>>shift != bits {
				c.bad = true
				return 0
			}
			v |= bits << shift
		}
		if x&0x80 == 0 {
			return v
		}
	}
}

// sleb reads a signed LEB128 number.
func (c *cursor) sleb() int64 {
	var v int64
	for shift := uint(0); ; shift += 7 {
		x := c.u8()
		if c.bad || shift >= 70 {
			c.bad = true
			return 0
		}
		if shift < 64 {
			v |= int64(x&0x7f) << shift
		}
		if x&0x80 == 0 {
			if shift < 57 && x&0x40 != 0 {
				v |= -1 << (shift + 7)
			}
			return v
		}
	}
}

// cstring reads up to the next zero byte, at most max bytes.
func (c *cursor) cstring(max int) string {
	for n := 0; n <= max && !c.bad && c.pos+n < len(c.b); n++ {
		if c.b[c.pos+n] == 0 {
			s := string(c.b[c.pos : c.pos+n])
			c.pos += n + 1
			return s
		}
	}
	c.bad = true
	return ""
}
