// SPDX-License-Identifier: Apache-2.0

package inline

import "debug/dwarf"

// maxTypes bounds the typedefs and qualifiers around a type.
const maxTypes = 32

// size returns the bytes of the type of e, 0 if unknown. Types are not resolved
// as a whole: a pointer has its size whatever it points to.
func (d *finder) size(e *dwarf.Entry) int {
	off, ok := e.Val(dwarf.AttrType).(dwarf.Offset)
	if !ok {
		return 0
	}
	if n, ok := d.sizes[off]; ok {
		return n
	}
	n := 0
	for at, hops := off, 0; hops < maxTypes; hops++ {
		t, err := d.entry(at)
		if err != nil {
			break
		}
		if bytes, ok := t.Val(dwarf.AttrByteSize).(int64); ok {
			if bytes > 0 && bytes < 1<<31 {
				n = int(bytes)
			}
			break
		}
		if t.Tag == dwarf.TagPointerType {
			n = 8
			break
		}
		if at, ok = t.Val(dwarf.AttrType).(dwarf.Offset); !ok {
			break
		}
		if t.Tag == dwarf.TagArrayType {
			break
		}
	}
	d.sizes[off] = n
	return n
}
