// SPDX-License-Identifier: Apache-2.0

package unwind

import "debug/elf"

// entrySize is taken as the size in bytes of _start where nothing says it:
// glibc 2.36's has 34.
const entrySize = 48

// addEntryPoint makes the entry point the end of the stack, where its CFI does
// not say so. The kernel enters it with the argument count on top of the stack,
// not a return address (System V ABI, AMD64 supplement, section 3.4.1).
//
// A library's entry point with an FDE is left alone: some linkers write the
// beginning of .text into every library, and that may be any function.
func (b *builder) addEntryPoint() error {
	f := b.image.file
	if f.Entry == 0 || f.Entry >= 1<<32 || !b.image.executable(f.Entry) {
		return nil
	}
	entry := f.Entry
	var cover *span
	next := uint64(1) << 32
	for i := range b.spans {
		s := &b.spans[i]
		if s.lo > entry {
			next = min(next, s.lo)
		} else if s.hi > entry && (cover == nil || s.lo > cover.lo) {
			cover = s
		}
	}
	var hi uint64
	if cover != nil {
		if !b.image.program() || b.ends(cover) {
			return nil
		}
		hi = cover.hi
	} else {
		hi = entry + entrySize
		if size := entrySymbolSize(f, entry); size > 0 && size < 1<<32 {
			hi = entry + size
		}
	}
	hi = min(hi, next)
	first := len(b.rows)
	if err := b.addRow(first, entry, Rule{CFA: CFAEnd}); err != nil {
		return err
	}
	b.spans = append(b.spans, span{lo: entry, hi: hi, row: first, end: len(b.rows), order: -1})
	b.stats.Entry.Lo, b.stats.Entry.Hi = entry, hi
	return nil
}

// ends reports whether all rows of s are CFAEnd.
func (b *builder) ends(s *span) bool {
	for _, r := range b.rows[s.row:s.end] {
		if b.rules.rules[r.Rule].CFA != CFAEnd {
			return false
		}
	}
	return true
}

// entrySymbolSize returns the size of the function symbol at addr, 0 if there is
// none that has a size.
func entrySymbolSize(f *elf.File, addr uint64) uint64 {
	for _, table := range []func() ([]elf.Symbol, error){f.Symbols, f.DynamicSymbols} {
		symbols, err := table()
		if err != nil {
			continue // stripped, or broken: the default size does
		}
		for _, s := range symbols {
			if s.Value == addr && s.Size > 0 && elf.ST_TYPE(s.Info) == elf.STT_FUNC {
				return s.Size
			}
		}
	}
	return 0
}
