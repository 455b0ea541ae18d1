// SPDX-License-Identifier: Apache-2.0

// Package inline finds where the compiler put copies of a function into other
// functions, and where the arguments of each copy are, from the DWARF debug
// information of an x86-64 ELF file (versions 4 and 5, of gcc and clang, with
// and without LTO). It also finds the function's bodies that stand for
// themselves, whatever suffixes the compiler gave their names.
//
// One file each: finder.go and walk.go read the debugging entries, argument.go
// and typesize.go the parameters, loclist.go location lists, expression.go
// location expressions, unit.go and section.go what these need; code.go checks
// addresses against the machine code; owner.go and flow.go ask of the function
// around whether every call passes the entry; body.go reads the symbol tables.
package inline

import (
	"debug/elf"
	"errors"
)

var (
	// ErrNoDWARF: the file has no .debug_info, so nothing is known of inlining.
	ErrNoDWARF = errors.New("no .debug_info section")
	// ErrSplitDWARF: some unit's functions are in a .dwo or .dwp file, which is
	// not read, so instances may be missing.
	ErrSplitDWARF = errors.New("functions are in split DWARF files (.dwo, .dwp), which are not read: build without -gsplit-dwarf")
	// ErrSupplementary: names are in another file (.gnu_debugaltlink, made by
	// dwz -m), which is not read, so instances may be missing.
	ErrSupplementary = errors.New("function names are in a supplementary file (dwz -m), which is not read")
)

// Instance is a copy of a function that the compiler put into another one
// (DW_TAG_inlined_subroutine). All addresses are ELF virtual addresses.
type Instance struct {
	// Function is the name of the function copied, as in the source.
	Function string
	// Into is the function, as named in the source, whose code holds the copy;
	// between the two there may be others, inlined themselves.
	Into string
	// Symbol is the raw name of the ELF symbol around Entry, such as
	// bmp_close_socket.lto_priv.0, "" if there is none. Start is where it
	// begins, or without a symbol where the contiguous code of Into does.
	Symbol string
	Start  uint64
	// Entry is where the call begins: the address of the copy's first
	// instruction, or of one of the caller's that the compiler mixed with it,
	// so it can lie before Ranges. By says how far that can be trusted.
	Entry uint64
	By    EntrySource
	// Once: each call passes Entry once, before it calls or writes anything, and
	// nothing else does, as every way through the code of Into shows. Doubt is
	// why that cannot be shown; it is not looked for in copies that are Self or
	// Nested, or have a Problem.
	Once  bool
	Doubt string
	// Decoded: decoding the code from Start leads to Entry, so it is where an
	// instruction begins. False if the file has no code (a separate debug
	// file), or the decoder does not know an instruction before.
	Decoded bool
	// Ranges are the copy's instructions, [lo, hi), in the compiler's order.
	Ranges [][2]uint64
	// Self: Into is the function itself, split by gcc into a wrapper and
	// .part or .cold. A probe on the function's body sees the call already.
	Self bool
	// Nested: the copy lies within another copy of the same function in the
	// same place, for the same reason. A probe on the outer one sees the call.
	Nested bool
	// Args are the parameters by position, whether or not their values can be
	// had. Empty for a function without a prototype.
	Args []Arg
	// Problem is why the copy cannot be probed, "" if nothing speaks against
	// it; then Entry may be 0.
	Problem string
}

// EntrySource is how Entry was found.
type EntrySource uint8

const (
	// EntryView: gcc marked where the call begins (DW_AT_entry_pc together with
	// DW_AT_GNU_entry_view; gcc 8 and later, with -g and optimisation). A call
	// comes by there once, unless the code around was copied: of an unrolled
	// loop only one iteration's copy has the mark, and of a loop whose condition
	// is tested once before it and again at its end the first. See Instance.Once.
	EntryView EntrySource = iota + 1
	// EntryPC: DW_AT_entry_pc alone. gcc without location views so names where
	// one of the pieces begins, and calls need not come by.
	EntryPC
	// EntryLow: the copy is contiguous and this is its lowest address. clang
	// says no more; gcc does where optimisation removed the mark. Calls may
	// begin elsewhere.
	EntryLow
	// EntryRange: the copy is in pieces, and this is where the first of
	// DW_AT_ranges begins (DWARF 5 §2.17). The least certain.
	EntryRange
)

func (s EntrySource) String() string {
	switch s {
	case EntryView:
		return "entry_view"
	case EntryPC:
		return "entry_pc"
	case EntryLow:
		return "low_pc"
	case EntryRange:
		return "first range"
	}
	return "unknown"
}

// Kind is the sort of place that an argument's value is in.
type Kind uint8

const (
	// Unknown: the value cannot be had at the entry; see Arg.Why.
	Unknown Kind = iota
	// Constant: the value is Offset.
	Constant
	// Register: the value is Register plus Offset, which mostly is 0.
	Register
	// Memory: the value is in memory, at Register plus Offset.
	Memory
)

func (k Kind) String() string {
	return [...]string{"unknown", "constant", "register", "memory"}[k&3]
}

// Values of Arg.Register beside DWARF's register numbers (System V ABI for
// x86-64, figure 3.36: rax 0, rdx 1, rcx 2, rbx 3, rsi 4, rdi 5, rbp 6, rsp 7,
// r8 to r15).
const (
	// CFA is the canonical frame address of Into at the entry: what rsp was
	// before the call of Into pushed the return address.
	CFA = -1
	// LoadBias is where the file was loaded less its ELF virtual address; the
	// Offset to it is an ELF virtual address.
	LoadBias = -2
)

// Arg is where a parameter's value is when the instruction at Entry is about to
// be executed. It is the value that the function is called with as far as the
// call begins there, which EntrySource is about.
type Arg struct {
	Name string
	// Size is the bytes of the parameter's type, 0 if unknown. Only so many of
	// the value count; the rest of a register is undefined.
	Size     int
	Kind     Kind
	Register int // of a Register or Memory: DWARF's number, CFA or LoadBias
	Offset   int64
	Why      string // of an Unknown: the reason
}

// Find returns, by name, the copies of the named functions in other functions,
// ordered by address. Functions that share a name are not told apart. A name
// without instances has no key.
//
// With an error the result may still hold instances, but then some may be
// missing. A malformed file makes an error, never a panic.
func Find(f *elf.File, names ...string) (map[string][]Instance, error) {
	var found map[string][]Instance
	err := guard(func() error {
		r, err := newFinder(f, names)
		if err != nil {
			return err
		}
		found, err = r.find()
		return err
	})
	return found, err
}
