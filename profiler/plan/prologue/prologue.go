// SPDX-License-Identifier: Apache-2.0

// Package prologue follows the instructions at the entry of an x86-64 function,
// as far as every call runs them one after the other, and says at each where
// rsp and what was in registers at the entry are now. So a probe can sit at an
// instruction that costs little, and still see the arguments.
//
// What is followed changes nothing that others can see: an instruction that
// writes memory outside of the function's own frame is not passed, so that at
// every place the function has not done yet what it is for.
package prologue

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"

	"golang.org/x/arch/x86/x86asm"
)

// Register is the number of a general register as the instruction encodes it:
// rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi, r8 to r15.
type Register uint8

// Registers of the System V ABI.
const (
	RAX Register = iota
	RCX
	RDX
	RBX
	RSP
	RBP
	RSI
	RDI
	R8
	R9
	R10
	R11
	R12
	R13
	R14
	R15
	registers
)

// Argument is the register of a function's first, second, ... argument of class
// INTEGER, from 0 to 5.
func Argument(i int) Register {
	return [6]Register{RDI, RSI, RDX, RCX, R8, R9}[i]
}

var registerNames = [registers]string{
	"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15",
}

func (r Register) String() string {
	if r < registers {
		return registerNames[r]
	}
	return fmt.Sprintf("register %d", uint8(r))
}

// Value is an expression for a value at a place.
type Value struct {
	Register Register
	Offset   int32 // added to the register
	// Load: the value is in memory, at that address.
	Load bool
}

// String is the expression, e.g. "rdi", "rbp+16" or "[rsp+8]".
func (v Value) String() string {
	s := v.Register.String()
	if v.Offset != 0 {
		s += fmt.Sprintf("%+d", v.Offset)
	}
	if v.Load {
		return "[" + s + "]"
	}
	return s
}

// Place is an instruction that every call runs once, unless something jumps in.
type Place struct {
	Offset uint64 // from the entry, bytes
	Length int    // bytes
	Form   Form
	// Depth is how far rsp is below its value at the entry, bytes: at 0 the return
	// address is at [rsp].
	Depth int32
	// RedZone: the function has written below rsp, where a kernel that turns a nop5
	// into a call would write as well (Linux 6.18).
	RedZone bool

	state, behind state // before and behind the instruction
}

// IsUntouched says that the function has changed nothing but flags before it
// comes here: registers and frame are as at the entry.
func (p *Place) IsUntouched() bool {
	for r, v := range p.state.registers {
		if v != (known{true, Register(r), 0, 64}) {
			return false
		}
	}
	return len(p.state.slots) == 0
}

// IsFrame says whether a register and an offset make the canonical frame address
// here, which is what rsp was before the function was called (DWARF 5, 6.4): as
// call frame information says it, to be compared with what was followed.
func (p *Place) IsFrame(r Register, offset int64) bool {
	v := p.state.registers[r&(registers-1)]
	const returnAddress = 8
	return v.known && v.initial == RSP && v.bits == 64 && v.offset+offset == returnAddress
}

// FromDWARF is the register with a number of DWARF's (System V ABI, figure 3.36),
// of which the lowest four bits count.
func FromDWARF(n int) Register {
	switch n &= 15; {
	case n < 8:
		return [8]Register{RAX, RDX, RCX, RBX, RSI, RDI, RBP, RSP}[n]
	default:
		return Register(n)
	}
}

// Find says how the value that a register had at the entry can be had here. Of
// bits only so many are wanted, 64 or 32; with 32 those above are anything.
func (p *Place) Find(r Register, bits int) (Value, bool) { return p.state.find(r, bits) }

func (s *state) find(r Register, bits int) (Value, bool) {
	var found []Value
	for holder, v := range s.registers {
		if v.known && v.initial == r && v.bits >= bits && fits(-v.offset) {
			found = append(found, Value{Register: Register(holder), Offset: int32(-v.offset)})
		}
	}
	for at, v := range s.slots {
		// Relative to rsp: at is relative to what it was.
		if v.known && v.initial == r && v.bits >= bits && v.offset == 0 {
			found = append(found, Value{Register: RSP, Offset: int32(at + s.depth()), Load: true})
		}
	}
	if len(found) == 0 {
		return Value{}, false
	}
	// The simplest, so that the choice does not depend on chance.
	return slices.MinFunc(found, func(a, b Value) int {
		rank := func(v Value) int {
			switch {
			case v.Load:
				return 3
			case v.Offset != 0:
				return 2
			case v.Register != r:
				return 1
			}
			return 0
		}
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a.Register, b.Register), cmp.Compare(a.Offset, b.Offset))
	}), true
}

// fits says whether an offset can be handed to a probe's program.
func fits(offset int64) bool { return offset >= -MaxOffset && offset <= MaxOffset }

// MaxOffset bounds the offsets of values.
const MaxOffset = 1<<14 - 1

// known is what a register or a word of the frame holds: what a register held
// at the entry, and an offset to it.
type known struct {
	known   bool
	initial Register
	offset  int64
	bits    int // 64, or 32: then the rest is zero, or was not stored
}

type state struct {
	registers [registers]known
	slots     map[int64]known // by the distance from rsp at the entry; each of 8 bytes, or 4
	redZone   bool
}

// maxPlaces bounds how far a function is followed.
const maxPlaces = 64

// Follow returns the places of a function, that of the entry first: up to and
// with the first instruction that jumps, calls or returns, or that cannot be
// passed. code begins at the entry. There are none if the first cannot be
// decoded.
func Follow(code []byte) []Place {
	s := state{slots: make(map[int64]known)}
	for r := range s.registers {
		s.registers[r] = known{true, Register(r), 0, 64}
	}
	var places []Place
	for at := 0; at < len(code) && len(places) < maxPlaces; {
		in, length, ok := decode(code[at:])
		if !ok {
			break
		}
		places = append(places, Place{
			Offset: uint64(at), Length: length, Form: FormOf(code[at:]), Depth: int32(s.depth()), RedZone: s.redZone,
			state: s.clone(),
		})
		goesOn := s.pass(in)
		places[len(places)-1].behind = s.clone()
		if !goesOn {
			break
		}
		at += length
	}
	return places
}

// decode reads an instruction. endbr64 is a nop, which it was made to be.
func decode(code []byte) (in x86asm.Inst, length int, ok bool) {
	if bytes.HasPrefix(code, endbr64) {
		return x86asm.Inst{Op: x86asm.NOP, Len: len(endbr64)}, len(endbr64), true
	}
	in, err := x86asm.Decode(code, 64)
	return in, in.Len, err == nil && in.Op != 0 && in.Len > 0
}

func (s *state) clone() state {
	return state{registers: s.registers, slots: maps.Clone(s.slots), redZone: s.redZone}
}

// depth is how far rsp is below what it was.
func (s *state) depth() int64 { return -s.registers[RSP].offset }

// mostDepth bounds the frames that are followed.
const mostDepth = math.MaxInt16
