// SPDX-License-Identifier: Apache-2.0

package glibc

import (
	"encoding/binary"
	"fmt"
	"strings"
	"time"

	"leakprof/profiler/target"
)

// mappings appends the chunks that are mappings of their own. The kernel joins
// neighbouring mappings, so one can begin at any page; it is told by its header,
// and malloc's own count says whether all were found, and nothing else. (Its sum
// of bytes is not to be relied on: that of glibc 2.43 drifts.)
func (w *walker) mappings(h *Heap) error {
	count, known := w.mappingCount()
	if known && count == 0 {
		return nil
	}
	found := 0
	for _, u := range w.usage {
		if !anonymous(u) || u.RSS+u.Swap == 0 {
			continue
		}
		all, err := w.mapped(u, h)
		if err != nil {
			return err
		}
		found += len(all)
		if len(w.chunks)+len(all) > maxChunks {
			return fmt.Errorf("more than %d chunks", maxChunks)
		}
		w.chunks = append(w.chunks, all...)
	}
	switch {
	case !known && found > 0:
		h.Doubts = append(h.Doubts, "large blocks, which are mappings of their own, are told by their headers alone")
	case known && found != count:
		h.Doubts = append(h.Doubts, fmt.Sprintf("malloc has %d blocks that are mappings of their own, %d were found", count, found))
	}
	return nil
}

// mappingCount reads how many chunks malloc says are mappings of their own.
func (w *walker) mappingCount() (count int, known bool) {
	if w.malloc.mappings == 0 {
		return 0, false
	}
	var b [4]byte
	if n, _ := w.source.ReadAt(b[:], int64(w.malloc.mappings)); n < len(b) {
		return 0, false
	}
	return int(binary.LittleEndian.Uint32(b[:])), true
}

func anonymous(u target.Usage) bool {
	return u.Inode == 0 && u.Read && u.Write && (u.Path == "" || strings.HasPrefix(u.Path, "[anon:"))
}

// inRegion says whether addr is in an arena: the kernel may have joined one of its
// heaps and a mapping before it.
func (h *Heap) inRegion(addr uint64) bool {
	for _, r := range h.regions {
		if addr >= r.start && addr < r.end {
			return true
		}
	}
	return false
}

// mapped returns the chunks in an anonymous mapping.
func (w *walker) mapped(u target.Usage, h *Heap) ([]Chunk, error) {
	content, err := w.content(u)
	if err != nil {
		return nil, err
	}
	var pages []uint64
	for at := u.Start; at < u.End; at += pageSize {
		for end := content(at, u.End); at < end; at += pageSize {
			pages = append(pages, at)
		}
	}
	heads, ok, err := w.source.ReadBatch(pages, userOffset)
	if err != nil {
		return nil, err
	}
	if time.Now().After(w.deadline) {
		return nil, errTimeout
	}
	var all []Chunk
	end := u.Start // of the last chunk
	for i, at := range pages {
		if !ok[i] || at < end || h.inRegion(at) {
			continue
		}
		if size := mappedSize(heads[i*userOffset:]); size > 0 && size&^markMask <= u.End-at {
			all = append(all, Chunk{at + userOffset, size})
			end = at + size&^markMask
		}
	}
	return all, nil
}

// mappedSize returns how large the mapping is that begins with the header b,
// with its mark, or 0 if it is none: the distance from the mapping's start is 0,
// and the size has that one flag. glibc 2.43 leaves 16 bytes out of the size,
// and marks huge pages in the distance.
func mappedSize(b []byte) uint64 {
	const hugePages = 1
	before, head := binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:])
	if head&flagBits != isMmapped || head > highest {
		return 0
	}
	switch size := head &^ flagBits; {
	case before == 0 && size%pageSize == 0 && size > 0:
		return size | mapped
	case before&^hugePages == 0 && (size+userOffset)%pageSize == 0:
		return size + userOffset | mappedSince
	}
	return 0
}
