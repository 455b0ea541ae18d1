// SPDX-License-Identifier: Apache-2.0

package glibc

import (
	"encoding/binary"
	"fmt"
	"io"
	"slices"

	"leakprof/profiler/target"
)

// layout is where the members of struct malloc_state are, in bytes.
type layout struct {
	top  uint64
	fast int // number of fastbins, which end where top begins
	next uint64
	size uint64
}

// The bins are what all versions have in common: 127 pairs of pointers behind
// top and last_remainder.
const (
	binsOffset = 16 // from top
	binWords   = 254
	nextOffset = binsOffset + binWords*8 + 16 // from top; binmap is between
	afterNext  = 8 * 5                        // next, next_free, attached_threads, system_mem, max_system_mem
)

var layouts = []layout{
	// glibc 2.31 to 2.42: mutex, flags, have_fastchunks, fastbinsY[10].
	{top: 96, fast: 10, next: 96 + nextOffset, size: 96 + nextOffset + afterNext},
	// glibc 2.43 has no fastbins: mutex, flags.
	{top: 8, next: 8 + nextOffset, size: 8 + nextOffset + afterNext},
}

const (
	// heapMax is HEAP_MAX_SIZE: the heaps of arenas other than the main one are
	// so large, in bytes, and begin at a multiple of it.
	heapMax    = 64 << 20
	maxArenas  = 4096
	maxData    = 64 << 20 // of a file, bytes
	maxHeaps   = 1 << 16
	fenceSize  = 16 // a chunk of nothing but a header
	minChunk   = 32
	prevInUse  = 1
	isMmapped  = 2
	otherArena = 4 // NON_MAIN_ARENA
	flagBits   = prevInUse | isMmapped | otherArena
)

// arena is a struct malloc_state.
type arena struct {
	addr   uint64
	layout layout
	// heapInfo is sizeof(heap_info), by where the arena lies in its first
	// heap; 0 for the main arena.
	heapInfo uint64
	data     target.Mapping // that the main arena is in
}

// findArena looks for the main arena in the data of the program's files: top is
// a chunk of the heap from brk(2) that ends with a page, and the bins behind it
// are empty, which is a link to themselves, or link to somewhere else.
func findArena(source io.ReaderAt, usage []target.Usage, heap target.Mapping) (arena, bool) {
	for _, u := range usage {
		if u.Inode == 0 || !u.Write || !u.Read || u.End-u.Start > maxData {
			continue
		}
		data := make([]byte, u.End-u.Start)
		// What cannot be read, as behind a file's end, is left out.
		got, _ := source.ReadAt(data, int64(u.Start))
		data = data[:max(got, 0)&^7]
		for at := 0; at+nextOffset+8 <= len(data); at += 8 {
			top := binary.LittleEndian.Uint64(data[at:])
			if top < heap.Start || top >= heap.End || top%16 != 0 {
				continue
			}
			if !plausibleBins(data[at+binsOffset:], u.Start+uint64(at)) || topEnd(source, top) == 0 {
				continue
			}
			next := binary.LittleEndian.Uint64(data[at+nextOffset:])
			for _, l := range layouts {
				addr := u.Start + uint64(at) - l.top
				if closes(source, next, addr, l) {
					return arena{addr: addr, layout: l, data: u.Mapping}, true
				}
			}
		}
	}
	return arena{}, false
}

// topEnd returns where the top chunk at addr ends, or 0 if it is none.
func topEnd(source io.ReaderAt, addr uint64) uint64 {
	w, err := words(source, addr, 2)
	if err != nil || w[1]&flagBits != prevInUse || w[1]&^flagBits > highest {
		return 0
	}
	if end := addr + w[1]&^flagBits; end > addr && end%pageSize == 0 {
		return end
	}
	return 0
}

// plausibleBins checks pairs of links: an empty bin links to itself, as a chunk
// whose links were the pair.
func plausibleBins(data []byte, top uint64) bool {
	empty := 0
	for i := uint64(0); i < binWords; i += 2 {
		self := top + i*8
		fd, bk := binary.LittleEndian.Uint64(data[i*8:]), binary.LittleEndian.Uint64(data[i*8+8:])
		switch {
		case fd == self && bk == self:
			empty++
		case fd == self || bk == self || fd%16 != 0 || bk%16 != 0 || fd == 0 || bk == 0:
			return false
		}
	}
	return empty > 0
}

