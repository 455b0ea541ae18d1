// SPDX-License-Identifier: Apache-2.0

package structure

import (
	"errors"
	"fmt"
	"sort"
)

// ErrNotBIRD says that a file has no resource classes as BIRD has them.
var ErrNotBIRD = errors.New("not a BIRD daemon")

// Class is a resource class: struct resclass of BIRD's lib/resource.h, the
// same from 2.0.11 to 3.4. Functions are ELF virtual addresses, 0 for none.
type Class struct {
	Name    string // "Pool", "Memory", ...
	Address uint64 // ELF virtual address
	Size    uint64 // of the resource, bytes; 0 where it varies
	Free    uint64
	Dump    uint64
	Lookup  uint64
	Memsize uint64
}

// Offsets in struct resclass.
const (
	classSize    = 8
	classFree    = 16
	classDump    = 24
	classLookup  = 32
	classMemsize = 40
	classEnd     = 48
)

// largestResource bounds a resource's size: BIRD's largest, the routing table,
// has some 2000 bytes.
const largestResource = 16 << 10

// The classes without which there is no BIRD.
const (
	classPool    = "Pool"
	classMemory  = "Memory"
	classLinpool = "LinPool"
	classSlab    = "Slab"
	classMslab   = "mslab"
	classIslab   = "Islab"
)

// findClasses looks for what has the shape of a struct resclass: a name, a
// small number that is no pointer, and pointers to functions, the last two of
// which may be absent.
func (p *program) findClasses() ([]Class, error) {
	var found []Class
	for _, at := range p.pointerWords() {
		if c, ok := p.classAt(at); ok {
			found = append(found, c)
		}
	}
	for _, name := range []string{classPool, classMemory, classLinpool, classSlab} {
		if n := count(found, name); n != 1 {
			return nil, fmt.Errorf("find resource class %q: %d matches: %w", name, n, ErrNotBIRD)
		}
	}
	return found, nil
}

func count(classes []Class, name string) (n int) {
	for _, c := range classes {
		if c.Name == name {
			n++
		}
	}
	return n
}

// pointerWords returns the addresses of words that may point to a name, sorted.
func (p *program) pointerWords() []uint64 {
	var words []uint64
	for at := range p.pointers {
		words = append(words, at)
	}
	if p.fixed {
		for i := range p.segments {
			s := &p.segments[i]
			for at := (s.start + 7) &^ 7; !s.exec && at+classEnd <= s.start+uint64(len(s.data)); at += 8 {
				if w, ok := p.word(at); ok && p.pointers[at] == 0 && w != 0 && p.segment(w) != nil {
					words = append(words, at)
				}
			}
		}
	}
	sort.Slice(words, func(i, j int) bool { return words[i] < words[j] })
	return words
}

func (p *program) classAt(at uint64) (Class, bool) {
	to, ok := p.pointer(at)
	if !ok {
		return Class{}, false
	}
	size, ok := p.plain(at + classSize)
	if !ok || size >= largestResource {
		return Class{}, false
	}
	c := Class{Address: at, Size: size}
	for _, f := range []struct {
		offset   uint64
		to       *uint64
		optional bool
	}{
		{classFree, &c.Free, false}, {classDump, &c.Dump, false},
		{classLookup, &c.Lookup, true}, {classMemsize, &c.Memsize, true},
	} {
		function, ok := p.pointer(at + f.offset)
		if !ok || function == 0 {
			if w, _ := p.plain(at + f.offset); !f.optional || w != 0 {
				return Class{}, false
			}
			continue
		}
		if !p.starts[function] {
			return Class{}, false
		}
		*f.to = function
	}
	c.Name, ok = p.text(to)
	return c, ok
}
