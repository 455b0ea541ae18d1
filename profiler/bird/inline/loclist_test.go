// SPDX-License-Identifier: Apache-2.0

package inline

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
)

// list builds a location list.
type list []byte

func (l list) u8(v uint64) list  { return append(l, byte(v)) }
func (l list) u16(v uint64) list { return binary.LittleEndian.AppendUint16(l, uint16(v)) }
func (l list) u64(v uint64) list { return binary.LittleEndian.AppendUint64(l, v) }
func (l list) uleb(vs ...uint64) list {
	for _, v := range vs {
		l = binary.AppendUvarint(l, v)
	}
	return l
}

// reg is DW_OP_regN, with its length before it.
func (l list) reg(n uint64) list  { return l.u8(1).u8(opReg0 + n) }
func (l list) reg4(n uint64) list { return l.u16(1).u8(opReg0 + n) }

func TestLocations(t *testing.T) {
	const base = 0x1000
	addr := list{}.u64(0).u64(0x5000).u64(0x5010) // with addrBase 8, indexes 0 and 1
	tests := []struct {
		name    string
		version uint16
		list    list
		views   list
		entry   point
		want    string // registers that hold
	}{
		{"dwarf4", 4, list{}.u64(0).u64(16).reg4(3).u64(16).u64(32).reg4(5).u64(0).u64(0), nil, point{base + 16, 0}, "5"},
		{"dwarf4 base", 4, list{}.u64(^uint64(0)).u64(0x9000).u64(0).u64(1).reg4(3).u64(0).u64(0), nil, point{0x9000, 0}, "3"},
		{"dwarf4 views", 4, list{}.u64(8).u64(8).reg4(3).u64(8).u64(9).reg4(5).u64(0).u64(0), list{}.uleb(0, 2, 2, 0), point{base + 8, 1}, "3 5"},
		{"offset pair", 5, list{}.u8(lleOffsetPair).uleb(0, 8).reg(1).u8(0), nil, point{base + 7, 0}, "1"},
		{"end is outside", 5, list{}.u8(lleOffsetPair).uleb(0, 8).reg(1).u8(0), nil, point{base + 8, 0}, ""},
		{"end with a view", 5, list{}.u8(lleOffsetPair).uleb(0, 8).reg(1).u8(0), list{}.uleb(0, 3), point{base + 8, 2}, "1"},
		{"end at the view", 5, list{}.u8(lleOffsetPair).uleb(0, 8).reg(1).u8(0), list{}.uleb(0, 2), point{base + 8, 2}, ""},
		{"begin at a later view", 5, list{}.u8(lleOffsetPair).uleb(8, 9).reg(1).u8(0), list{}.uleb(7, 0), point{base + 8, 2}, "1"},
		{"empty by address", 5, list{}.u8(lleOffsetPair).uleb(8, 8).reg(1).u8(0), list{}.uleb(2, 3), point{base + 8, 2}, "1"},
		{"empty", 5, list{}.u8(lleOffsetPair).uleb(8, 8).reg(1).u8(0), nil, point{base + 8, 0}, ""},
		{"over before the view", 5, list{}.u8(lleOffsetPair).uleb(8, 8).reg(1).u8(lleOffsetPair).uleb(8, 9).reg(2).u8(0), list{}.uleb(0, 2, 2, 0), point{base + 8, 2}, "2"},
		{"earliest first", 5, list{}.u8(lleOffsetPair).uleb(8, 9).reg(1).u8(lleOffsetPair).uleb(8, 8).reg(2).u8(0), list{}.uleb(5, 0, 2, 5), point{base + 8, 2}, "2 1"},
		{"base address", 5, list{}.u8(lleBaseAddress).u64(0x9000).u8(lleOffsetPair).uleb(0, 8).reg(1).u8(0), nil, point{0x9000, 0}, "1"},
		{"base addressx", 5, list{}.u8(lleBaseAddressx).uleb(1).u8(lleOffsetPair).uleb(0, 8).reg(1).u8(0), nil, point{0x5010, 0}, "1"},
		{"startx endx", 5, list{}.u8(lleStartxEndx).uleb(0, 1).reg(1).u8(0), nil, point{0x500f, 0}, "1"},
		{"startx length", 5, list{}.u8(lleStartxLength).uleb(1, 4).reg(1).u8(0), nil, point{0x5013, 0}, "1"},
		{"start end", 5, list{}.u8(lleStartEnd).u64(1).u64(3).reg(1).u8(0), nil, point{2, 0}, "1"},
		{"start length", 5, list{}.u8(lleStartLength).u64(1).uleb(3).reg(1).u8(0), nil, point{3, 0}, "1"},
		{"default", 5, list{}.u8(lleDefaultLocation).reg(7).u8(lleOffsetPair).uleb(0, 8).reg(1).u8(0), nil, point{base + 9, 0}, "7"},
		{"not default", 5, list{}.u8(lleDefaultLocation).reg(7).u8(lleOffsetPair).uleb(0, 8).reg(1).u8(0), nil, point{base, 0}, "1"},
		{"view pair", 5, list{}.u8(lleGNUViewPair).uleb(3, 4).u8(lleOffsetPair).uleb(0, 0).reg(1).u8(lleOffsetPair).uleb(0, 4).reg(2).u8(0), nil, point{base, 3}, "1 2"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			// The view numbers come first, as gcc writes them.
			section := append(append(list{0xff}, test.views...), test.list...)
			views := int64(-1)
			if test.views != nil {
				views = 1
			}
			s := &sections{addr: addr, loc: section, loclists: section}
			u := &unit{version: test.version, offsetSize: 4, base: base, addrBase: 8, loclistsBase: -1}
			left := budget(100)
			got, err := u.locations(s, int64(1+len(test.views)), views, &left)
			if err != nil {
				t.Fatal(err)
			}
			var registers []string
			for _, e := range at(got, test.entry) {
				registers = append(registers, fmt.Sprint(e[0]-opReg0))
			}
			if got := strings.Join(registers, " "); got != test.want {
				t.Errorf("registers %q hold, want %q", got, test.want)
			}
			for n := range section[1+len(test.views):] {
				s.loc, s.loclists = section[:1+len(test.views)+n], section[:1+len(test.views)+n]
				if _, err := u.locations(s, int64(1+len(test.views)), views, &left); err == nil {
					t.Fatalf("no error for a list cut to %d bytes", n)
				}
			}
		})
	}
}

