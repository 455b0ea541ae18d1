// SPDX-License-Identifier: Apache-2.0

package inline

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
)

// point is a place between two source-level steps: an address, and the number
// of steps ("location views", a GNU extension of DWARF) that were made there
// before without any instruction.
type point struct{ pc, view uint64 }

func (p point) less(q point) bool {
	return p.pc < q.pc || p.pc == q.pc && p.view < q.view
}

// location is an expression, and where it holds: in [lo, hi).
type location struct {
	lo, hi     point
	expression []byte
	isDefault  bool // holds where no other does
}

// Entries of location lists: DWARF 5 §7.7.3, and DW_LLE_GNU_view_pair of gcc
// (-gvariable-location-views=incompat5).
const (
	lleEndOfList       = 0x00
	lleBaseAddressx    = 0x01
	lleStartxEndx      = 0x02
	lleStartxLength    = 0x03
	lleOffsetPair      = 0x04
	lleDefaultLocation = 0x05
	lleBaseAddress     = 0x06
	lleStartEnd        = 0x07
	lleStartLength     = 0x08
	lleGNUViewPair     = 0x09
)

var (
	errLocationList = errors.New("location list is truncated or malformed")
	errTooMany      = errors.New("location lists are too long")
)

// budget bounds a kind of work that a small file could demand without end, by
// many entries that share one list.
type budget int

func (b *budget) take() error {
	if *b <= 0 {
		return errTooMany
	}
	*b--
	return nil
}

// locations parses the location list at offset off of .debug_loclists (DWARF 5
// §7.7.3) or .debug_loc (DWARF 4 §7.7.3), as the unit's version says. views is
// the offset of its view numbers in the same section (DW_AT_GNU_locviews: a
// pair for each location), -1 if there are none.
func (u *unit) locations(s *sections, off, views int64, left *budget) ([]location, error) {
	section := s.loc
	if u.version >= 5 {
		section = s.loclists
	}
	if off < 0 || off >= int64(len(section)) || views >= int64(len(section)) {
		return nil, fmt.Errorf("parse location list at %#x: out of the section", off)
	}
	c := cursor{b: section[off:]}
	var pairs cursor
	if views >= 0 {
		pairs.b = section[views:]
	}
	next := u.nextLocation4
	if u.version >= 5 {
		next = u.nextLocation5
	}
	var list []location
	state := listState{base: u.base}
	for {
		if err := left.take(); err != nil {
			return nil, fmt.Errorf("parse location list at %#x: %w", off, err)
		}
		l, more, err := next(s, &c, &state)
		if c.bad && err == nil {
			err = errLocationList
		}
		if err != nil {
			return nil, fmt.Errorf("parse location list at %#x: %w", off, err)
		}
		if !more {
			return list, nil
		}
		if l == nil {
			continue
		}
		if views >= 0 && !l.isDefault {
			l.lo.view, l.hi.view = pairs.uleb(), pairs.uleb()
			if pairs.bad {
				return nil, fmt.Errorf("parse location views at %#x: %w", views, errLocationList)
			}
		}
		list = append(list, *l)
	}
}

// listState is what earlier entries of a list say about later ones.
type listState struct {
	base           uint64
	loView, hiView uint64 // of the next location
}

// nextLocation4 reads one entry of a list of DWARF 4 §2.6.2. The location is
// nil for one that only sets the base; more is false at the end.
func (u *unit) nextLocation4(_ *sections, c *cursor, state *listState) (l *location, more bool, err error) {
	lo, hi := c.uint(8), c.uint(8)
	switch {
	case lo == 0 && hi == 0:
		return nil, false, nil
	case lo == ^uint64(0):
		state.base = hi
		return nil, true, nil
	}
	l = &location{lo: point{pc: state.base + lo}, hi: point{pc: state.base + hi}}
	l.expression = c.bytes(c.uint(2))
	return l, true, nil
}

// nextLocation5 is nextLocation4 for DWARF 5 §2.6.2.
func (u *unit) nextLocation5(s *sections, c *cursor, state *listState) (l *location, more bool, err error) {
	l = new(location)
	switch kind := c.uint(1); kind {
	case lleEndOfList:
		return nil, false, nil
	case lleBaseAddressx:
		state.base, err = u.address(s, c.uleb())
		return nil, true, err
	case lleBaseAddress:
		state.base = c.uint(8)
		return nil, true, nil
	case lleGNUViewPair:
		state.loView, state.hiView = c.uleb(), c.uleb()
		return nil, true, nil
	case lleStartxEndx:
		if l.lo.pc, err = u.address(s, c.uleb()); err == nil {
			l.hi.pc, err = u.address(s, c.uleb())
		}
	case lleStartxLength:
		l.lo.pc, err = u.address(s, c.uleb())
		l.hi.pc = l.lo.pc + c.uleb()
	case lleOffsetPair:
		l.lo.pc = state.base + c.uleb()
		l.hi.pc = state.base + c.uleb()
	case lleDefaultLocation:
		l.isDefault = true
	case lleStartEnd:
		l.lo.pc, l.hi.pc = c.uint(8), c.uint(8)
	case lleStartLength:
		l.lo.pc = c.uint(8)
		l.hi.pc = l.lo.pc + c.uleb()
	default:
		err = fmt.Errorf("entry of unknown kind %#x", kind)
	}
	l.lo.view, l.hi.view = state.loView, state.hiView
	state.loView, state.hiView = 0, 0
	l.expression = c.bytes(c.uleb())
	return l, true, err
}

// listOffset returns where in .debug_loclists the list with the index of a
// DW_FORM_loclistx is (DWARF 5 §7.29).
func (u *unit) listOffset(s *sections, index uint64) (int64, error) {
	size := uint64(u.offsetSize)
	if u.loclistsBase < 0 || u.loclistsBase > int64(len(s.loclists)) || index > uint64(len(s.loclists))/size {
		return 0, fmt.Errorf("look up location list %d: %w", index, errLocationList)
	}
	at := uint64(u.loclistsBase) + index*size
	if at > uint64(len(s.loclists)) {
		return 0, fmt.Errorf("look up location list %d: %w", index, errLocationList)
	}
	c := cursor{b: s.loclists[at:]}
	off := c.uint(u.offsetSize)
	if c.bad || off > uint64(len(s.loclists)) {
		return 0, fmt.Errorf("look up location list %d: %w", index, errLocationList)
	}
	return u.loclistsBase + int64(off), nil
}

// at returns the expressions that hold when the instruction at entry.pc is
// about to be executed, from the steps made there: the registers and memory are
// the same at all of them, the parameter need not be. Steps before entry.view
// are the caller's, unless their value still holds then. The earliest comes
// first; a parameter can be bound to its value some steps behind the entry.
func at(list []location, entry point) [][]byte {
	type bound struct {
		from       uint64
		expression []byte
	}
	var holding []bound
	var fallback [][]byte
	for _, l := range list {
		if l.isDefault {
			fallback = append(fallback, l.expression)
			continue
		}
		from := entry.view
		if l.lo.pc == entry.pc {
			from = max(from, l.lo.view)
		}
		if p := (point{entry.pc, from}); !p.less(l.lo) && p.less(l.hi) {
			holding = append(holding, bound{from, l.expression})
		}
	}
	if len(holding) == 0 {
		return fallback
	}
	slices.SortStableFunc(holding, func(a, b bound) int { return cmp.Compare(a.from, b.from) })
	expressions := make([][]byte, len(holding))
	for i, h := range holding {
		expressions[i] = h.expression
	}
	return expressions
}
