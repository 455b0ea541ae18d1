// SPDX-License-Identifier: Apache-2.0

package prologue

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/arch/x86/x86asm"
)

// ErrNoCopy says that no copy of a function's beginning can be made.
var ErrNoCopy = errors.New("no copy of it can be tried")

// preserved are the registers that a function gives back as it got them.
var preserved = []Register{RBX, RBP, R12, R13, R14, R15}

// Copy returns a function that begins as another one does, up to and with a
// place of it, gives back the registers that it has saved by then, and returns:
// to be tried where the original would do harm. It is made for an address.
// What the original reads by an address relative to rip the copy reads at data,
// and where it jumps to or calls is the next instruction. It has to be one of
// Follow's places, and no ret.
func Copy(code []byte, place Place, address, data uint64) ([]byte, error) {
	end := int(place.Offset) + place.Length
	if end > len(code) || place.Form == Ret {
		return nil, fmt.Errorf("%w: there is no such place", ErrNoCopy)
	}
	out := slices.Clone(code[:end])
	for pc := 0; pc < end; {
		in, length, ok := decode(out[pc:])
		if !ok {
			return nil, fmt.Errorf("%w: it cannot be read", ErrNoCopy)
		}
		to := int64(data) - int64(address) - int64(pc+length)
		for _, a := range in.Args {
			switch a := a.(type) {
			case x86asm.Rel:
				to = 0
			case x86asm.Mem:
				if a.Segment == x86asm.GS {
					return nil, fmt.Errorf("%w: it uses gs", ErrNoCopy)
				}
			}
		}
		switch at := out[pc+in.PCRelOff:]; {
		case in.PCRel == 0:
		case in.PCRel == 1 && to == 0:
			at[0] = 0
		case in.PCRel == 4 && to == int64(int32(to)):
			binary.LittleEndian.PutUint32(at, uint32(int32(to)))
		default:
			return nil, fmt.Errorf("%w: the data is too far away", ErrNoCopy)
		}
		pc += length
	}
	for _, r := range preserved {
		v, ok := place.behind.find(r, 64)
		switch {
		case !ok:
			return nil, fmt.Errorf("%w: %s is lost", ErrNoCopy, r)
		case v.Load:
			out = append(out, withRSP(0x8b, r, v.Offset)...) // mov offset(rsp), r
		case v != Value{Register: r}:
			return nil, fmt.Errorf("%w: %s is in %s", ErrNoCopy, r, v)
		}
	}
	out = append(out, withRSP(0x8d, RSP, int32(place.behind.depth()))...) // lea depth(rsp), rsp
	return append(out, 0xc3), nil                                         // ret
}

// withRSP is a 64-bit instruction on a register and memory at an offset to rsp.
func withRSP(op byte, r Register, offset int32) []byte {
	const rexW, rexR, disp32, sib, onlyRSP = 0x48, 0x04, 0x80, 0x04, 0x24
	in := []byte{rexW | byte(r>>3)*rexR, op, disp32 | byte(r&7)<<3 | sib, onlyRSP}
	return binary.LittleEndian.AppendUint32(in, uint32(offset))
}

// At returns the place of a function at an offset, as Follow does.
func At(code []byte, offset uint64) (Place, bool) {
	for _, p := range Follow(code) {
		if p.Offset == offset {
			return p, true
		}
	}
	return Place{}, false
}
