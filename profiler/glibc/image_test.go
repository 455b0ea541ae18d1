// SPDX-License-Identifier: Apache-2.0

package glibc

import (
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"testing"
	"time"

	"leakprof/profiler/target"
)

// Where the parts of an image are.
const (
	imageData   = 0x7f0000100000 // of the C library
	imageArena  = imageData + 0x400
	imageParams = imageData + 0x80
	imageHeap   = 0x55d000000000
	imagePages  = 4
	imageOther  = 0x7f0004000000 // the heap of another arena
	imageLarge  = 0x7f0000200000 // chunks that are mappings
)

// image is the memory of a small process with glibc's malloc.
type image map[uint64][]byte // mappings, by address

func (m image) ReadAt(b []byte, off int64) (int, error) {
	for start, data := range m {
		if at := uint64(off) - start; at < uint64(len(data)) {
			if n := copy(b, data[at:]); n < len(b) {
				return n, io.ErrUnexpectedEOF
			}
			return len(b), nil
		}
	}
	return 0, io.ErrUnexpectedEOF
}

func (m image) ReadBatch(addrs []uint64, size int) ([]byte, []bool, error) {
	data, ok := make([]byte, len(addrs)*size), make([]bool, len(addrs))
	for i, a := range addrs {
		n, _ := m.ReadAt(data[i*size:(i+1)*size], int64(a))
		ok[i] = n == size
	}
	return data, ok, nil
}

func (m image) put(addr uint64, words ...uint64) {
	for start, data := range m {
		if at := addr - start; at < uint64(len(data)) {
			for i, w := range words {
				binary.LittleEndian.PutUint64(data[at+uint64(i)*8:], w)
			}
			return
		}
	}
	panic("outside of the image")
}

// bins makes all bins of an arena empty.
func (m image) bins(top uint64) {
	for i := uint64(0); i < binWords; i += 2 {
		self := top + i*8
		m.put(top+binsOffset+i*8, self, self)
	}
}

// imageChunk is the first block of an image: that of 0x30 bytes.
const imageChunk = imageHeap + 0x290

// newImage makes one with a cache, six blocks of 0x30 bytes (of which the second
// is cached, the third in a fastbin if there are, and the fifth free), one
// mapping, and an arena of a thread with one block.
func newImage(l layout) image {
	m := image{
		imageData:  make([]byte, 2*pageSize),
		imageHeap:  make([]byte, imagePages*pageSize),
		imageOther: make([]byte, pageSize),
		imageLarge: make([]byte, 4*pageSize),
	}
	const key, size = 0x123456789abcdef1, 0x30
	// struct tcache_perthread_struct with one block in list 1.
	m.put(imageHeap, 0, 0x290|prevInUse)
	m.put(imageHeap+16, 1<<16)
	cached := uint64(imageChunk + size + userOffset)
	m.put(imageHeap+16+128+8, cached)
	at := uint64(imageChunk)
	for i := range 6 {
		head := uint64(size | prevInUse)
		if i == 5 {
			m.put(at, size) // the one before it is free
			head = size
		}
		m.put(at+8, head)
		at += size
	}
	m.put(cached, reveal(0, cached), key)
	top := at
	m.put(top+8, imageHeap+imagePages*pageSize-top|prevInUse)

	m.put(imageArena+l.top, top)
	m.bins(imageArena + l.top)
	if l.fast > 0 {
		fast := uint64(imageChunk + 2*size)
		m.put(imageArena+l.top-uint64(l.fast-1)*8, fast)
		m.put(fast+userOffset, reveal(0, fast+userOffset))
	}
	other := uint64(imageOther + 48)
	m.put(imageArena+l.next, other)
	m.put(other+l.next, imageArena)
	m.put(imageOther, other, 0, pageSize)
	first := (other + l.size + 15) &^ 15
	m.put(first+8, 0x40|prevInUse|otherArena)
	m.put(first+0x48, imageOther+pageSize-first-0x40|prevInUse)
	m.put(other+l.top, first+0x40)

	// {hp_flags, n_mmaps}, {n_mmaps_max, max_n_mmaps}, no_dyn_threshold, sums.
	m.put(imageParams, 1<<32, 1<<32|1<<16, 0, 2*pageSize, 2*pageSize, imageHeap)
	m.put(imageLarge+pageSize, 0, 2*pageSize|isMmapped)
	return m
}

