// SPDX-License-Identifier: Apache-2.0

// Package symbol turns an address of an ELF file into function, file, line and
// the chain of inlined callers.
//
// An address is looked up in DWARF first, then in .symtab, then among the
// symbols of .gnu_debugdata, then in .dynsym, then among the PLT's stubs, then
// among what UseFound was told of, and is otherwise printed as module+0xvaddr. A
// symbol counts only within [value, value+size): in a stripped library the
// nearest exported name is somebody else's. DWARF and .symtab may be in a
// separate debug file.
//
// DWARF 4 and 5 of gcc and clang are read with debug/dwarf, one compile unit at
// a time when an address of it is first asked for. Link-time optimisation puts
// the code of many source files into a few compile units whose entries name
// their function through DW_AT_abstract_origin in another unit.
//
// Names may be in a supplementary file made by dwz -m, as in Debian's debug
// files. Not read: split DWARF (.dwo, .dwp; line numbers still work).
package symbol

import (
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"sync"
)

// maxCached bounds the addresses kept with their frames. A process has far
// fewer distinct return addresses; beyond it the cache starts anew.
const maxCached = 1 << 18

// Module resolves the addresses of one ELF file. Its methods may be called from
// several goroutines.
type Module struct {
	name    string
	buildID string
	text    spanTable // where code is
	symbols symbolTable
	mini    symbolTable // of .gnu_debugdata
	dynamic symbolTable
	plt     symbolTable
	found   symbolTable
	dwarf   *dwarfIndex // nil without .debug_info and .debug_line
	noDWARF error

	debugLink debugLink
	debugFile string // path of the separate debug file that is used, "" if none
	// What of symbols and dwarf is the debug file's.
	symbolsApart, dwarfApart bool

	mu    sync.RWMutex
	cache map[lookup][]Frame
}

type lookup struct {
	vaddr    uint64
	returned bool
}

// Open reads the symbol tables and the debug sections of the ELF file in r.
// name is its base name as it shall appear in frames, e.g. "bird". r is not
// used after Open returned. A file without symbols and DWARF is no error.
func Open(r io.ReaderAt, name string) (*Module, error) {
	m := &Module{name: name, cache: make(map[lookup][]Frame)}
	f, err := openELF(r)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", name, err)
	}
	err = guard(func() error {
		m.buildID = readBuildID(f)
		m.text = codeSpans(f)
		if len(m.text) == 0 {
			return errors.New("no executable section or segment")
		}
		if err := m.readSymbols(f); err != nil {
			return err
		}
		if len(m.symbols.symbols) == 0 {
			m.readDebugData(f)
		}
		m.debugLink = readDebugLink(f)
		m.dwarf, m.noDWARF = readDWARF(f, m.text)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", name, err)
	}
	return m, nil
}

// adopt takes from d, which belongs to the same code, what m lacks.
func (m *Module) adopt(d *Module) {
	if len(m.symbols.symbols) == 0 {
		m.symbols, m.symbolsApart = d.symbols, true
	}
	if !m.HasDWARF() && (d.HasDWARF() || !m.HasLines()) {
		m.dwarf, m.noDWARF, m.dwarfApart = d.dwarf, d.noDWARF, true
	}
	m.mu.Lock()
	clear(m.cache)
	m.mu.Unlock()
}

// Found is a function of a stripped file of which is known what it is.
type Found struct {
	Name          string
	Address, Size uint64 // ELF virtual address of the entry; bytes of code
}

// UseFound names functions for which the file has no names itself. It must not
// run together with Frames.
func (m *Module) UseFound(list []Found) {
	var functions []function
	for _, f := range list {
		functions = append(functions, function{name: f.Name, value: f.Address, size: f.Size})
	}
	m.found = newFunctionTable(functions)
	m.mu.Lock()
	clear(m.cache)
	m.mu.Unlock()
}

// BuildID returns the GNU build ID in hex, "" if there is none.
func (m *Module) BuildID() string { return m.buildID }

// HasSymbols reports whether there is a .symtab with functions, or a
// .gnu_debugdata. .dynsym alone does not count: it names only what is exported.
func (m *Module) HasSymbols() bool {
	return len(m.symbols.symbols) > 0 || len(m.mini.symbols) > 0
}

