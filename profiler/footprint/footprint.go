// SPDX-License-Identifier: Apache-2.0

// Package footprint explains a process's resident memory: which bytes of its
// RSS are live blocks and pages, what the allocators below keep, what the
// program consists of, and what the probes in it cost.
package footprint

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"

	"leakprof/profiler/glibc"
	"leakprof/profiler/target"
)

// Block is a live block of the C library's heap.
type Block struct {
	Address uint64
	Size    uint64 // as it was asked for, bytes
}

// Input is what is known of the process's memory. All lists are in the order of
// their addresses; pages are of 4096 bytes.
type Input struct {
	Blocks []Block
	Pages  []uint64 // taken by alloc_page and not returned
	Kept   []uint64 // free, kept by BIRD with their memory
	Cold   []uint64 // free, and given back to the kernel but for their addresses
	Index  []uint64 // in which BIRD lists the cold ones
	// Unlisted is how many pages BIRD keeps that are on no list that could be
	// read; where they are is not known.
	Unlisted uint64
}

// Name says what a part of the RSS is.
type Name string

// The parts, in the order in which they are told.
const (
	LiveBlocks    Name = "live_blocks"    // what was asked for
	BlockOverhead Name = "block_overhead" // headers and rounding of live blocks
	OtherBlocks   Name = "other_blocks"   // in use, but not among the live blocks
	LibcOwn       Name = "libc_own"       // malloc's arenas and threads' caches
	LibcFree      Name = "libc_free"      // free inside malloc
	LivePages     Name = "live_pages"
	KeptPages     Name = "kept_pages"
	ColdPages     Name = "cold_pages"     // those that are resident all the same
	IndexPages    Name = "index_pages"    // lists of cold pages
	UnlistedPages Name = "unlisted_pages" // kept free, but on no list
	Anonymous     Name = "anonymous"      // in no file, and of no other part
	Stacks        Name = "stacks"
	ProgramText   Name = "program_text" // code and constants
	ProgramData   Name = "program_data"
	LibraryText   Name = "library_text"
	LibraryData   Name = "library_data"
	MappedFiles   Name = "mapped_files" // that hold no code
	VDSO          Name = "vdso"
	ProbePages    Name = "probe_pages" // [uprobes], where probed instructions are stepped
	ProbedText    Name = "probed_text" // private copies of pages of code: each probe needs one of its page
)

var titles = []struct {
	name  Name
	title string
}{
	{LiveBlocks, "live blocks"},
	{BlockOverhead, "malloc's headers and rounding"},
	{OtherBlocks, "blocks in use but not followed"},
	{LibcOwn, "malloc's own structures"},
	{LibcFree, "libc's free memory"},
	{LivePages, "live pages"},
	{KeptPages, "free pages kept by BIRD"},
	{ColdPages, "cold pages still resident"},
	{IndexPages, "lists of cold pages"},
	{UnlistedPages, "free pages on none of BIRD's lists"},
	{Anonymous, "other anonymous memory"},
	{Stacks, "stacks"},
	{ProgramText, "program: code and constants"},
	{ProgramData, "program: data"},
	{LibraryText, "libraries: code and constants"},
	{LibraryData, "libraries: data"},
	{MappedFiles, "mapped files"},
	{VDSO, "vdso"},
	{ProbePages, "leakprof: [uprobes] pages"},
	{ProbedText, "leakprof: code copied for probes"},
}

// Part is a part of the RSS.
type Part struct {
	Name  Name   `json:"name"`
	Title string `json:"title"`
	Bytes uint64 `json:"bytes"` // resident
	// Total is what the part has in all, resident or not, in bytes; 0 where
	// only what is resident is known.
	Total uint64 `json:"total_bytes,omitempty"`
	// Estimate says that the bytes are not exact.
	Estimate bool `json:"estimate"`
}