func (m image) usage() []target.Usage {
	all := []target.Usage{
		{Mapping: target.Mapping{Start: imageHeap, Path: "[heap]"}},
		{Mapping: target.Mapping{Start: imageData, Inode: 1, Path: "/lib/libc.so.6"}},
		{Mapping: target.Mapping{Start: imageLarge}},
		{Mapping: target.Mapping{Start: imageOther}},
	}
	for i := range all {
		u := &all[i]
		u.End = u.Start + uint64(len(m[u.Start]))
		u.Read, u.Write = true, true
		u.RSS = u.End - u.Start
	}
	return all
}

func (m image) walker() *walker {
	return &walker{source: m, usage: m.usage(), content: func(u target.Usage) (held, error) {
		return func(start, end uint64) uint64 { return max(start, min(end, u.End)) }, nil
	}}
}

func TestImage(t *testing.T) {
	for i, l := range layouts {
		h, err := newImage(l).walker().quiet(Options{})
		if err != nil {
			t.Fatalf("layout %d: %v", i, err)
		}
		if !h.Consistent || len(h.Doubts) > 0 || h.Arenas != 2 {
			t.Errorf("layout %d: consistent %v, doubts %q, %d arenas", i, h.Consistent, h.Doubts, h.Arenas)
		}
		fast := Cached
		if l.fast == 0 {
			fast = InUse
		}
		want := []State{Own, InUse, Cached, fast, InUse, Free, InUse, Top, InUse /* mapped */, InUse, Top}
		var got []State
		for c := range h.Chunks() {
			got = append(got, c.State())
		}
		if !slices.Equal(got, want) {
			t.Errorf("layout %d: chunks are %v, want %v", i, got, want)
		}
		if c, ok := h.Find(imageLarge + pageSize + userOffset); !ok || !c.Mapped() || c.Usable() != 2*pageSize-16 {
			t.Errorf("layout %d: mapped chunk %+v, %v", i, c, ok)
		}
	}
}

// TestDamage damages an image at one place.
func TestDamage(t *testing.T) {
	for _, c := range []struct {
		name  string
		addr  uint64
		value uint64
		err   error
	}{
		{"size 0", imageChunk + 8, prevInUse, ErrTorn},
		{"odd size", imageChunk + 8, 0x38 | prevInUse, ErrTorn},
		{"size beyond the heap", imageChunk + 8, 1<<40 | prevInUse, ErrTorn},
		{"size past the top", imageChunk + 8, 0x300 | prevInUse, ErrTorn},
		{"mapped chunk in the heap", imageChunk + 8, 0x30 | prevInUse | isMmapped, ErrTorn},
		{"chunk of another arena", imageChunk + 8, 0x30 | prevInUse | otherArena, ErrTorn},
		{"footer of a free chunk", imageChunk + 5*0x30, 0x40, ErrTorn},
		{"first chunk with one before it", imageHeap + 8, 0x290, ErrTorn},
		{"fastbin to nowhere", imageArena + 96 - 9*8, imageChunk + 8, ErrTorn},
		{"fastbin to a ring", imageChunk + 2*0x30 + userOffset, reveal(imageChunk+2*0x30, imageChunk+2*0x30+userOffset), ErrTorn},
		{"fastbin of another size", imageArena + 96 - 8*8, imageChunk + 3*0x30, ErrTorn},
		{"no top", imageArena + 96, 0, ErrNotGlibc},
		{"a bin half linked", imageArena + 96 + binsOffset, imageHeap, ErrNotGlibc},
		{"no ring of arenas", imageArena + layouts[0].next, 8, ErrNotGlibc},
		{"no heap of an arena", imageOther, 8, ErrTorn},
		{"heap too large", imageOther + 16, 1 << 40, ErrTorn},
		{"heap not mapped", imageOther + 48 + 96, 0x7f0008000000, ErrTorn},
	} {
		m := newImage(layouts[0])
		m.put(c.addr, c.value)
		h, err := m.walker().quiet(Options{Walks: 2})
		if !errors.Is(err, c.err) {
			t.Errorf("%s: %v, want %v (%+v)", c.name, err, c.err, h)
		}
	}
}

