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

// Landings says which of the spans some call or jump with a 32-bit displacement
// leads into, anywhere in text, which lies at an address: as those from the part
// of a function that the compiler put elsewhere. It takes bytes that only look
// like one for one.
func Landings(text []byte, address uint64, spans []Span) []bool {
	landed := make([]bool, len(spans))
	if len(spans) == 0 {
		return landed
	}
	low, high := spans[0].From, spans[0].To
	for _, s := range spans {
		low, high = min(low, s.From), max(high, s.To)
	}
	for i := 1; i+4 <= len(text); i++ {
		op := text[i-1]
		if op != 0xe8 && op != 0xe9 && (op&0xf0 != 0x80 || i < 2 || text[i-2] != 0x0f) {
			continue
		}
		to := address + uint64(i) + 4 + uint64(int64(int32(binary.LittleEndian.Uint32(text[i:]))))
		if to <= low || to > high {
			continue
		}
		for n, s := range spans {
			landed[n] = landed[n] || to > s.From && to <= s.To
		}
	}
	return landed
}