// HasDWARF reports whether functions and inlined calls can be had from DWARF,
// in all units of the file that have any.
func (m *Module) HasDWARF() bool { return m.noDWARF == nil }

// HasLines reports whether file and line can be had, which split DWARF gives
// even where HasDWARF is false.
func (m *Module) HasLines() bool { return m.dwarf != nil && m.dwarf.hasLines }

// Lacks returns what a separate debug file could still tell: ErrNoDWARF and the
// like, a MissingSupplementError, or nil.
func (m *Module) Lacks() error {
	if m.noDWARF != nil {
		return m.noDWARF
	}
	if link := m.MissingSupplement(); link != nil {
		of := m.debugFile
		if of == "" {
			of = m.name
		}
		return &MissingSupplementError{Of: of, Supplement: *link}
	}
	return nil
}

// DWARFError returns why HasDWARF is false, nil if it is true.
func (m *Module) DWARFError() error { return m.noDWARF }

// Stats returns what was read and what could not be.
func (m *Module) Stats() Stats {
	if m.dwarf == nil {
		return Stats{}
	}
	return m.dwarf.statistics()
}

// Frames returns the functions at an ELF virtual address: innermost inlined
// call first, the function that owns the machine code last. There is always at
// least one. isReturnAddress says that vaddr is where a call returns to; the
// call itself is then looked up, since it may be the last instruction of its
// function or of an inlined block.
//
// The result is shared and must not be modified.
func (m *Module) Frames(vaddr uint64, isReturnAddress bool) []Frame {
	key := lookup{vaddr, isReturnAddress}
	m.mu.RLock()
	frames, ok := m.cache[key]
	m.mu.RUnlock()
	if ok {
		return frames
	}
	frames = m.resolve(key)
	m.mu.Lock()
	if len(m.cache) >= maxCached {
		clear(m.cache)
	}
	m.cache[key] = frames
	m.mu.Unlock()
	return frames
}

func (m *Module) resolve(key lookup) []Frame {
	pc := key.vaddr
	if key.returned && pc > 0 {
		pc--
	}
	var frames []Frame
	if m.dwarf != nil {
		frames = m.dwarf.frames(pc)
	}
	if len(frames) == 0 {
		frames = []Frame{{}}
	}
	m.nameOwner(&frames[len(frames)-1], pc)
	for i := range frames {
		f := &frames[i]
		f.Module, f.Address = m.name, key.vaddr
		switch {
		case f.Function == "":
			f.Function, f.Source = fmt.Sprintf("%s+%#x", m.name, key.vaddr), SourceAddress
		case f.Source == SourceDWARF || f.Source == SourceInline:
			f.Separate = m.dwarfApart
		}
	}
	return frames
}

// nameOwner completes the frame that owns the machine code from the symbols.
func (m *Module) nameOwner(f *Frame, pc uint64) {
	tables := [...]struct {
		table  *symbolTable
		source Source
	}{{&m.symbols, SourceSymbol}, {&m.mini, SourceMini}, {&m.dynamic, SourceDynamic}, {&m.plt, SourcePLT}}
	for _, t := range tables {
		if name, ok := t.table.find(pc); ok {
			f.Symbol = name
			if f.Function == "" {
				f.Function, f.Source = baseName(name), t.source
				f.Separate = t.source == SourceSymbol && m.symbolsApart
			}
			return
		}
	}
	if f.Function == "" {
		if name, ok := m.found.find(pc); ok {
			f.Function, f.Source = name, SourceFound
		}
	}
}

// guard turns a panic of debug/elf or debug/dwarf, which do not promise to
// survive every malformed file, into an error.
func guard(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("malformed file: %v", p)
		}
	}()
	return f()
}

func openELF(r io.ReaderAt) (f *elf.File, err error) {
	err = guard(func() error {
		var magic [len(elf.ELFMAG)]byte
		if _, err := r.ReadAt(magic[:], 0); err != nil && err != io.EOF {
			return err
		} else if string(magic[:]) != elf.ELFMAG {
			return errors.New("not an ELF file")
		}
		f, err = elf.NewFile(r)
		if err != nil {
			return err
		}
		if f.Type != elf.ET_EXEC && f.Type != elf.ET_DYN {
			return fmt.Errorf("%v is neither an executable nor a shared object", f.Type)
		}
		return nil
	})
	return f, err
}
