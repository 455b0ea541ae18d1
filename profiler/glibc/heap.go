// SPDX-License-Identifier: Apache-2.0

// Package glibc walks the heap of glibc's malloc in a running process: by the
// headers of its chunks, from the process's memory, without stopping it.
//
// What it knows of malloc is malloc/malloc.c and malloc/arena.c of glibc 2.31
// to 2.43 on x86-64. Nothing of it needs a symbol: the arena is found by its
// shape, and which version's shape it has is told by its own links.
package glibc

import (
	"cmp"
	"errors"
	"fmt"
	"iter"
	"path"
	"slices"
	"strings"
	"time"

	"leakprof/profiler/target"
)

// State says who has a chunk.
type State uint8

const (
	// InUse chunks are in the program's hands.
	InUse State = iota
	// Cached chunks were freed, but still look as if in use to their
	// neighbours: in a thread's cache (tcache) or in a fastbin.
	Cached
	// Free chunks are in a bin, and given out again.
	Free
	// Top is the end of an arena, from which new chunks are cut.
	Top
	// Own chunks hold malloc's own structures: a thread's cache, the fence at
	// a heap's end.
	Own
)

func (s State) String() string {
	names := [...]string{"in use", "cached", "free", "top", "own"}
	if int(s) < len(names) {
		return names[s]
	}
	return fmt.Sprintf("state %d", uint8(s))
}

// Chunk is a piece of a heap: 8 bytes of header, and what malloc gave out. In
// an arena, chunks lie side by side without a gap.
type Chunk struct {
	user uint64 // address of the user's memory
	size uint64 // of the whole; the low bits are a State, or one of the marks
}

// Marks of chunks that are a mapping of their own, and always in use.
const (
	mapped      = 8
	mappedSince = 9 // glibc 2.43, which does not use a mapping's last 8 bytes

	markMask   = 15 // sizes are multiples of 16
	headerSize = 8  // what of a chunk the user cannot have
	userOffset = 16 // from a chunk's start to the user's memory
)

func (c Chunk) bytes() uint64 { return c.size &^ markMask }

// Address returns what malloc returned for the chunk, or would.
func (c Chunk) Address() uint64 { return c.user }

// State says who has the chunk.
func (c Chunk) State() State {
	if c.Mapped() {
		return InUse
	}
	return State(c.size & markMask)
}

// Mapped says that the chunk is a mapping of its own, as large blocks are.
func (c Chunk) Mapped() bool { return c.size&markMask >= mapped }

// Extent returns the first address of the chunk's memory and the one behind its
// last. The first 8 bytes of a chunk belong to the one before it, so the extent
// of a chunk begins 8 bytes before the user's memory; that of a mapping is the
// whole mapping. The top ends with its arena.
func (c Chunk) Extent() (start, end uint64) {
	switch {
	case c.Mapped():
		start = c.user - userOffset
		return start, start + c.bytes()
	case c.State() == Top:
		return c.user - headerSize, c.user - userOffset + c.bytes()
	}
	start = c.user - headerSize
	return start, start + c.bytes()
}

// Usable returns how many bytes the program may use (malloc_usable_size(3)).
func (c Chunk) Usable() uint64 {
	_, end := c.Extent()
	if c.size&markMask == mappedSince {
		end -= headerSize
	}
	return end - c.user
}

// Heap is the heap at one time.
type Heap struct {
	// Consistent says that two walks in a row found the same.
	Consistent bool
	// Doubts are in words what could not be told for certain.
	Doubts []string
	// Arenas is the number of arenas that were walked, the main one included.
	Arenas int
	Walks  int // how often the heap was walked
	// Torn is how many of the walks met a chunk that was being changed.
	Torn     int
	Duration time.Duration

	chunks  []Chunk
	regions []region
}

// Sum is what all chunks of a state add up to.
type Sum struct {
	Count int
	Bytes uint64 // headers included
}

// Sums adds up the chunks by State.
func (h *Heap) Sums() map[State]Sum {
	sums := make(map[State]Sum)
	for _, c := range h.chunks {
		s := sums[c.State()]
		s.Count++
		s.Bytes += c.bytes()
		sums[c.State()] = s
	}
	return sums
}

// Chunks yields all chunks in the order of their addresses.
func (h *Heap) Chunks() iter.Seq[Chunk] { return slices.Values(h.chunks) }

// Find returns the chunk that malloc gave out as addr.
func (h *Heap) Find(addr uint64) (Chunk, bool) {
	i, found := slices.BinarySearchFunc(h.chunks, addr, func(c Chunk, addr uint64) int { return cmp.Compare(c.user, addr) })
	if !found {
		return Chunk{}, false
	}
	return h.chunks[i], true
}

// Regions yields the stretches of memory, start to before end, in which chunks
// of an arena lie; beside chunks, malloc's own structures may be in them.
func (h *Heap) Regions() iter.Seq2[uint64, uint64] {
	return func(yield func(uint64, uint64) bool) {
		for _, r := range h.regions {
			if !yield(r.start, r.end) {
				return
			}
		}
	}
}

var (
	// ErrNotGlibc says that the process's malloc is not glibc's.
	ErrNotGlibc = errors.New("malloc is not glibc's")
	// ErrTorn says that the program changed its heap faster than it could be
	// read.
	ErrTorn = errors.New("the heap changes while it is read")
)

// Options say how to walk.
type Options struct {
	// Walks is how often to walk at most until two walks agree; 0 is 6.
	Walks int
	// Timeout ends the walk with an error; 0 is 10 s.
	Timeout time.Duration
}

// Walk walks the heap of a process, given what Process.Usage said of it.
func Walk(p *target.Process, usage []target.Usage, o Options) (*Heap, error) {
	h, err := walkProcess(p, usage, o)
	if err != nil {
		if !p.Alive() {
			err = target.ErrGone
		}
		return nil, fmt.Errorf("walk heap of process %d: %w", p.PID, err)
	}
	return h, nil
}

func walkProcess(p *target.Process, usage []target.Usage, o Options) (*Heap, error) {
	for _, u := range usage {
		if name := path.Base(u.Path); strings.HasPrefix(name, "ld-musl-") || strings.HasPrefix(name, "libc.musl-") {
			return nil, fmt.Errorf("its C library is musl: %w", ErrNotGlibc)
		}
	}
	w := &walker{source: p, usage: usage, content: func(u target.Usage) (held, error) {
		r, err := p.Residence(u)
		if err != nil {
			return nil, err
		}
		return r.Held, nil
	}}
	return w.quiet(o)
}
