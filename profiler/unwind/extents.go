// SPDX-License-Identifier: Apache-2.0

package unwind

import (
	"debug/elf"
	"fmt"
	"sort"
)

// Extent is the addresses of one FDE: a function, or a part of one that the
// compiler placed elsewhere (gcc's .cold parts have FDEs of their own).
type Extent struct {
	Start, End uint64 // ELF virtual addresses; End is the first behind it
	// Called says that the CFA at Start is rsp+8, as behind a call
	// instruction. A part that is jumped to in the middle of its function's
	// frame has another CFA.
	Called bool
}

// Extents returns what the file's FDEs cover, sorted by Start, from the same
// CFI that NewTable reads. It needs no symbols. Of FDEs that begin together the
// first in the file is taken. The errors are NewTable's.
func Extents(f *elf.File) ([]Extent, error) {
	if f.Machine != elf.EM_X86_64 || f.Class != elf.ELFCLASS64 || f.Data != elf.ELFDATA2LSB {
		return nil, fmt.Errorf("read extents: file is for %v %v, want x86-64", f.Machine, f.Class)
	}
	im := newImage(f)
	sections, err := im.frameSections()
	if err != nil {
		return nil, fmt.Errorf("read extents: %w", err)
	}
	b := builder{image: im, rules: newRuleSet(defaultLimits.rules), max: defaultLimits}
	for _, s := range sections {
		if err := b.addSection(s); err != nil {
			return nil, fmt.Errorf("read extents: %w", err)
		}
	}
	if len(b.spans) == 0 {
		return nil, fmt.Errorf("read extents: %w", ErrNoFrames)
	}
	sort.SliceStable(b.spans, func(i, j int) bool { return b.spans[i].lo < b.spans[j].lo })
	var out []Extent
	for i, s := range b.spans {
		if i > 0 && s.lo == b.spans[i-1].lo {
			continue
		}
		first := b.rules.rules[b.rows[s.row].Rule]
		out = append(out, Extent{Start: s.lo, End: s.hi, Called: first.CFA == CFARegister && first.Reg == regRSP && first.Off == 8})
	}
	return out, nil
}
