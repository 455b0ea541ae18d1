// SPDX-License-Identifier: Apache-2.0

package tree

import (
	"encoding/binary"
	"errors"
	"testing"
	"time"

	"leakprof/profiler/bird"
)

// shapes are the layouts on both sides of each turn point.
var shapes = []struct {
	version                 string
	generation              bird.Generation
	mblock, chunk, slabHead uint64
}{
	{"2.15", bird.BIRD2, 32, 8, shortSlabHead},
	{"2.16.0", bird.BIRD2, 32, 8, longSlabHead},
	{"2.16.1", bird.BIRD2, 32, 16, longSlabHead},
	{"3.0.0", bird.BIRD3, 40, 16, longSlabHead},
	{"3.0.1", bird.BIRD3, 48, 16, longSlabHead},
}

// TestSizes checks each class's rule, written out here as BIRD has it, against
// memory made up in each version's layout.
func TestSizes(t *testing.T) {
	for _, s := range shapes {
		t.Run(s.version, func(t *testing.T) {
			m := sample(s.generation, s.mblock, s.chunk, s.slabHead)
			tree := m.walk(t)
			if l := tree.Layout; l.MblockHeader != s.mblock || l.ChunkHeader != s.chunk || l.SlabHead != s.slabHead {
				t.Fatalf("layout %d, %d, %d, want %+v", l.MblockHeader, l.ChunkHeader, l.SlabHead, s)
			}
			header, pool, linpool, slab := uint64(24), uint64(56), uint64(72), uint64(96)
			if s.generation == bird.BIRD3 {
				header, pool, linpool, slab = 32, 64, 88, 104
			}
			const a = 16
			c := s.chunk
			want := map[string]ClassSum{
				"Pool":    {"Pool", 0, 0, pool + a},
				"Slab":    {"Slab", 2, 215 * 40, 2*(a+slab) + 5*4096 - 215*40},
				"LinPool": {"LinPool", 2, 5000 + 11000 + 2*(4096-c), 2*(linpool+a) + 5*(c+a)},
				"Event":   {"Event", 1, m.class("Event").Size - header, a + header},
			}
			if s.generation == bird.BIRD3 {
				want["Routing table"] = ClassSum{"Routing table", 1, 200 * 24, 2*4096 - 200*24}
				want["Islab"] = ClassSum{"Islab", 1, 4 * 10 * 100, a + 80 + 5*4096 - 4*10*100}
			}
			attributes := tree.Root.Child("Attributes")
			if len(attributes.Classes) != len(want) {
				t.Errorf("classes %+v", attributes.Classes)
			}
			for _, got := range attributes.Classes {
				if got != want[got.Class] {
					t.Errorf("%+v, want %+v", got, want[got.Class])
				}
			}
			bmp := tree.Root.Child(protocolsPool).Children[0]
			if got, want := *bmp.class("BMP TX buffers"), (ClassSum{"BMP TX buffers", 1, 3 * 4096, header + 8}); got != want {
				t.Errorf("%+v, want %+v", got, want)
			}
			if got, want := *bmp.Children[2].class("Memory"), (ClassSum{"Memory", 2, 3 + 11, 2 * (s.mblock + a)}); got != want {
				t.Errorf("%+v, want %+v", got, want)
			}
			if got := bmp.Children[2].Path(); got != "Root/Protocols/BMP/BMP Buffer" {
				t.Errorf("path %q", got)
			}
			if len(tree.Warnings) > 0 {
				t.Errorf("warnings %q", tree.Warnings)
			}
			var sum uint64
			for _, n := range tree.nodes {
				for _, c := range n.Classes {
					sum += c.Effective + c.Overhead
				}
			}
			if got := tree.Root.Effective + tree.Root.Overhead; got != sum {
				t.Errorf("the root sums to %d, its classes to %d", got, sum)
			}
		})
	}
}

