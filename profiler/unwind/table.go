// SPDX-License-Identifier: Apache-2.0

package unwind

import (
	"debug/elf"
	"errors"
	"fmt"
	"math"
	"sort"
)

// Row says that from PC up to the next row's PC the rule Rules[Rule] holds.
type Row struct {
	PC   uint32 // ELF virtual address
	Rule uint32 // index into Table.Rules
}

// Table is the unwind table of one ELF file.
type Table struct {
	// Rows are sorted by PC; no two adjacent ones have the same rule.
	Rows []Row
	// Rules are all different; Rules[0] is the zero rule, CFAUndefined.
	Rules []Rule
	Stats Stats
}

// Stats counts what a table was made from. Everything left out is counted.
type Stats struct {
	Sections []string // what was read: .eh_frame, .debug_frame, PT_GNU_EH_FRAME
	Bytes    int      // of CFI
	CIEs     int
	FDEs     int
	// BadFDEs are those that cannot be decoded. Where at least the range is
	// known it is CFAUnsupported, otherwise it has no rows. FirstBad says what
	// is wrong with the first.
	BadFDEs  int
	FirstBad error
	// DiscardedFDEs cover no address, or begin outside the executable segments:
	// linkers leave such behind for functions they removed.
	DiscardedFDEs int
	// Unsupported counts CFI rows that are CFAUnsupported, before rows are
	// merged, and whole FDEs under ReasonMalformed.
	Unsupported [numReasons]int
	// LostRegisters counts SavedLost in CFI rows.
	LostRegisters int
	// Entry is the range of addresses at the entry point that was made CFAEnd
	// against, or without, the file's CFI. Both are 0 when that was not needed.
	Entry struct{ Lo, Hi uint64 }
}

// ErrNoFrames is wrapped by the error for a file without call frame information.
var ErrNoFrames = errors.New("no call frame information (.eh_frame, PT_GNU_EH_FRAME or .debug_frame)")

// NewTable reads the unwind table of f, an x86-64 executable or shared object.
// It takes .eh_frame; without one, in a file with its section headers removed,
// what PT_GNU_EH_FRAME leads to; without that, .debug_frame.
//
// An FDE that cannot be decoded is counted in Stats and does not fail the rest.
// NewTable fails if there is nothing to read (ErrNoFrames), the sections are not
// walkable, no FDE at all can be used, or a bound on size is exceeded.
func NewTable(f *elf.File) (*Table, error) {
	switch {
	case f.Machine != elf.EM_X86_64 || f.Class != elf.ELFCLASS64 || f.Data != elf.ELFDATA2LSB:
		return nil, fmt.Errorf("read unwind table: file is for %v %v, want x86-64", f.Machine, f.Class)
	case f.Type != elf.ET_EXEC && f.Type != elf.ET_DYN:
		return nil, fmt.Errorf("read unwind table: file type is %v, want an executable or shared object", f.Type)
	}
	im := newImage(f)
	sections, err := im.frameSections()
	if err != nil {
		return nil, fmt.Errorf("read unwind table: %w", err)
	}
	t, err := build(im, sections, defaultLimits)
	if err != nil {
		return nil, fmt.Errorf("read unwind table: %w", err)
	}
	return t, nil
}

// Lookup returns the rule at pc, an ELF virtual address: the zero rule,
// CFAUndefined, where nothing covers it.
func (t *Table) Lookup(pc uint64) Rule {
	if pc > math.MaxUint32 {
		return Rule{}
	}
	i := sort.Search(len(t.Rows), func(i int) bool { return uint64(t.Rows[i].PC) > pc })
	if i == 0 {
		return Rule{}
	}
	return t.Rules[t.Rows[i-1].Rule]
}
