// SPDX-License-Identifier: Apache-2.0

package symbol

// Source says how a frame got its name, from the least to the most telling.
type Source uint8

const (
	// SourceNone: the frame stands for no code; its name is a word of our own.
	SourceNone Source = iota
	// SourceAddress: nothing covers the address; Function is "module+0xvaddr".
	SourceAddress
	// SourceFound: a function of UseFound, told by what its code does.
	SourceFound
	// SourcePLT: a stub of the procedure linkage table, named "function@plt".
	SourcePLT
	// SourceDynamic: an exported symbol (.dynsym) whose extent covers the address.
	SourceDynamic
	// SourceMini: a symbol of .gnu_debugdata whose extent covers the address.
	SourceMini
	// SourceSymbol: a symbol of .symtab whose extent covers the address.
	SourceSymbol
	// SourceDWARF: a DW_TAG_subprogram, the function that owns the machine code.
	SourceDWARF
	// SourceInline: a DW_TAG_inlined_subroutine, a call that the compiler dissolved.
	SourceInline
)

var sourceNames = [...]string{"none", "address", "found", "plt", "dynsym", "debugdata", "symtab", "dwarf", "inline"}

// String returns a short lower-case name, e.g. "dwarf".
func (s Source) String() string {
	if int(s) < len(sourceNames) {
		return sourceNames[s]
	}
	return "unknown"
}

// Frame is one function of a call chain at one address. One physical frame of
// the stack becomes several Frames where the compiler inlined calls.
type Frame struct {
	// Function is the name in the source if DWARF knows it (the mangled name
	// where the language mangles), else the symbol without the suffixes of
	// compiler-made clones, else a name of UseFound, else "module+0xvaddr".
	// Never empty.
	Function string
	// Symbol is the raw ELF symbol that covers the address, with its
	// suffixes, e.g. "bmp_peer_down.lto_priv.0". Empty for inlined frames.
	Symbol string
	// File is the cleaned path of the source file as the compiler recorded
	// it, "" if unknown.
	File string
	// Line is the 1-based line that was executing in this frame: for a caller
	// that of the call. 0 if unknown, or if the code stems from no line.
	Line int
	// Inlined is true if this call was inlined into the next Frame.
	Inlined bool
	// Module is the base name of the ELF file.
	Module string
	// Address is the ELF virtual address that was asked for, the same in all
	// frames of one physical frame.
	Address uint64
	// Source says where Function comes from.
	Source Source
	// Separate says that it comes from a separate debug file.
	Separate bool
}

// Origins are what reports say of where a frame's name is from, the best first.
const (
	// OriginSymbol: the file's own symbols or DWARF.
	OriginSymbol = "symbol"
	// OriginInline: a call that the compiler dissolved, by DWARF, be it the
	// file's own or of its debug file.
	OriginInline = "inline"
	// OriginDebugFile: symbols or DWARF of a separate debug file.
	OriginDebugFile = "debug file"
	// OriginStructure: what the code does, or the table that it is in.
	OriginStructure = "structure"
	// OriginFileOnly: the function is not known, but its source file is.
	OriginFileOnly = "file only"
	// OriginAddress: nothing is known.
	OriginAddress = "address"
)

// Origins are all of them, the best first.
var Origins = []string{OriginSymbol, OriginInline, OriginDebugFile, OriginStructure, OriginFileOnly, OriginAddress}

// Origin says where the name is from, as one of Origins; "" for a frame that
// stands for no code.
func (f *Frame) Origin() string {
	switch {
	case f.Source == SourceNone:
		return ""
	case f.Source == SourceAddress && f.File != "":
		return OriginFileOnly
	case f.Source == SourceAddress:
		return OriginAddress
	case f.Source == SourceFound:
		return OriginStructure
	case f.Source == SourceInline:
		return OriginInline
	case f.Separate:
		return OriginDebugFile
	}
	return OriginSymbol
}
