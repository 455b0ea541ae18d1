// SPDX-License-Identifier: Apache-2.0

// Package bird is what leakprof knows of BIRD's memory: the resource classes
// by which every resource says what it is, and the layouts of the headers.
package bird

import (
	"encoding/binary"
	"errors"
	"fmt"

	"leakprof/profiler/target"
)

// ErrNotBIRD says that a program has no resource classes as BIRD has them.
var ErrNotBIRD = errors.New("not a BIRD daemon")

// Generation is a layout of struct resource. lib/resource.h of BIRD 2 begins
// it with a doubly linked node (16 bytes), BIRD 3 adds a pointer to the list.
type Generation int

const (
	BIRD2 Generation = 2
	BIRD3 Generation = 3
)

// Layout says where a resource's header has what, in bytes.
type Layout struct {
	Class uint64 // of the class pointer in struct resource
	Size  uint64 // of the size in struct mblock (unsigned int)
}

// Layout returns the generation's layout.
func (g Generation) Layout() Layout {
	if g == BIRD3 {
		return Layout{Class: 24, Size: 32}
	}
	return Layout{Class: 16, Size: 24}
}

// Class is a resource class (struct resclass).
type Class struct {
	Name    string
	Address uint64 // in the process
	Size    uint64 // of the resource, bytes; 0 where it varies
	// Memsize is the address of the class's own rule for a resource's size, 0
	// where BIRD takes Size (rmemsize in lib/resource.c).
	Memsize uint64
}

// MemoryClass is the name of mb_alloc's class.
const MemoryClass = "Memory"

// coreClasses are in every BIRD since 1.0 under these names.
var coreClasses = []string{"Pool", MemoryClass, "LinPool", "Slab"}

// Bird is what was found in a BIRD process.
type Bird struct {
	Generation Generation
	Classes    map[uint64]Class // by address
	// MblockHeader is sizeof(struct mblock), 0 where only its run can tell
	// (BIRD 3: 40 in 3.0.0, 48 later).
	MblockHeader uint64

	data []span // the program's writable segments, .bss included
}

// Find looks for BIRD's classes in the program's data, in memory, where the
// dynamic linker has put the addresses in. It reads every writable or
// relocated page of the program once.
func Find(p *target.Process, exe *target.Module) (*Bird, error) {
	b := &Bird{Classes: make(map[uint64]Class), data: writable(exe)}
	count := make(map[string]int)
	for _, a := range exe.Areas {
		if a.Exec || !a.Read {
			continue
		}
		data, err := readArea(p, a)
		if err != nil {
			return nil, fmt.Errorf("read data of %s: %w", exe.Name, err)
		}
		for off := 0; off+classLen <= len(data); off += 8 {
			c, ok := classAt(p, exe, data[off:off+classLen])
			if !ok {
				continue
			}
			c.Address = a.Start + uint64(off)
			b.Classes[c.Address] = c
			count[c.Name]++
		}
	}
	for _, name := range coreClasses {
		if count[name] != 1 {
			return nil, fmt.Errorf("find resource class %q in %s: %d matches: %w", name, exe.Name, count[name], ErrNotBIRD)
		}
	}
	b.Generation = b.generation()
	if b.Generation == BIRD2 {
		b.MblockHeader = 32
	}
	return b, nil
}

func readArea(p *target.Process, a target.Mapping) ([]byte, error) {
	const most = 64 << 20
	if a.End-a.Start > most {
		return nil, fmt.Errorf("%d bytes at 0x%x are too many", a.End-a.Start, a.Start)
	}
	data := make([]byte, a.End-a.Start)
	n, err := p.ReadAt(data, int64(a.Start))
	if n == 0 && err != nil {
		return nil, err
	}
	return data[:n], nil
}

// classLen is sizeof(struct resclass): name, size, then the functions free,
// dump, lookup and memsize, of which the last two may be NULL.
const classLen = 48

// classAt tells a struct resclass by its shape.
func classAt(p *target.Process, exe *target.Module, b []byte) (Class, bool) {
	word := func(i int) uint64 { return binary.LittleEndian.Uint64(b[i:]) }
	const largest = 16 << 10
	size := word(8)
	if size >= largest || !exe.Contains(word(0)) {
		return Class{}, false
	}
	for _, i := range []int{16, 24, 32, 40} {
		if f := word(i); !(f == 0 && i >= 32) && !inText(exe, f) {
			return Class{}, false
		}
	}
	name, ok := p.String(word(0), 64)
	if !ok || name == "" {
		return Class{}, false
	}
	for _, c := range []byte(name) {
		if c < ' ' || c > '~' {
			return Class{}, false
		}
	}
	return Class{Name: name, Size: size, Memsize: word(40)}, true
}

func inText(exe *target.Module, addr uint64) bool {
	for _, a := range exe.Areas {
		if a.Exec && addr >= a.Start && addr < a.End {
			return true
		}
	}
	return false
}

// generation tells BIRD 2 from 3 by the size of an event (lib/event.h): 56
// bytes with a header of 24, 64 with one of 32.
func (b *Bird) generation() Generation {
	for _, c := range b.Classes {
		if c.Name == "Event" {
			if c.Size >= 64 {
				return BIRD3
			}
			return BIRD2
		}
	}
	return BIRD2
}
