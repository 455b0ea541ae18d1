// SPDX-License-Identifier: Apache-2.0

package inline

import (
	"debug/dwarf"
	"encoding/binary"
	"errors"
	"fmt"
)

// unit is what a unit says of how its entries are to be read.
type unit struct {
	root, end    dwarf.Offset // of its first entry; where its entries end
	version      uint16
	offsetSize   int    // 4, or 8 in the 64-bit format
	base         uint64 // DW_AT_low_pc: what location lists are relative to
	addrBase     int64  // DW_AT_addr_base, -1 if there is none
	loclistsBase int64  // DW_AT_loclists_base, -1 if there is none
}

// Unit types of DWARF 5 §7.5.1.
const (
	utType         = 0x02
	utSkeleton     = 0x04
	utSplitCompile = 0x05
	utSplitType    = 0x06
)

// parseUnit reads the unit header at off (DWARF 5 §7.5.1, DWARF 4 §7.5.1.1).
func parseUnit(info []byte, off int) (unit, error) {
	c := cursor{b: info[off:]}
	u := unit{offsetSize: 4, addrBase: -1, loclistsBase: -1}
	length := c.uint(4)
	if length == 0xffffffff {
		u.offsetSize = 8
		length = c.uint(8)
	}
	if c.bad || length > uint64(len(c.b)) {
		return u, fmt.Errorf("parse unit header at %#x: truncated", off)
	}
	u.end = dwarf.Offset(uint64(len(info)-len(c.b)) + length)
	c.b = c.b[:length]
	u.version = uint16(c.uint(2))
	var unitType, addressSize uint64
	if u.version >= 5 {
		unitType, addressSize = c.uint(1), c.uint(1)
		c.bytes(uint64(u.offsetSize)) // abbreviations
		switch unitType {
		case utSkeleton, utSplitCompile:
			c.bytes(8) // dwo_id
		case utType, utSplitType:
			c.bytes(uint64(8 + u.offsetSize)) // signature, type offset
		}
	} else {
		c.bytes(uint64(u.offsetSize))
		addressSize = c.uint(1)
	}
	if c.bad {
		return u, fmt.Errorf("parse unit header at %#x: truncated", off)
	}
	if addressSize != 8 {
		return u, fmt.Errorf("parse unit header at %#x: addresses of %d bytes", off, addressSize)
	}
	u.root = dwarf.Offset(int(u.end) - len(c.b))
	return u, nil
}

// attrGNUDwoName is DW_AT_GNU_dwo_name of gcc and clang with DWARF 4.
const attrGNUDwoName dwarf.Attr = 0x2130

// setRoot takes over the bases from the unit's first entry. It reports whether
// the entries are in another file (DWARF 5 §3.1.2).
func (u *unit) setRoot(e *dwarf.Entry) (split bool) {
	u.base, _ = e.Val(dwarf.AttrLowpc).(uint64)
	if v, ok := e.Val(dwarf.AttrAddrBase).(int64); ok {
		u.addrBase = v
	}
	if v, ok := e.Val(dwarf.AttrLoclistsBase).(int64); ok {
		u.loclistsBase = v
	}
	return e.Tag == dwarf.TagSkeletonUnit || e.Val(dwarf.AttrDwoName) != nil || e.Val(attrGNUDwoName) != nil
}

var errAddressIndex = errors.New("address index is out of .debug_addr")

// address returns the unit's entry i in .debug_addr (DWARF 5 §7.27).
func (u *unit) address(s *sections, i uint64) (uint64, error) {
	if u.addrBase < 0 || i > uint64(len(s.addr))/8 {
		return 0, errAddressIndex
	}
	at := uint64(u.addrBase) + i*8
	if at < uint64(u.addrBase) || at+8 < at || at+8 > uint64(len(s.addr)) {
		return 0, errAddressIndex
	}
	return binary.LittleEndian.Uint64(s.addr[at:]), nil
}