// Footprint is a process's resident memory at one time. Its parts and the
// remainder add up to RSS.
type Footprint struct {
	RSS   uint64 `json:"rss_bytes"` // the sum of /proc/PID/smaps
	Swap  uint64 `json:"swap_bytes"`
	Parts []Part `json:"parts"` // all of them, in their order
	// Remainder is what no part explains, in bytes. It is below 0 where parts
	// grew while they were read.
	Remainder int64 `json:"remainder_bytes"`
	// Consistent says that the mappings and what is resident in them were the
	// same before and after.
	Consistent bool `json:"consistent"`
	// Notes say in words what makes estimates of parts.
	Notes []string `json:"notes,omitempty"`
}

// Part returns the part of that name.
func (f *Footprint) Part(name Name) Part {
	i := slices.IndexFunc(f.Parts, func(p Part) bool { return p.Name == name })
	if i < 0 {
		return Part{Name: name}
	}
	return f.Parts[i]
}

// Own returns how many bytes of the RSS are there for leakprof's probes.
func (f *Footprint) Own() uint64 { return f.Part(ProbePages).Bytes + f.Part(ProbedText).Bytes }

// attempts is how often the process is read until nothing moved meanwhile.
const attempts = 3

// Read explains the resident memory of a process. It does not stop it.
func Read(p *target.Process, in Input) (*Footprint, error) {
	if err := in.check(); err != nil {
		return nil, fmt.Errorf("explain memory of process %d: %w", p.PID, err)
	}
	for try := 1; ; try++ {
		f, err := read(p, in)
		if err != nil {
			return nil, fmt.Errorf("explain memory of process %d: %w", p.PID, err)
		}
		if f.Consistent || try == attempts {
			return f, nil
		}
	}
}

func (in Input) check() error {
	if !slices.IsSortedFunc(in.Blocks, func(a, b Block) int { return cmp.Compare(a.Address, b.Address) }) {
		return errors.New("blocks are not in the order of their addresses")
	}
	for _, pages := range [][]uint64{in.Pages, in.Kept, in.Cold, in.Index} {
		if !slices.IsSorted(pages) {
			return errors.New("pages are not in the order of their addresses")
		}
	}
	return nil
}

func read(p *target.Process, in Input) (*Footprint, error) {
	before, err := p.Usage()
	if err != nil {
		return nil, err
	}
	a, err := newAccount(p, before)
	if err != nil {
		return nil, err
	}
	heap, err := glibc.Walk(p, before, glibc.Options{})
	switch {
	case errors.Is(err, target.ErrGone):
		return nil, err
	case err != nil:
		a.note("%v: all of the heap that is no live block counts as free", err)
		a.estimate(BlockOverhead, LibcOwn, LibcFree)
	case len(heap.Doubts) > 0:
		for _, d := range heap.Doubts {
			a.note("%s", d)
		}
		a.estimate(BlockOverhead, OtherBlocks, LibcOwn)
	}
	a.pages(in)
	a.blocks(in, heap)
	a.mappings(heap != nil)
	a.unlisted(in.Unlisted)
	after, err := p.Usage()
	if err != nil {
		return nil, err
	}
	f := a.finish()
	f.Consistent = slices.Equal(before, after)
	if !f.Consistent {
		f.Notes = append(f.Notes, "the process's memory changed while it was read")
		for i := range f.Parts {
			f.Parts[i].Estimate = true
		}
	}
	return f, nil
}

// WriteText writes a table of the parts that have something.
func (f *Footprint) WriteText(w io.Writer) error {
	row := func(title string, bytes int64, mark string) error {
		_, err := fmt.Fprintf(w, "%-34s%12.1f kB%s\n", title, float64(bytes)/1024, mark)
		return err
	}
	for _, p := range f.Parts {
		mark := ""
		if p.Estimate {
			mark = "  estimate"
		}
		if p.Bytes == 0 {
			continue
		}
		if err := row(p.Title, int64(p.Bytes), mark); err != nil {
			return err
		}
	}
	if err := row("unexplained", f.Remainder, ""); err != nil {
		return err
	}
	return row("RSS", int64(f.RSS), "")
}