func TestLocationsMalformed(t *testing.T) {
	section := list{}.u8(lleOffsetPair).uleb(0, 8).reg(1).u8(0)
	tests := []struct {
		name       string
		list       list
		off, views int64
		left       budget
		want       string
	}{
		{"negative", section, -1, -1, 9, "out of the section"},
		{"behind", section, 99, -1, 9, "out of the section"},
		{"views behind", section, 0, 99, 9, "out of the section"},
		{"views end", section, 0, int64(len(section) - 1), 9, "location views"},
		{"kind", list{}.u8(0x77), 0, -1, 9, "unknown kind 0x77"},
		{"index", list{}.u8(lleBaseAddressx).uleb(1 << 62), 0, -1, 9, "out of .debug_addr"},
		{"index at the end", list{}.u8(lleBaseAddressx).uleb(1), 0, -1, 9, "out of .debug_addr"},
		{"too long", section, 0, -1, 1, "too long"},
		{"huge expression", list{}.u8(lleOffsetPair).uleb(0, 8, 1<<60).u8(0), 0, -1, 9, "malformed"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			u := &unit{version: 5, offsetSize: 4, addrBase: 0, loclistsBase: -1}
			_, err := u.locations(&sections{loclists: test.list, addr: make([]byte, 8)}, test.off, test.views, &test.left)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %q", err, test.want)
			}
		})
	}
}

func TestListOffset(t *testing.T) {
	u32 := func(v ...uint32) (b []byte) {
		for _, v := range v {
			b = binary.LittleEndian.AppendUint32(b, v)
		}
		return b
	}
	tests := []struct {
		name  string
		unit  unit
		lists []byte
		index uint64
		want  int64 // -1: an error
	}{
		{"second", unit{offsetSize: 4, loclistsBase: 4}, u32(0, 8, 12, 0), 1, 16},
		{"64 bit", unit{offsetSize: 8, loclistsBase: 0}, u32(1, 0, 9, 0, 0, 0), 1, 9},
		{"no base", unit{offsetSize: 4, loclistsBase: -1}, u32(0, 8), 0, -1},
		{"index", unit{offsetSize: 4, loclistsBase: 4}, u32(0, 8), 1, -1},
		{"huge index", unit{offsetSize: 4, loclistsBase: 4}, u32(0, 8), 1 << 62, -1},
		{"huge base", unit{offsetSize: 4, loclistsBase: 1 << 62}, u32(0, 8), 0, -1},
		{"offset", unit{offsetSize: 4, loclistsBase: 0}, u32(1<<31, 8), 0, -1},
	}
	for _, test := range tests {
		got, err := test.unit.listOffset(&sections{loclists: test.lists}, test.index)
		if err != nil {
			got = -1
		}
		if got != test.want {
			t.Errorf("%s: %d, %v, want %d", test.name, got, err, test.want)
		}
	}
}
