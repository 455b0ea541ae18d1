// SPDX-License-Identifier: Apache-2.0

package prologue

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/arch/x86/x86asm"
)

// ErrJoined says that a place may be reached otherwise than from the entry.
var ErrJoined = errors.New("not reached from the entry alone")

// Alone says why the instruction at an offset may be passed more or less often
// than the one at another offset before it, with nothing but a straight line
// between; nil if it is passed as often: nothing in the function leads behind
// from and up to the offset. code is the whole function.
func Alone(code []byte, from, offset uint64) error {
	if offset == from {
		return nil
	}
	reads, jumps := false, false // a table of addresses; through a register
	for at := 0; at < len(code); {
		in, length, ok := decode(code[at:])
		if !ok {
			return fmt.Errorf("%w: the code at +%d cannot be read", ErrJoined, at)
		}
		at += length
		for _, a := range in.Args {
			if rel, ok := a.(x86asm.Rel); ok {
				if to := int64(at) + int64(rel); to > int64(from) && to <= int64(offset) {
					return fmt.Errorf("%w: a jump leads to +%d", ErrJoined, to)
				}
			}
			if m, ok := a.(x86asm.Mem); ok && m.Index != 0 && m.Scale >= 4 {
				if in.Op == x86asm.JMP {
					return fmt.Errorf("%w: it jumps by a table", ErrJoined)
				}
				reads = reads || in.Op == x86asm.MOVSXD
			}
		}
		if _, ok := in.Args[0].(x86asm.Reg); ok && in.Op == x86asm.JMP {
			jumps = true
		}
	}
	// gcc and clang take a relative address from a table, and add its own.
	if reads && jumps {
		return fmt.Errorf("%w: it jumps by a table", ErrJoined)
	}
	return nil
}

// Span is a part of code, ELF vaddrs: behind From and up to To.
type Span struct{ From, To uint64 }

// Landings are where the calls and jumps with a 32-bit displacement lead that are
// anywhere in some code, as far as that is in it: as those from the part of a
// function that the compiler put elsewhere.
type Landings struct {
	address uint64
	bits    []uint64 // of the code's bytes, and the end
}

// FindLandings looks through code that lies at an address. It takes bytes that
// only look like a jump for one.
func FindLandings(text []byte, address uint64) *Landings {
	l := &Landings{address, make([]uint64, len(text)/64+1)}
	for i := 1; i+4 <= len(text); i++ {
		op := text[i-1]
		if op != 0xe8 && op != 0xe9 && (op&0xf0 != 0x80 || i < 2 || text[i-2] != 0x0f) {
			continue
		}
		to := uint64(i) + 4 + uint64(int64(int32(binary.LittleEndian.Uint32(text[i:]))))
		if to <= uint64(len(text)) {
			l.bits[to/64] |= 1 << (to % 64)
		}
	}
	return l
}

// Within says whether one leads into a span.
func (l *Landings) Within(s Span) bool {
	for a := s.From + 1; a <= s.To; a++ {
		if at := a - l.address; at/64 < uint64(len(l.bits)) && l.bits[at/64]>>(at%64)&1 != 0 {
			return true
		}
	}
	return false
}