// TestMappingCount: malloc's own count tells that a mapping was missed, or that
// something else looks like one.
func TestMappingCount(t *testing.T) {
	for name, change := range map[string]func(image){
		"missed": func(m image) { m.put(imageLarge+pageSize, 8) },
		"more":   func(m image) { m.put(imageLarge+3*pageSize, 0, pageSize|isMmapped) },
		"no sum": func(m image) { m.put(imageParams+8, 0) },
	} {
		m := newImage(layouts[0])
		change(m)
		h, err := m.walker().quiet(Options{})
		if err != nil {
			t.Fatal(err)
		}
		if len(h.Doubts) != 1 {
			t.Errorf("%s: doubts %q, want one", name, h.Doubts)
		}
	}
}

// TestNoCache changes an image's cache so that it is none: what is in it counts
// as in use, with a doubt.
func TestNoCache(t *testing.T) {
	const cached, lists = imageChunk + 0x30 + userOffset, imageHeap + 16 + 128
	for name, change := range map[string]func(image){
		"list with a number too many":  func(m image) { m.put(imageHeap+16, 1<<16|1) },
		"list with no number":          func(m image) { m.put(imageHeap+16, 0) },
		"head is no chunk":             func(m image) { m.put(lists+8, cached+16) },
		"head of another list's size":  func(m image) { m.put(imageHeap+16, 1); m.put(lists, cached, 0) },
		"head in two lists of one key": func(m image) { m.put(imageHeap+16, 1<<16|1<<32); m.put(lists+16, cached) },
		"no key":                       func(m image) { m.put(cached+8, 0) },
		"link to what is not cached":   func(m image) { m.put(cached, reveal(imageChunk+userOffset, cached)) },
		"another key in another list": func(m image) {
			// The last block becomes one of 0x40 bytes, in list 2.
			last := uint64(imageChunk + 5*0x30)
			m.put(last+8, 0x40)
			m.put(last+userOffset, reveal(0, last+userOffset), 0x777)
			m.put(last+0x48, imageHeap+imagePages*pageSize-last-0x40|prevInUse)
			m.put(imageArena+layouts[0].top, last+0x40)
			m.put(imageHeap+16, 1<<16|1<<32)
			m.put(lists+16, last+userOffset)
		},
	} {
		m := newImage(layouts[0])
		change(m)
		h, err := m.walker().quiet(Options{})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if c, ok := h.Find(cached); !ok || c.State() != InUse || len(h.Doubts) != 1 {
			t.Errorf("%s: chunk is %v, doubts %q", name, c.State(), h.Doubts)
		}
	}
}

// TestMappedInArena: no page of an arena is taken for a mapping of its own.
func TestMappedInArena(t *testing.T) {
	m := newImage(layouts[0])
	m.put(imageLarge+3*pageSize, 0, pageSize|isMmapped)
	w := m.walker()
	w.deadline = time.Now().Add(time.Minute)
	u := w.usage[2]
	for _, c := range []struct {
		regions []region
		want    int
	}{
		{nil, 2},
		{[]region{{start: imageLarge + 3*pageSize, end: imageLarge + 4*pageSize}}, 1},
		{[]region{{start: imageLarge, end: imageLarge + 3*pageSize}}, 1},
	} {
		all, err := w.mapped(u, &Heap{regions: c.regions})
		if err != nil || len(all) != c.want {
			t.Errorf("%d chunks besides %v, want %d (%v)", len(all), c.regions, c.want, err)
		}
	}
}

