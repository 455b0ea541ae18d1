// SPDX-License-Identifier: Apache-2.0

package symbol

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"testing"
)

func TestBuildIDNote(t *testing.T) {
	note := func(kind uint32, name, desc string, align int) []byte {
		var b []byte
		for _, v := range []int{len(name), len(desc), int(kind)} {
			b = binary.LittleEndian.AppendUint32(b, uint32(v))
		}
		b = append(b, name...)
		b = append(b, make([]byte, -len(b)&(align-1))...)
		b = append(b, desc...)
		return append(b, make([]byte, -len(b)&(align-1))...)
	}
	id := note(3, "GNU\x00", "\x01\x02\xfe", 4)
	tests := []struct {
		name  string
		notes []byte
		align uint64
		want  string
	}{
		{"alone", id, 4, "0102fe"},
		{"after an odd one", append(note(1, "Linux\x00", "12345", 4), id...), 4, "0102fe"},
		{"after a property", append(note(5, "GNU\x00", "123456789", 8), note(3, "GNU\x00", "\xab", 8)...), 8, "ab"},
		{"of another vendor", note(3, "Go\x00\x00", "abc", 4), 4, ""},
		{"truncated", id[:17], 4, ""},
		{"huge name", append(bytes.Repeat([]byte{0xff}, 8), id[8:]...), 4, ""},
		{"empty", nil, 4, ""},
	}
	f := &elf.File{FileHeader: elf.FileHeader{ByteOrder: binary.LittleEndian}}
	for _, test := range tests {
		if got := buildIDNote(f, bytes.NewReader(test.notes), test.align); got != test.want {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
	}
}
