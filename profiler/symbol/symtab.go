// SPDX-License-Identifier: Apache-2.0

package symbol

import (
	"cmp"
	"debug/elf"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// symbolTable finds the function symbol whose extent covers an address.
type symbolTable struct {
	symbols []function
	spans   spanTable
}

// function is a named piece of code, [value, value+size).
type function struct {
	name        string
	value, size uint64
	local       bool
}

// readSymbols reads .symtab, .dynsym and the PLT's stubs.
func (m *Module) readSymbols(f *elf.File) error {
	for _, s := range f.Sections {
		table := s.Type == elf.SHT_SYMTAB || s.Type == elf.SHT_DYNSYM || s.Type == elf.SHT_STRTAB
		if table && s.Size > maxSection {
			return fmt.Errorf("read section %s: %d bytes are too many", s.Name, s.Size)
		}
	}
	// A debug file keeps the header of .dynsym, without its contents.
	symbols, err := f.Symbols()
	if err != nil && !errors.Is(err, elf.ErrNoSymbols) {
		return fmt.Errorf("read .symtab: %w", err)
	}
	m.symbols = m.newSymbolTable(symbols)
	if s := f.SectionByType(elf.SHT_DYNSYM); s != nil {
		dynamic, err := f.DynamicSymbols()
		if err != nil && !errors.Is(err, elf.ErrNoSymbols) {
			return fmt.Errorf("read .dynsym: %w", err)
		}
		m.dynamic = m.newSymbolTable(dynamic)
		m.plt = readPLT(f, dynamic)
	}
	return nil
}

// newSymbolTable keeps the defined functions. STT_NOTYPE is what assembly
// leaves without .type; with a size it is as good. A symbol without a size
// covers only its first byte: how far it reaches would be a guess.
func (m *Module) newSymbolTable(symbols []elf.Symbol) symbolTable {
	const sttGNUIFunc = elf.STT_LOOS
	var functions []function
	for _, s := range symbols {
		switch elf.ST_TYPE(s.Info) {
		case elf.STT_FUNC, sttGNUIFunc:
		case elf.STT_NOTYPE:
			if s.Size == 0 {
				continue
			}
		default:
			continue
		}
		if s.Section == elf.SHN_UNDEF || s.Section == elf.SHN_ABS || s.Name == "" {
			continue
		}
		if _, ok := m.text.find(s.Value); !ok {
			continue
		}
		functions = append(functions, function{s.Name, s.Value, max(s.Size, 1), elf.ST_BIND(s.Info) == elf.STB_LOCAL})
	}
	return newFunctionTable(functions)
}

// newFunctionTable gives an address to the symbol that starts last before it,
// of those to the shortest, and of aliases to the one that people know.
func newFunctionTable(functions []function) symbolTable {
	slices.SortStableFunc(functions, func(a, b function) int {
		return cmp.Or(
			cmp.Compare(a.value, b.value),
			cmp.Compare(b.size, a.size),
			compareAliases(b, a),
		)
	})
	spans := make([]span, 0, len(functions))
	for i, s := range functions {
		hi := s.value + s.size
		if hi < s.value {
			continue
		}
		spans = append(spans, span{lo: s.value, hi: hi, rank: uint64(i), id: int32(i)})
	}
	return symbolTable{functions, newSpanTable(spans)}
}

// compareAliases is negative if a is the better name: malloc before
// __libc_malloc, global before local.
func compareAliases(a, b function) int {
	underscores := func(s string) int { return len(s) - len(strings.TrimLeft(s, "_")) }
	switch {
	case a.local != b.local && a.local:
		return 1
	case a.local != b.local:
		return -1
	}
	return cmp.Or(
		cmp.Compare(underscores(a.name), underscores(b.name)),
		cmp.Compare(a.name, b.name),
	)
}

func (t *symbolTable) find(pc uint64) (name string, ok bool) {
	i, ok := t.spans.find(pc)
	if !ok {
		return "", false
	}
	return t.symbols[i].name, true
}

// cloneSuffixes are what gcc appends to the symbol of a function it changed or
// split, with a number after all but the last; clang's ThinLTO appends .llvm.N.
var cloneSuffixes = []string{"lto_priv", "constprop", "isra", "part", "llvm", "cold", "localalias"}

// baseName strips the version and the suffixes of clones from a symbol:
// "sl_alloc.part.0.lto_priv.0" becomes "sl_alloc".
func baseName(symbol string) string {
	base, _, _ := strings.Cut(symbol, "@")
	if base == "" {
		return symbol
	}
	suffix := symbol[len(base):]
	if suffix != "@plt" {
		suffix = "" // a version, e.g. memcpy@@GLIBC_2.14 in .symtab
	}
	for {
		rest := strings.TrimRight(base, "0123456789")
		if len(rest) == len(base) || !strings.HasSuffix(rest, ".") {
			rest = base
		}
		rest = strings.TrimSuffix(rest, ".")
		dot := strings.LastIndexByte(rest, '.')
		if dot <= 0 || !slices.Contains(cloneSuffixes, rest[dot+1:]) {
			return base + suffix
		}
		base = rest[:dot]
	}
}