// reads notes what is read.
type reads struct {
	io.ReaderAt
	to uint64 // the highest address, exclusive
}

func (r *reads) ReadAt(b []byte, off int64) (int, error) {
	r.to = max(r.to, uint64(off)+uint64(len(b)))
	return r.ReaderAt.ReadAt(b, off)
}

// TestWindow: no page is read that has no content, unless a chunk begins there.
func TestWindow(t *testing.T) {
	source := &reads{ReaderAt: newImage(layouts[0])}
	const content = imageHeap + pageSize
	w := &window{source: source, held: func(start, end uint64) uint64 { return max(start, min(end, content)) }}
	for _, c := range []struct{ addr, n, to uint64 }{
		{imageHeap, 32, content},
		{imageHeap + 64, 32, content},
		{content - 16, 32, content + 16},
		{content + 256, 32, content + 288},
	} {
		if _, err := w.at(c.addr, c.n); err != nil {
			t.Fatal(err)
		}
		if source.to > c.to {
			t.Errorf("%d bytes at 0x%x: read up to 0x%x, want 0x%x", c.n, c.addr, source.to, c.to)
		}
	}
}

func TestMappedSize(t *testing.T) {
	for _, c := range []struct{ before, head, want uint64 }{
		{0, 0x21000 | isMmapped, 0x21000 | mapped},
		{0, 0x21000 - 16 | isMmapped, 0x21000 | mappedSince},
		{1, 0x21000 - 16 | isMmapped, 0x21000 | mappedSince},
		{1, 0x21000 | isMmapped, 0},
		{16, 0x21000 | isMmapped, 0},
		{0, 0x21000, 0},
		{0, 0x21000 | isMmapped | prevInUse, 0},
		{0, 0x21010 | isMmapped, 0},
		{0, isMmapped, 0},
		{0, 1<<63 | isMmapped, 0},
	} {
		b := binary.LittleEndian.AppendUint64(nil, c.before)
		if got := mappedSize(binary.LittleEndian.AppendUint64(b, c.head)); got != c.want {
			t.Errorf("mappedSize(%#x, %#x) = %#x, want %#x", c.before, c.head, got, c.want)
		}
	}
}

// FuzzWalk damages images at many places: each patch is a place, as one of the
// image's words, and what is put there.
func FuzzWalk(f *testing.F) {
	patch := func(addr uint64, values ...uint64) (b []byte) {
		for i, v := range values {
			b = binary.LittleEndian.AppendUint64(b, addr+uint64(i)*8)
			b = binary.LittleEndian.AppendUint64(b, v)
		}
		return b
	}
	f.Add(false, []byte{})
	f.Add(true, []byte{})
	f.Add(false, patch(imageChunk+8, 0x60|prevInUse, 0))
	f.Add(false, patch(imageHeap+16, 7, 7))
	f.Add(true, patch(imageOther, imageArena, 1<<40, 0))
	f.Add(true, patch(imageLarge, 0, 0x3000|isMmapped))
	f.Fuzz(func(t *testing.T, recent bool, patches []byte) {
		l := layouts[0]
		if recent {
			l = layouts[1]
		}
		m := newImage(l)
		for ; len(patches) >= 16; patches = patches[16:] {
			addr := binary.LittleEndian.Uint64(patches) &^ 7
			for start, data := range m {
				if at := addr - start; at < uint64(len(data)) {
					copy(data[at:], patches[8:16])
				}
			}
		}
		start := time.Now()
		h, err := m.walker().quiet(Options{Walks: 2})
		if took := time.Since(start); took > 2*time.Second {
			t.Fatalf("it took %v", took)
		}
		if err != nil {
			return
		}
		var last uint64
		for c := range h.Chunks() {
			start, end := c.Extent()
			if start < last && !c.Mapped() || end <= start {
				t.Fatalf("chunk from 0x%x to 0x%x lies before 0x%x", start, end, last)
			}
			if start >= highest || end > highest {
				t.Fatalf("chunk from 0x%x to 0x%x is outside of all memory", start, end)
			}
			last = end
		}
	})
}
