// SPDX-License-Identifier: Apache-2.0

package unwind

import (
	"debug/elf"
	"errors"
	"strings"
	"testing"
)

func TestPointer(t *testing.T) {
	const section, pos = 0x100001, 3 // the pointer is at 0x100004
	b := &bases{
		section: section, fn: 0x4000,
		data: func() (uint64, error) { return 0x600000, nil },
		deref: func(addr uint64) (uint64, error) {
			if addr != 0x100004+0x10 {
				return 0, errors.New("wrong address")
			}
			return 0xabc, nil
		},
	}
	bytes8 := []byte{0xf0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	for _, tt := range []struct {
		name string
		enc  uint8
		in   []byte
		want uint64
		end  int // bytes read; 0: an error
	}{
		{"absptr", peAbsptr, bytes8, 0xfffffffffffffff0, 8},
		{"udata2", peUdata2, bytes8, 0xfff0, 2},
		{"udata4", peUdata4, bytes8, 0xfffffff0, 4},
		{"udata8", peUdata8, bytes8, 0xfffffffffffffff0, 8},
		{"uleb128", peULEB128, []byte{0xe5, 0x8e, 0x26}, 624485, 3},
		{"sleb128", peSLEB128, []byte{0xc0, 0xbb, 0x78}, ^uint64(123456) + 1, 3},
		{"sleb128 of 63 bits", peSLEB128, []byte{0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x40}, 3 << 62, 9},
		{"signed", peSigned, bytes8, 0xfffffffffffffff0, 8},
		{"sdata2", peSdata2, bytes8, 0xfffffffffffffff0, 2},
		{"sdata4", peSdata4, bytes8, 0xfffffffffffffff0, 4},
		{"sdata8", peSdata8, bytes8, 0xfffffffffffffff0, 8},
		{"pcrel sdata4", pePcrel | peSdata4, bytes8, 0x100004 - 0x10, 4},
		{"pcrel absptr", pePcrel, bytes8, 0x100004 - 0x10, 8},
		{"datarel sdata4", peDatarel | peSdata4, bytes8, 0x600000 - 0x10, 4},
		{"datarel udata2", peDatarel | peUdata2, []byte{1, 2}, 0x600201, 2},
		{"funcrel uleb128", peFuncrel | peULEB128, []byte{5}, 0x4005, 1},
		{"aligned", peAligned, []byte{9, 9, 9, 9, 1, 2, 3, 4, 5, 6, 7, 8}, 0x0807060504030201, 12},
		{"indirect pcrel", peIndirect | pePcrel | peSdata4, []byte{0x10, 0, 0, 0}, 0xabc, 4},
		{"omitted", peOmit, bytes8, 0, 0},
		{"textrel", peTextrel | peSdata4, bytes8, 0, 0},
		{"unknown format", 0x05, bytes8, 0, 0},
		{"unknown base", 0x60, bytes8, 0, 0},
		{"truncated udata8", peUdata8, bytes8[:7], 0, 0},
		{"truncated sdata2", peSdata2, bytes8[:1], 0, 0},
		{"truncated aligned", peAligned, bytes8, 0, 0},
		{"truncated uleb128", peULEB128, []byte{0x80, 0x80}, 0, 0},
		{"oversized sleb128", peSLEB128, []byte(strings.Repeat("\x80", 10) + "\x00"), 0, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := cursor{b: append([]byte{0, 0, 0}, tt.in...), pos: pos}
			got, err := c.pointer(tt.enc, b)
			if tt.end == 0 {
				if err == nil {
					t.Fatalf("got %#x, want an error", got)
				}
				return
			}
			if err != nil || got != tt.want || c.pos != pos+tt.end {
				t.Errorf("got %#x, %v, %d bytes; want %#x, %d bytes", got, err, c.pos-pos, tt.want, tt.end)
			}
		})
	}
	c := cursor{b: bytes8}
	if _, err := c.pointer(peDatarel|peSdata4, &bases{}); err == nil {
		t.Error("no error for a data base that is not known")
	}
	if _, err := c.pointer(peIndirect|peSdata4, &bases{}); err == nil {
		t.Error("no error for an indirect pointer without memory")
	}
}

// TestPointerEncodings reads FDEs whose CIE gives them each encoding.
func TestPointerEncodings(t *testing.T) {
	for _, tt := range []struct {
		enc  uint8
		body func(field uint64) []byte // of the FDE at address field
	}{
		{peUdata4, func(uint64) []byte { return []byte{0, 0x10, 0, 0, 16, 0, 0, 0} }},
		{peUdata2, func(uint64) []byte { return []byte{0, 0x10, 16, 0} }},
		{peULEB128, func(uint64) []byte { return []byte{0x80, 0x20, 16} }},
		{peSLEB128, func(uint64) []byte { return []byte{0x80, 0x20, 16} }},
		{pePcrel | peSdata4, func(field uint64) []byte {
			d := uint32(0x1000 - field)
			return []byte{byte(d), byte(d >> 8), byte(d >> 16), byte(d >> 24), 16, 0, 0, 0}
		}},
		{peDatarel | peSdata4, func(uint64) []byte { return []byte{0, 0xf0, 0xff, 0xff, 16, 0, 0, 0} }},
	} {
		f := &frames{}
		c := f.cie(1, "zR", 1, tt.enc)
		field := craftedAddr + uint64(len(f.b)) + 8
		f.entry(uint64(c), true, append(tt.body(field), 0))
		im := anyImage()
		im.dynamic = map[elf.DynTag]uint64{elf.DT_PLTGOT: 0x2000}
		got, err := f.build(im)
		if err != nil {
			t.Errorf("%#x: %v", tt.enc, err)
			continue
		}
		if want := "1000 rsp+8 ra=c-8; 1010 undefined"; got.text() != want {
			t.Errorf("%#x: got %s, want %s", tt.enc, got.text(), want)
		}
	}
}