// TestChunkHeaderBySlabs tells the length of a chunk's header where no linpool
// is flushed.
func TestChunkHeaderBySlabs(t *testing.T) {
	for _, s := range shapes {
		if s.version == "2.16.0" {
			continue // told by flushed linpools only
		}
		m := newImage(s.generation, 32, s.mblock, s.chunk, s.slabHead)
		m.memory(m.pool(m.root, "some", true), "x")
		m.slab(m.root, 40, 100, 5)
		m.linpool(m.root, 1, 1000)
		if got := m.walk(t).Layout.ChunkHeader; got != s.chunk {
			t.Errorf("%s: chunk header of %d bytes, want %d", s.version, got, s.chunk)
		}
	}
}

// TestWarnings counts what is not known by BIRD's default, and says so.
func TestWarnings(t *testing.T) {
	m := newImage(bird.BIRD3, 32, 48, 16, longSlabHead)
	m.memory(m.pool(m.root, "some", true), "x")
	m.resource(m.root, "Routing table", 512) // without journals
	c := m.class("Event")
	c.Memsize = 1
	m.bird.Classes[c.Address] = c
	m.resource(m.root, "Event", c.Size)
	tree := m.walk(t)
	if len(tree.Warnings) != 2 {
		t.Errorf("warnings %q", tree.Warnings)
	}
	if got, want := *tree.Root.class("Event"), (ClassSum{"Event", 1, 64 - 32, 16 + 32}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// TestNotAPool follows a pool whose block became something else meanwhile.
func TestNotAPool(t *testing.T) {
	m := newImage(bird.BIRD2, 8, 32, 16, longSlabHead)
	m.u64(m.root+m.l.class, m.class("Event").Address)
	if _, err := m.reader().walk(); !errors.Is(err, ErrTorn) {
		t.Errorf("error %v, want %v", err, ErrTorn)
	}
}

// TestPoolOf asks for addresses at the edges of a block and of a page.
func TestPoolOf(t *testing.T) {
	m := newImage(bird.BIRD2, 32, 32, 16, longSlabHead)
	pool := m.pool(m.root, "some", false)
	block := m.memory(pool, "12345") - 32
	m.next += 1024
	m.slab(pool, 40, 100, 5)
	tree := m.walk(t)
	page := tree.pages[0].addr
	if tree.Root.Count != 3 || tree.Root.Children[0].Count != 2 {
		t.Errorf("%d resources, %d in the pool", tree.Root.Count, tree.Root.Children[0].Count)
	}
	for _, c := range []struct {
		address uint64
		class   string
	}{
		{0, ""}, {1 << 60, ""}, {block, "Memory"}, {block + 36, "Memory"}, {block + 37, ""},
		{page, "Slab"}, {page + pageSize - 1, "Slab"}, {page + pageSize, ""}, {page - 1, ""}, {pool, "Pool"},
	} {
		path, class, ok := tree.PoolOf(c.address)
		if class != c.class || ok != (c.class != "") || ok && path != "Root/some" {
			t.Errorf("PoolOf(0x%x) = %q, %q, %v, want class %q", c.address, path, class, ok, c.class)
		}
	}
}

// TestMemoryEdges reads where what is mapped begins and ends within a window.
func TestMemoryEdges(t *testing.T) {
	m := &memory{source: hole{base + pageSize, base + 3*pageSize}, deadline: time.Now().Add(time.Minute)}
	for _, c := range []struct {
		at uint64
		n  int
		ok bool
	}{
		{base + pageSize, 8, true}, {base + pageSize - 4, 8, false}, {base + 2*pageSize - 4, 8, true},
		{base + 3*pageSize - 8, 8, true}, {base + 3*pageSize - 4, 8, false}, {base, 8, false},
		{base + pageSize, 2 * pageSize, true}, {1 << 63, 8, false}, {highest - 4, 8, false},
	} {
		for _, read := range []func(uint64, []byte) error{m.read, m.readHead} {
			b := make([]byte, c.n)
			if err := read(c.at, b); (err == nil) != c.ok || err != nil && !errors.Is(err, ErrTorn) {
				t.Errorf("read %d bytes at 0x%x: %v", c.n, c.at, err)
			} else if c.ok && b[c.n-1] != byte((c.at+uint64(c.n)-1)>>3) {
				t.Errorf("read %d bytes at 0x%x: wrong ones", c.n, c.at)
			}
		}
	}
}

// hole is memory that is mapped from start to end. As the kernel does, it fails
// where nothing is mapped and reads up to there otherwise.
type hole struct{ start, end uint64 }

func (h hole) ReadAt(b []byte, off int64) (int, error) {
	at := uint64(off)
	if at < h.start || at >= h.end {
		return 0, errUnmapped
	}
	n := int(min(uint64(len(b)), h.end-at))
	for i := range n {
		b[i] = byte((at + uint64(i)) >> 3)
	}
	return n, nil
}

// TestNumberedNames gives pools that no instance explains a number.
func TestNumberedNames(t *testing.T) {
	m := newImage(bird.BIRD2, 8, 32, 16, longSlabHead)
	protocols := m.pool(m.root, protocolsPool, false)
	for _, name := range []string{"BGP", "BMP", "BGP"} {
		m.pool(protocols, name, false)
	}
	for i, want := range []string{"Root/Protocols/BGP #1", "Root/Protocols/BMP", "Root/Protocols/BGP #2"} {
		if got := m.walk(t).Root.Child(protocolsPool).Children[i].Path(); got != want {
			t.Errorf("pool %d is %q, want %q", i, got, want)
		}
	}
}

// TestTorn breaks links as a BIRD does that is in the middle of a change.
func TestTorn(t *testing.T) {
	const nowhere = 0x10000
	for _, test := range []struct {
		name   string
		damage func(m *image, pool, block, linpool, slab uint64)
	}{
		{"class", func(m *image, _, block, _, _ uint64) { m.u64(block+m.l.class, 0) }},
		{"next", func(m *image, _, block, _, _ uint64) { m.u64(block, nowhere) }},
		{"next to itself", func(m *image, _, block, _, _ uint64) { m.u64(block, block) }},
		{"next to another list", func(m *image, _, block, _, _ uint64) { m.u64(block, m.root) }},
		{"prev", func(m *image, _, block, _, _ uint64) { m.u64(block+8, nowhere) }},
		{"pool's first", func(m *image, pool, _, _, _ uint64) { m.u64(pool+m.l.inside, nowhere) }},
		{"pool's last", func(m *image, pool, _, _, _ uint64) {
			if m.l.Generation == bird.BIRD2 {
				m.u64(pool+m.l.inside+16, nowhere)
			} else {
				m.u64(pool+m.l.inside+8, nowhere)
			}
		}},
		{"pool's name", func(m *image, pool, _, _, _ uint64) { m.u64(pool+m.l.poolName, nowhere) }},
		{"chunk", func(m *image, _, _, linpool, _ uint64) { m.u64(m.get(linpool+m.l.first), nowhere) }},
		{"chunk of another linpool", func(m *image, pool, _, linpool, _ uint64) {
			if m.l.Generation == bird.BIRD3 {
				m.u64(m.get(linpool+m.l.first)+8, pool)
			} else { // there is no way back from a chunk
				m.u64(linpool+m.l.first, pool)
			}
		}},
		{"chunks in a circle", func(m *image, _, _, linpool, _ uint64) {
			first := m.get(linpool + m.l.first)
			m.u64(m.get(first), first)
		}},
		{"large chunk", func(m *image, _, _, linpool, _ uint64) { m.u64(linpool+m.l.firstLarge, nowhere) }},
		{"slab page's slab", func(m *image, _, _, _, slab uint64) { m.u64(m.get(slab+m.l.slabLists), 0) }},
		{"slab page's prev", func(m *image, _, _, _, slab uint64) { m.u64(m.get(slab+m.l.slabLists+16)+16, nowhere) }},
		{"slab page's number", func(m *image, _, _, _, slab uint64) { m.u16(m.get(slab+m.l.slabLists+32)+m.l.SlabHead-4, 99) }},
		{"slab's empty pages", func(m *image, _, _, _, slab uint64) { m.u32(slab+m.l.emptyHeads, 2) }},
		{"slab's last", func(m *image, _, _, _, slab uint64) { m.u64(slab+m.l.slabLists+8, nowhere) }},
	} {
		for _, s := range shapes {
			if s.version == "3.0.0" || s.version == "2.16.0" {
				continue
			}
			t.Run(test.name+" "+s.version, func(t *testing.T) {
				m := newImage(s.generation, 64, s.mblock, s.chunk, s.slabHead)
				pool := m.pool(m.root, "some", true)
				block := m.memory(pool, "x") - s.mblock
				m.memory(pool, "y")
				linpool := m.linpool(pool, 2, 0, 5000)
				slab := m.slab(pool, 40, 100, 100, 0, 5)
				m.walk(t)
				test.damage(m, pool, block, linpool, slab)
				if tree, err := m.reader().walk(); !errors.Is(err, ErrTorn) {
					t.Errorf("%v, %v, want %v", tree, err, ErrTorn)
				}
			})
		}
	}
}

// changing changes a block's size whenever a walk begins.
type changing struct {
	*image
	block uint64
	left  int
}

func (c *changing) ReadAt(b []byte, off int64) (int, error) {
	if at := uint64(off); c.left > 0 && c.block >= at && c.block < at+uint64(len(b)) {
		c.left--
		c.u32(c.block+c.l.mblockSize, uint64(c.left)+1)
	}
	return c.image.ReadAt(b, off)
}

// TestQuiet wants two walks in a row with the same result.
func TestQuiet(t *testing.T) {
	for _, test := range []struct {
		changes, walks int
		consistent     bool
	}{{0, 2, true}, {1, 2, true}, {2, 3, true}, {4, 5, true}, {6, 6, false}, {100, 6, false}} {
		m := newImage(bird.BIRD2, 8, 32, 16, longSlabHead)
		c := &changing{m, m.memory(m.root, "x") - 32, test.changes}
		r := m.reader()
		r.source = c
		tree, err := r.quiet(6)
		if err != nil {
			t.Fatal(err)
		}
		if tree.Consistent != test.consistent || tree.Walks != test.walks {
			t.Errorf("%d changes: consistent %v after %d walks, want %v after %d", test.changes, tree.Consistent, tree.Walks, test.consistent, test.walks)
		}
	}
}

// FuzzWalk changes words of made-up memory: the walk neither panics nor runs
// away, and finds no more resources than there is memory for.
func FuzzWalk(f *testing.F) {
	f.Add(byte(0), []byte{})
	f.Add(byte(1), []byte("\x10\x02\x00\x00\x00\x00\x55\x7f\x00\x00"))
	f.Add(byte(4), []byte("\x40\x03\x00\x01\x00\x00\x55\x7f\x00\x00\x08\x00\x00\x10\x00\x00\x55\x7f\x00\x00"))
	f.Fuzz(func(t *testing.T, shape byte, changes []byte) {
		s := shapes[int(shape)%len(shapes)]
		m := sample(s.generation, s.mblock, s.chunk, s.slabHead)
		for ; len(changes) >= 10; changes = changes[10:] {
			at := uint64(binary.LittleEndian.Uint16(changes)) * 8 % m.next
			m.u64(base+at&^7, binary.LittleEndian.Uint64(changes[2:]))
		}
		r := m.reader()
		r.deadline = time.Now().Add(5 * time.Second)
		tree, err := r.walk()
		if errors.Is(err, errTimeout) {
			t.Fatal(err)
		}
		if r.resources > len(m.data) || r.reads > 1<<16 {
			t.Fatalf("%d resources, %d reads in %d bytes", r.resources, r.reads, len(m.data))
		}
		if err == nil {
			tree.PoolOf(m.root)
			for b := range tree.Blocks() {
				tree.PoolOf(b.Address)
			}
		}
	})
}

// BenchmarkWalk walks through 60,000 blocks, as of so many routes.
func BenchmarkWalk(b *testing.B) {
	m := newImage(bird.BIRD2, 60_000*64/pageSize+64, 32, 16, longSlabHead)
	for range 60_000 {
		m.memory(m.root, "route")
	}
	r := m.reader()
	for b.Loop() {
		r.deadline = time.Now().Add(time.Minute)
		if _, err := r.walk(); err != nil {
			b.Fatal(err)
		}
	}
}
