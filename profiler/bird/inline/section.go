// SPDX-License-Identifier: Apache-2.0

package inline

import (
	"debug/dwarf"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"math"
)

// maxSection bounds the bytes of one section after decompression: a few
// kilobytes of zlib can become gigabytes. BIRD's largest is 2 MB.
const maxSection = 1 << 30

// sections are the parts of DWARF that are read without debug/dwarf's help.
type sections struct {
	info     []byte
	loc      []byte // .debug_loc, of DWARF 2 to 4
	loclists []byte // .debug_loclists, of DWARF 5
	addr     []byte // .debug_addr, of DWARF 5
}

// loadDWARF reads the DWARF sections, under the names .debug_NAME or .zdebug_NAME
// as older linkers compressed them.
func loadDWARF(f *elf.File) (*dwarf.Data, sections, error) {
	if f.Class != elf.ELFCLASS64 || f.Machine != elf.EM_X86_64 {
		return nil, sections{}, fmt.Errorf("read DWARF: the file is for %v, not x86-64", f.Machine)
	}
	raw := make(map[string][]byte)
	for _, name := range []string{"abbrev", "addr", "info", "line_str", "loc", "loclists", "ranges", "rnglists", "str", "str_offsets"} {
		s := f.Section(".debug_" + name)
		if s == nil {
			s = f.Section(".zdebug_" + name)
		}
		if s == nil || s.Type == elf.SHT_NOBITS {
			continue
		}
		if s.Size > maxSection {
			return nil, sections{}, fmt.Errorf("read section %s: %d bytes are too many", s.Name, s.Size)
		}
		b, err := s.Data()
		if err != nil {
			return nil, sections{}, fmt.Errorf("read section %s: %w", s.Name, err)
		}
		raw[name] = b
	}
	own := sections{info: raw["info"], loc: raw["loc"], loclists: raw["loclists"], addr: raw["addr"]}
	if len(own.info) == 0 {
		return nil, sections{}, ErrNoDWARF
	}
	if len(own.info) > math.MaxUint32 {
		return nil, sections{}, fmt.Errorf("read DWARF: .debug_info is larger than 4 GiB")
	}
	data, err := dwarf.New(raw["abbrev"], nil, nil, raw["info"], nil, nil, raw["ranges"], raw["str"])
	if err != nil {
		return nil, sections{}, fmt.Errorf("parse DWARF: %w", err)
	}
	for _, name := range []string{"addr", "line_str", "rnglists", "str_offsets"} {
		if err := data.AddSection(".debug_"+name, raw[name]); err != nil {
			return nil, sections{}, fmt.Errorf("parse DWARF: %w", err)
		}
	}
	return data, own, nil
}

// guard turns a panic of debug/dwarf or debug/elf on malformed input into an
// error.
func guard(f func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("parse DWARF: %v", r)
		}
	}()
	return f()
}

// cursor reads little-endian values from b. After a read past the end, all
// reads return 0 and bad is set.
type cursor struct {
	b   []byte
	bad bool
}

func (c *cursor) bytes(n uint64) []byte {
	if c.bad || n > uint64(len(c.b)) {
		c.bad, c.b = true, nil
		return nil
	}
	taken := c.b[:n]
	c.b = c.b[n:]
	return taken
}

// uint reads n bytes, at most 8.
func (c *cursor) uint(n int) uint64 {
	var word [8]byte
	copy(word[:], c.bytes(uint64(n)))
	return binary.LittleEndian.Uint64(word[:])
}

// int reads n bytes, at most 8, and extends the sign.
func (c *cursor) int(n int) int64 {
	shift := 64 - 8*n
	return int64(c.uint(n)<<shift) >> shift
}

// uleb reads an unsigned LEB128 number (DWARF 5 §7.6); one of more than 64 bits
// is malformed.
func (c *cursor) uleb() uint64 {
	v, n := binary.Uvarint(c.b)
	if n <= 0 {
		c.bad, c.b = true, nil
		return 0
	}
	c.b = c.b[n:]
	return v
}

// sleb reads a signed LEB128 number.
func (c *cursor) sleb() int64 {
	var v int64
	for shift := 0; shift < 70; shift += 7 {
		b := byte(c.uint(1))
		if shift < 64 {
			v |= int64(b&0x7f) << shift
		}
		if b&0x80 == 0 {
			if shift+7 < 64 && b&0x40 != 0 {
				v |= -1 << (shift + 7)
			}
			return v
		}
	}
	c.bad, c.b = true, nil
	return 0
}
