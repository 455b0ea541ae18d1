// SPDX-License-Identifier: Apache-2.0

package names

import (
	"fmt"
	"io"

	"leakprof/profiler/bird/structure"
)

// Source says what a function's file was told by.
type Source uint8

const (
	// ByNeighbors: the functions before and behind it that refer to something
	// are of that file.
	ByNeighbors Source = iota + 1
	// ByLiteral: it refers to strings that only this file of BIRD has.
	ByLiteral
	// ByFileName: it refers to the file's own name.
	ByFileName
	// ByTable: a protocol's table has it.
	ByTable
)

var sourceNames = [...]string{"unknown", "neighbors", "literal", "file name", "protocol table"}

func (s Source) String() string {
	if int(s) < len(sourceNames) {
		return sourceNames[s]
	}
	return sourceNames[0]
}

// Function is what is known of a function.
type Function struct {
	Address uint64 // ELF virtual address of the entry
	Size    uint64 // bytes of code, without parts that lie elsewhere
	Name    string // BIRD's, "" if not known
	File    string // path in BIRD's sources, "" if not known: "proto/bmp/bmp.c"
	Source  Source // what Name and File were told by
}

// Names is what is known of a file's functions.
type Names struct {
	Functions []Function // those of which something is known, by address
	Total     int        // all functions of the file
	// Mixed says why no files were told: code of different files is mixed in
	// functions, as link time optimization does. "" if it is not.
	Mixed string
}

// Find analyses an x86-64 ELF file of BIRD 2 or 3. The error wraps
// structure.ErrNotBIRD where it is none.
func Find(r io.ReaderAt) (*Names, error) {
	o, err := structure.ReadOutline(r)
	if err != nil {
		return nil, fmt.Errorf("find names: %w", err)
	}
	tables, err := literalTables()
	if err != nil {
		return nil, fmt.Errorf("find names: %w", err)
	}
	major := 2
	if o.ClassOffset == 24 {
		major = 3
	}
	return of(o, tables[major]), nil
}

func of(o *structure.Outline, literals literalTable) *Names {
	known := hooks(o.Protocols)
	n := &Names{Total: len(o.Functions)}
	marks := make([]mark, len(o.Functions))
	for i, f := range o.Functions {
		marks[i] = markOf(f.Texts, literals)
		if h, ok := known[f.Address]; ok && marks[i].file == "" {
			marks[i].file, marks[i].source = h.file, ByTable
		}
	}
	if n.Mixed = mixed(marks); n.Mixed != "" {
		clear(marks)
	} else {
		settle(marks)
		fill(marks)
	}
	for i, f := range o.Functions {
		fn := Function{Address: f.Address, Size: f.Size, File: marks[i].file, Source: marks[i].source}
		if h, ok := known[f.Address]; ok {
			fn.Name, fn.File, fn.Source = h.name, h.file, ByTable
		}
		if fn.Name != "" || fn.File != "" {
			n.Functions = append(n.Functions, fn)
		}
	}
	return n
}
