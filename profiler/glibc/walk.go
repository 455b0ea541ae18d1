// SPDX-License-Identifier: Apache-2.0

package glibc

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"leakprof/profiler/target"
)

// maxChunks bounds a walk: their list takes 0.5 GB then.
const maxChunks = 1 << 24

// maxHeap bounds the heap from brk(2), bytes.
const maxHeap = 1 << 38

var errTimeout = errors.New("it took too long")

// errNoArena is no certain one: while a list is changed, its links do not match.
var errNoArena = fmt.Errorf("no arena found: %w", ErrNotGlibc)

// source is a process's memory.
type source interface {
	io.ReaderAt
	// ReadBatch is target.Process.ReadBatch.
	ReadBatch(addrs []uint64, size int) (data []byte, ok []bool, err error)
}

// held is target.Residence.Held.
type held func(start, end uint64) uint64

// walker walks a heap until two walks agree.
type walker struct {
	source source
	usage  []target.Usage
	// content is Process.Residence.
	content  func(target.Usage) (held, error)
	deadline time.Time
	main     arena // once it was found
	malloc   parameters

	chunks []Chunk
	links  [][2]uint64 // the first two words of each chunk's user memory
	keys   map[uint64]bool
}

// quiet walks until two walks in a row find the same. The last heap is returned
// if none do.
func (w *walker) quiet(o Options) (*Heap, error) {
	start := time.Now()
	w.deadline = start.Add(cmp.Or(o.Timeout, 10*time.Second))
	w.keys = make(map[uint64]bool)
	var heap *Heap
	var torn int
	var err error
	walks := cmp.Or(o.Walks, 6)
	for i := range walks {
		known := len(w.keys)
		var h *Heap
		h, err = w.walk()
		if errors.Is(err, ErrTorn) || errors.Is(err, errNoArena) {
			torn++
			continue
		} else if errors.Is(err, errTimeout) && heap != nil {
			break
		} else if err != nil {
			return nil, err
		}
		h.Walks = i + 1
		// A walk that learned a key has not looked for it everywhere.
		h.Consistent = heap != nil && known == len(w.keys) && slices.Equal(h.chunks, heap.chunks)
		if heap = h; h.Consistent {
			break
		}
	}
	if heap == nil {
		return nil, err
	}
	heap.Torn, heap.Duration = torn, time.Since(start)
	if !heap.Consistent {
		heap.Doubts = append(heap.Doubts, "the program changed its heap meanwhile")
	}
	return heap, nil
}

func (w *walker) walk() (*Heap, error) {
	h := new(Heap)
	w.chunks, w.links = make([]Chunk, 0, len(w.chunks)+64), w.links[:0]
	brk, ok := w.brk()
	if !ok {
		return h, nil // nothing was allocated yet
	}
	if w.main.addr == 0 {
		if w.main, ok = findArena(w.source, w.usage, brk); !ok {
			return nil, errNoArena
		}
		w.malloc = findParameters(w.source, w.main.data, brk)
	}
	top, err := words(w.source, w.main.addr+w.main.layout.top, 1)
	if err != nil {
		return nil, err
	}
	end := topEnd(w.source, top[0])
	if end == 0 || top[0] < brk.Start || end-brk.Start > maxHeap {
		return nil, fmt.Errorf("top at 0x%x is no chunk: %w", top[0], ErrTorn)
	}
	h.regions = []region{{start: brk.Start, end: end, first: (w.malloc.base + 15) &^ 15, top: top[0], main: true}}
	others, err := w.main.others(w.source)
	if err != nil {
		return nil, err
	}
	for _, a := range others {
		r, err := a.heaps(w.source)
		if err != nil {
			return nil, err
		}
		h.regions = append(h.regions, r...)
	}
	slices.SortFunc(h.regions, func(a, b region) int { return cmp.Compare(a.start, b.start) })
	h.Arenas = 1 + len(others)
	for _, r := range h.regions {
		if err := w.region(r); err != nil {
			return nil, err
		}
	}
	for _, a := range append(others, w.main) {
		if err := w.fastbins(a); err != nil {
			return nil, err
		}
	}
	if err := w.caches(h, h.regions[0].first+userOffset); err != nil {
		return nil, err
	}
	if err := w.mappings(h); err != nil {
		return nil, err
	}
	slices.SortFunc(w.chunks, func(a, b Chunk) int { return cmp.Compare(a.user, b.user) })
	h.chunks = w.chunks
	return h, nil
}

// brk returns the memory from brk(2), in one piece.
func (w *walker) brk() (all target.Mapping, ok bool) {
	for _, u := range w.usage {
		switch {
		case u.Path != "[heap]":
		case !ok:
			all, ok = u.Mapping, true
		case u.Start == all.End:
			all.End = u.End
		}
	}
	return all, ok
}

// region appends the chunks of a region.
func (w *walker) region(r region) error {
	content, err := w.content(target.Usage{Mapping: target.Mapping{Start: r.start, End: r.end}})
	if err != nil {
		return err
	}
	memory := &window{source: w.source, held: content}
	torn := func(at uint64, what string) error {
		return fmt.Errorf("chunk at 0x%x %s: %w", at, what, ErrTorn)
	}
	var last *Chunk
	for at := r.first; ; {
		if at+fenceSize > r.end {
			return torn(at, "reaches past the heap")
		}
		b, err := memory.at(at, min(minChunk, r.end-at))
		if err != nil {
			return err
		}
		before, head := binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:])
		size := head &^ flagBits
		if last != nil && head&prevInUse == 0 {
			if last.State() == Own || before != last.bytes() {
				return torn(at, "does not know the one before it")
			}
			last.size = last.bytes() | uint64(Free)
		}
		switch {
		case at == r.top:
			if at+size > r.end {
				return torn(at, "is a top that reaches past the heap")
			}
			w.append(Chunk{at + userOffset, size | uint64(Top)}, [2]uint64{})
			return nil
		case r.top == 0 && size == 0:
			return nil // behind the fence
		case size%16 != 0 || size < fenceSize || size > r.end-at || at+size > r.end-fenceSize:
			return torn(at, "has no possible size")
		// In other arenas, free chunks and those at a heap's end lack the flag.
		case head&isMmapped != 0 || r.main && head&otherArena != 0:
			return torn(at, "is of another arena")
		case last == nil && head&prevInUse == 0 && at == r.first:
			return torn(at, "is the first, but has one before it")
		case size == fenceSize:
			w.append(Chunk{at + userOffset, size | uint64(Own)}, [2]uint64{})
		case len(b) < minChunk:
			return torn(at, "reaches past the heap")
		default:
			w.append(Chunk{at + userOffset, size | uint64(InUse)}, [2]uint64{binary.LittleEndian.Uint64(b[16:]), binary.LittleEndian.Uint64(b[24:])})
		}
		if len(w.chunks) > maxChunks {
			return fmt.Errorf("more than %d chunks", maxChunks)
		}
		if len(w.chunks)%(1<<16) == 0 && time.Now().After(w.deadline) {
			return errTimeout
		}
		last = &w.chunks[len(w.chunks)-1]
		at += size
	}
}

func (w *walker) append(c Chunk, links [2]uint64) {
	w.chunks, w.links = append(w.chunks, c), append(w.links, links)
}

// find returns the index of the chunk whose user memory is at addr.
func (w *walker) find(addr uint64) (int, bool) {
	return slices.BinarySearchFunc(w.chunks, addr, func(c Chunk, addr uint64) int { return cmp.Compare(c.user, addr) })
}

func (w *walker) set(i int, s State) {
	w.chunks[i].size = w.chunks[i].bytes() | uint64(s)
}
