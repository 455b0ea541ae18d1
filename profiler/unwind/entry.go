// SPDX-License-Identifier: Apache-2.0

package unwind

import (
	"errors"
	"fmt"
)

// Bounds on what one file may make us hold or do. Real files stay far below.
const (
	maxSection      = 256 << 20 // bytes of CFI
	maxExpr         = 1 << 10   // bytes of one DWARF expression
	maxRemembered   = 64        // depth of DW_CFA_remember_state
	maxAugmentation = 16        // bytes of a CIE's augmentation string
)

// limits bound what one table may hold.
type limits struct{ cies, rows, rules int }

var defaultLimits = limits{
	cies:  1 << 20, // in .debug_frame there is one for each compilation unit
	rows:  1 << 23, // 64 MiB; clang's libLLVM has 0.95 million
	rules: 1 << 16, // libLLVM has 987
}

// frameSection is a run of CIEs and FDEs: an .eh_frame or a .debug_frame.
type frameSection struct {
	name string
	data []byte
	addr uint64 // ELF virtual address of data[0]
	eh   bool   // .eh_frame's format, not .debug_frame's
}

// entry is one CIE or FDE, not yet decoded.
type entry struct {
	off  int    // of its length field: what a CIE pointer names
	body cursor // stands behind the CIE id or pointer, ends with the entry
	cie  bool
	// cieOff is the offset of an FDE's CIE.
	cieOff uint64
}

// entries calls f for each entry in order. Entries of length zero are skipped,
// not taken as the end: a crt file's terminator may stand before other input
// files' entries.
func (s *frameSection) entries(f func(entry) error) error {
	c := cursor{b: s.data}
	for len(s.data)-c.pos >= 4 {
		off := c.pos
		length, wide := uint64(c.u32()), false
		if length == 0 {
			continue
		}
		if length == 0xffffffff { // 64-bit DWARF
			length, wide = c.u64(), true
		}
		if c.bad || length > uint64(len(s.data)-c.pos) {
			return fmt.Errorf("read %s: entry at %#x is longer than the section", s.name, off)
		}
		// The cursor's positions stay those of the section: pcrel needs them.
		end := c.pos + int(length)
		e := entry{off: off, body: cursor{b: s.data[:end], pos: c.pos}}
		c.pos = end

		idPos := e.body.pos
		var id uint64
		if wide && !s.eh { // in .eh_frame the id has 4 bytes always (LSB 10.6.1.1)
			id = e.body.u64()
			e.cie = id == 1<<64-1
		} else {
			id = uint64(e.body.u32())
			e.cie = !s.eh && id == 0xffffffff || s.eh && id == 0
		}
		if e.body.bad {
			return fmt.Errorf("read %s: entry at %#x is too short", s.name, off)
		}
		if e.cieOff = id; s.eh {
			e.cieOff = uint64(idPos) - id
		}
		if err := f(e); err != nil {
			return err
		}
	}
	return nil
}

// cie is a decoded common information entry.
type cie struct {
	err       error // why its FDEs cannot be used, if they cannot
	ptrEnc    uint8 // encoding of an FDE's addresses
	augData   bool  // augmentation 'z': FDEs have augmentation data
	signal    bool  // augmentation 'S'
	codeAlign uint64
	dataAlign int64
	init      state // after the initial instructions
	initErr   error // why init is not valid; FDEs still know their ranges then
}

// parseCIE decodes a CIE (LSB 10.6.1.1, DWARF 5 section 6.4.1).
func (s *frameSection) parseCIE(c cursor, b bases) *cie {
	ci := &cie{ptrEnc: peAbsptr}
	fail := func(format string, args ...any) *cie {
		ci.err = fmt.Errorf(format, args...)
		return ci
	}
	version := c.u8()
	aug := c.cstring(maxAugmentation)
	switch {
	case c.bad:
		return fail("CIE is truncated")
	case version != 1 && version != 3 && version != 4:
		return fail("CIE version %d is not known", version)
	case len(aug) >= 2 && aug[:2] == "eh":
		return fail("CIE augmentation %q of gcc before 3.0 is not known", aug)
	case aug != "" && aug[0] != 'z':
		return fail("CIE augmentation %q is not known", aug)
	}
	if version == 4 {
		if size, segment := c.u8(), c.u8(); !c.bad && (size != 8 || segment != 0) {
			return fail("CIE address size %d, segment size %d: want 8, 0", size, segment)
		}
	}
	ci.codeAlign = c.uleb()
	ci.dataAlign = c.sleb()
	ra := uint64(0)
	if version == 1 {
		ra = uint64(c.u8())
	} else {
		ra = c.uleb()
	}
	switch {
	case c.bad:
		return fail("CIE is truncated")
	case ra != regRA:
		return fail("CIE return address is register %d, want %d", ra, regRA)
	case !fitsInt32(ci.dataAlign) || ci.codeAlign > 1<<32:
		return fail("CIE alignment factors %d, %d are out of range", ci.codeAlign, ci.dataAlign)
	}
	if aug != "" {
		ci.augData = true
		n := c.uleb()
		data := cursor{b: c.b, pos: c.pos}
		if c.take(n); c.bad {
			return fail("CIE is truncated")
		}
		data.b = c.b[:c.pos]
		for _, letter := range aug[1:] {
			switch letter {
			case 'R':
				ci.ptrEnc = data.u8()
			case 'L':
				data.u8()
			case 'P':
				// Only its size matters.
				var err error
				if enc := data.u8(); enc&0x70 == peAligned {
					_, err = data.pointer(peAligned, &b)
				} else {
					_, err = data.value(enc)
				}
				if err != nil {
					return fail("CIE personality: %w", err)
				}
			case 'S':
				ci.signal = true
			default:
				return fail("CIE augmentation %q is not known", aug)
			}
		}
		if data.bad {
			return fail("CIE is truncated")
		}
	}
	p := program{cie: ci, bases: &b, code: c}
	ci.initErr = p.run(0, 1<<32, nil)
	ci.init = p.state
	return ci
}

var (
	errEmpty   = errors.New("FDE covers no address")
	errTooHigh = errors.New("FDE is not below 4 GiB")
)

// fdeRange decodes an FDE up to its instructions, at which c stands after it.
func (ci *cie) fdeRange(c *cursor, b *bases) (lo, hi uint64, err error) {
	if lo, err = c.pointer(ci.ptrEnc, b); err != nil {
		return 0, 0, fmt.Errorf("FDE's first address: %w", err)
	}
	size, err := c.value(ci.ptrEnc)
	if err != nil {
		return 0, 0, fmt.Errorf("FDE's address range: %w", err)
	}
	if ci.augData {
		c.take(c.uleb())
	}
	switch {
	case c.bad:
		return 0, 0, fmt.Errorf("FDE: %w", errTruncated)
	case size == 0:
		return 0, 0, errEmpty
	case lo >= 1<<32 || size > 1<<32-lo:
		return 0, 0, errTooHigh
	}
	return lo, lo + size, nil
}
