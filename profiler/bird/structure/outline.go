// SPDX-License-Identifier: Apache-2.0

package structure

import (
	"bytes"
	"fmt"
	"io"
	"sort"
)

// Outline is what a file shows of all its functions, whatever they are.
type Outline struct {
	*Findings
	Protocols []Protocol
	Functions []Outlined // sorted by address
}

// Outlined is a function of which nothing is known but what is in it.
type Outlined struct {
	Address uint64   // ELF virtual address of the entry
	Size    uint64   // bytes of code, without parts that lie elsewhere
	Texts   []string // constant strings that the function refers to, its parts too
}

// longestText bounds a string, bytes: BIRD's longest has some 200.
const longestText = 1024

// ReadOutline analyses an x86-64 ELF file as Find does, and adds what its other
// functions refer to.
func ReadOutline(r io.ReaderAt) (*Outline, error) {
	f, err := findAll(r)
	if err != nil {
		return nil, fmt.Errorf("outline functions: %w", err)
	}
	o := &Outline{Findings: f.findings()}
	o.Protocols = f.findProtocols(o.ClassOffset == 24)
	texts := make(map[uint64][]string)
	for _, ref := range f.references {
		if text := f.constantText(ref.target); text != "" {
			fn := f.functionOf(ref.pc)
			texts[fn] = append(texts[fn], text)
		}
	}
	for start := range f.starts {
		o.Functions = append(o.Functions, Outlined{Address: start, Size: f.length[start], Texts: texts[start]})
	}
	sort.Slice(o.Functions, func(i, j int) bool { return o.Functions[i].Address < o.Functions[j].Address })
	return o, nil
}

// constantText returns the string at an address that the program can neither
// change nor run, "" if there is none. It may begin within a longer string:
// linkers store only one of two strings that end alike.
func (im *image) constantText(address uint64) string {
	s := im.segment(address)
	if s == nil || s.exec || s.writable {
		return ""
	}
	b := im.bytes(address, longestText)
	end := bytes.IndexByte(b, 0)
	if end < 1 {
		return ""
	}
	return string(b[:end])
}