// closes says whether the ring of arenas that goes on at next comes back to the
// main arena at addr.
func closes(source io.ReaderAt, next, addr uint64, l layout) bool {
	for range maxArenas {
		if next == addr {
			return true
		}
		w, err := words(source, next+l.next, 1)
		if err != nil {
			return false
		}
		next = w[0]
	}
	return false
}

// others returns the arenas besides the main one.
func (a arena) others(source io.ReaderAt) ([]arena, error) {
	var all []arena
	for addr := a.addr; ; {
		w, err := words(source, addr+a.layout.next, 1)
		if err != nil {
			return nil, err
		}
		if addr = w[0]; addr == a.addr {
			return all, nil
		}
		first := addr &^ (heapMax - 1)
		if w, err = words(source, first, 1); err != nil {
			return nil, err
		}
		// heap_info is 32 bytes up to 2.34, 48 since.
		if w[0] != addr || addr-first < minChunk || addr-first > 256 || len(all) == maxArenas {
			return nil, fmt.Errorf("arena at 0x%x is in no heap: %w", addr, ErrTorn)
		}
		all = append(all, arena{addr: addr, layout: a.layout, heapInfo: addr - first})
	}
}

// region is a stretch of memory with chunks from first on; they end with top,
// if it lies in the region, or with a fence.
type region struct {
	start, end uint64
	first      uint64
	top        uint64 // 0 if none
	main       bool   // of the main arena
}

// heaps returns the regions of an arena other than the main one, the heap with
// its top last.
func (a arena) heaps(source io.ReaderAt) ([]region, error) {
	w, err := words(source, a.addr+a.layout.top, 1)
	if err != nil {
		return nil, err
	}
	top := w[0]
	own := a.addr &^ (heapMax - 1)
	var all []region
	for heap := top &^ (heapMax - 1); ; {
		w, err := words(source, heap, 3) // ar_ptr, prev, size
		if err != nil {
			return nil, err
		}
		if w[0] != a.addr || w[2] > heapMax || w[2] < minChunk || w[2]%pageSize != 0 || len(all) == maxHeaps {
			return nil, fmt.Errorf("heap at 0x%x is none of the arena's: %w", heap, ErrTorn)
		}
		r := region{start: heap, end: heap + w[2], first: heap + a.heapInfo}
		if heap == own {
			r.first = (a.addr + a.layout.size + 15) &^ 15
		}
		if top != 0 {
			r.top, top = top, 0
		}
		all = append(all, r)
		if heap == own {
			slices.Reverse(all)
			return all, nil
		}
		if heap = w[1]; heap%heapMax != 0 {
			return nil, fmt.Errorf("heap at 0x%x is none: %w", heap, ErrTorn)
		}
	}
}

// parameters is what is known of struct malloc_par.
type parameters struct {
	// base is where the heap begins: sbrk_base.
	base uint64
	// mappings is the address of n_mmaps, the number of chunks that are a
	// mapping of their own; 0 if it was not found.
	mappings uint64
}

// findParameters looks for struct malloc_par in the data that the main arena is
// in: sbrk_base lies in the heap from brk(2), behind the sum and the maximum of
// what was mapped, and before those stands n_mmaps_max, which is 65536 unless
// the program said otherwise. Without it, the heap begins where brk did.
func findParameters(source io.ReaderAt, data, heap target.Mapping) parameters {
	const (
		maxBase      = 64 << 10 // of the C library's memory before malloc's
		mappingsMost = 1 << 16
	)
	s, err := words(source, data.Start, int(data.End-data.Start)/8)
	if err != nil {
		return parameters{base: heap.Start}
	}
	for i := 5; i < len(s); i++ {
		base, sum, most := s[i], s[i-2], s[i-1]
		if base < heap.Start || base-heap.Start > maxBase || sum > most || most > highest {
			continue
		}
		at := data.Start + uint64(i)*8
		switch {
		case s[i-4]&(1<<32-1) == mappingsMost: // since glibc 2.35, behind hp_flags
			return parameters{base: base, mappings: at - 36}
		case s[i-4]>>32 == mappingsMost:
			return parameters{base: base, mappings: at - 32}
		}
	}
	return parameters{base: heap.Start}
}
