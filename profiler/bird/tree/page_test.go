// SPDX-License-Identifier: Apache-2.0

package tree

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"leakprof/collector/lab"
	"leakprof/collector/lab/labtest"
	"leakprof/profiler/bird"
)

// objects returns the numbers of the objects in use on a page.
func objects(t *testing.T, tree *Tree, address uint64) []int {
	t.Helper()
	p, ok := tree.Page(address + 5)
	if !ok || p.Address != address {
		t.Fatalf("no page 0x%x, but %+v", address, p)
	}
	var all []int
	for a := range p.Objects() {
		i := (a - p.Address - p.HeadSize) / p.Stride
		if a != p.Address+p.HeadSize+i*p.Stride || !p.InUse(a) || p.InUse(a+1) {
			t.Errorf("object at 0x%x: in use %v, behind it %v", a, p.InUse(a), p.InUse(a+1))
		}
		all = append(all, int(i))
	}
	if want := pageSize - p.HeadSize - uint64(p.Used)*p.Stride; p.Used != len(all) || p.Free != want {
		t.Errorf("%d objects, used %d; %d bytes free, want %d", len(all), p.Used, p.Free, want)
	}
	return all
}

// TestObjects tells objects in use from others on pages of slabs.
func TestObjects(t *testing.T) {
	for _, s := range shapes {
		m := newImage(s.generation, 64, s.mblock, s.chunk, s.slabHead)
		m.memory(m.pool(m.root, "some", true), "x")
		slab := m.slab(m.root, 40, 70, 70, 33, 0)
		partial, empty := m.get(slab+m.l.slabLists+16), m.get(slab+m.l.slabLists)
		full := m.get(slab + m.l.slabLists + 32)
		// The second object is free, the last in use instead.
		m.data[partial+s.slabHead-base] &^= 2
		m.data[partial+s.slabHead-base+69/8] |= 1 << (69 % 8)
		tree := m.walk(t)
		if got := objects(t, tree, partial); len(got) != 33 || got[1] != 2 || got[32] != 69 {
			t.Errorf("%s: objects %v", s.version, got)
		}
		if got := objects(t, tree, full); len(got) != 70 || got[69] != 69 {
			t.Errorf("%s: objects of a full page: %v", s.version, got)
		}
		if got := objects(t, tree, empty); len(got) != 0 {
			t.Errorf("%s: objects of an empty page: %v", s.version, got)
		}
		p, _ := tree.Page(partial)
		if p.InUse(partial) || p.InUse(partial+p.HeadSize+70*p.Stride) || p.InUse(partial+p.HeadSize+p.Stride) || p.ObjectSize != 40 {
			t.Errorf("%s: %+v", s.version, p)
		}
		for range p.Objects() {
			break // stops
		}

		m.u32(partial+s.slabHead, 0)
		if _, err := m.reader().walk(); !errors.Is(err, ErrTorn) {
			t.Errorf("%s: a bitmap without 32 of 33 objects: %v", s.version, err)
		}
	}
}

// TestMslabObjects reads pages of a slab for threads.
func TestMslabObjects(t *testing.T) {
	const all = 1<<40 - 1
	for _, c := range []struct {
		head, local uint64
		want        []int
	}{
		{all, 0, nil},                                       // the thread has just taken it
		{all, 0b111, []int{0, 1, 2}},                        // three were handed out
		{all &^ 0b10, 0b111, []int{0, 2}},                   // one was freed
		{all &^ 0b10, all, append([]int{0}, seq(2, 40)...)}, // none is left to hand out
	} {
		m := newImage(bird.BIRD3, 32, 48, 16, longSlabHead)
		m.memory(m.pool(m.root, "some", true), "x")
		full, partial, thread := m.mslab(m.root, c.head, c.local)
		tree := m.walk(t)
		for _, p := range []struct {
			page uint64
			want []int
		}{{full, seq(0, 40)}, {partial, []int{0, 2, 39}}, {thread, c.want}} {
			if got := objects(t, tree, p.page); !slices.Equal(got, p.want) {
				t.Errorf("%b, %b: objects %v, want %v", c.head, c.local, got, p.want)
			}
		}
		m.u16(thread+16, 17)
		if _, err := m.reader().walk(); !errors.Is(err, ErrTorn) {
			t.Errorf("%b, %b: another number of objects in the head of a thread's page: %v", c.head, c.local, err)
		}
	}
}

func seq(first, end int) (all []int) {
	for i := first; i < end; i++ {
		all = append(all, i)
	}
	return all
}

// TestIslabObjects reads leaves of a slab that numbers its objects.
func TestIslabObjects(t *testing.T) {
	m := newImage(bird.BIRD3, 32, 48, 16, longSlabHead)
	m.memory(m.pool(m.root, "some", true), "x")
	m.islab(m.root, 100, 2)
	var leaf uint64
	for p := range m.walk(t).Pages() {
		if p.Capacity > 0 {
			leaf = p.Address
		} else if p.Free != 0 {
			t.Errorf("a page of pointers has %d bytes free", p.Free)
		}
	}
	m.data[leaf-base+24] = 0b11111010
	m.u16(leaf+4, 2)
	if got := objects(t, m.walk(t), leaf); !slices.Equal(got, []int{1, 3, 4, 5, 6, 7, 8, 9}) {
		t.Errorf("objects %v", got)
	}
}

// TestLinpoolLive asks for addresses in chunks before, at and behind the current
// one.
func TestLinpoolLive(t *testing.T) {
	for _, s := range shapes {
		m := newImage(s.generation, 64, s.mblock, s.chunk, s.slabHead)
		m.memory(m.pool(m.root, "some", true), "x")
		m.linpool(m.root, 1, 0) // flushed
		at := m.linpool(m.root, 3, 100, 5000, 6000)
		first := m.get(at + m.l.first)
		second := m.get(first)
		third := m.get(second)
		m.u64(at+m.l.current, second)
		m.u64(at+m.l.ptr, second+s.chunk+200)
		unused := m.linpool(m.root, 1, 0)
		m.u64(unused+m.l.current, 0)
		m.u64(unused+m.l.ptr, 0)
		large := m.get(at + m.l.firstLarge)
		tree := m.walk(t)
		for _, c := range []struct {
			address  uint64
			live, ok bool
		}{
			{first, false, true}, {first + s.chunk, true, true}, {first + pageSize - 1, true, true},
			{second + s.chunk, true, true}, {second + s.chunk + 199, true, true}, {second + s.chunk + 200, false, true},
			{third + s.chunk, false, true}, {m.get(unused+m.l.first) + s.chunk, false, true},
			{large + s.chunk, true, true}, {large, false, false}, {large + s.chunk + 1, false, false},
			{m.get(large) + s.chunk, true, true}, {8, false, false}, {m.root, false, false},
		} {
			if live, ok := tree.LinpoolLive(c.address); live != c.live || ok != c.ok {
				t.Errorf("%s: 0x%x (chunks 0x%x, 0x%x, 0x%x, large 0x%x): %v, %v, want %v, %v", s.version, c.address, first, second, third, large, live, ok, c.live, c.ok)
			}
		}
		for address, want := range map[uint64]uint64{first: 0, second: pageSize - s.chunk - 200, third: pageSize - s.chunk} {
			if p, _ := tree.Page(address); p.Free != want {
				t.Errorf("%s: chunk at 0x%x has %d bytes free, want %d", s.version, address, p.Free, want)
			}
		}
		m.u64(at+m.l.current, large)
		if _, err := m.reader().walk(); !errors.Is(err, ErrTorn) {
			t.Errorf("%s: current chunk is none of the linpool's: %v", s.version, err)
		}
	}
}

// TestFingerprint changes what a quiet snapshot depends on.
func TestFingerprint(t *testing.T) {
	m := newImage(bird.BIRD3, 64, 48, 16, longSlabHead)
	block := m.memory(m.pool(m.root, "some", true), "x") - 48
	slab := m.slab(m.root, 40, 70, 33)
	page := m.get(slab + m.l.slabLists + 16)
	linpool := m.linpool(m.root, 1, 100, 5000)
	_, _, thread := m.mslab(m.root, 1<<40-1, 0b111)
	last := m.walk(t).Fingerprint
	if again := m.walk(t).Fingerprint; again != last {
		t.Errorf("fingerprint %x, then %x", last, again)
	}
	for _, c := range []struct {
		name   string
		change func()
	}{
		{"size of a block", func() { m.u32(block+m.l.mblockSize, 9) }},
		{"which object is in use", func() { m.data[page+longSlabHead-base] ^= 1; m.data[page+longSlabHead-base+4] ^= 2 }},
		{"fill of a linpool", func() { m.u64(linpool+m.l.ptr, m.get(linpool+m.l.ptr)+8) }},
		{"address of a large chunk", func() {
			large := m.alloc(5016, 16)
			m.u64(large+8, linpool)
			m.u64(linpool+m.l.firstLarge, large)
		}},
		{"which object of a thread's page is in use", func() { m.u64(thread+20, m.get(thread+20)&^1); m.u16(thread+16, 39) }},
	} {
		c.change()
		now := m.walk(t).Fingerprint
		if now == last {
			t.Errorf("the fingerprint does not tell the %s", c.name)
		}
		last = now
	}
}

// TestDump compares the objects in use with those that BIRD itself lists in
// "dump resources". (BIRD 3.4.0 ends by that command.)
func TestDump(t *testing.T) {
	all := labtest.Binaries(t)
	for _, name := range []string{"bird3-trixie", "bird2-sid"} {
		t.Run(name, func(t *testing.T) {
			const routes = 3000
			b := start(t, lab.Config{Binary: all[name], Peers: 1})
			speakers, err := lab.NewSpeakers(b.BGPAddr(), 1, lab.Flood{Routes: routes})
			if err != nil {
				t.Fatal(err)
			}
			if err := speakers.Up(t.Context()); err != nil {
				t.Fatal(err)
			}
			labtest.WaitRoutes(t, b.control, routes)
			path := filepath.Join(b.Dir(), "resources")
			var dump, found map[uint64]dumped
			for deadline := time.Now().Add(30 * time.Second); ; {
				before, _ := b.settled(t)
				if _, err := b.control.Command(t.Context(), fmt.Sprintf("dump resources %q", strings.TrimPrefix(path, all[name].Root))); err != nil {
					t.Fatal(err)
				}
				text, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				if err := os.Remove(path); err != nil {
					t.Fatal(err)
				}
				dump = parseDump(t, string(text))
				after, _ := b.settled(t)
				if found = slabPages(before); reflect.DeepEqual(found, slabPages(after)) {
					break
				}
				if time.Now().After(deadline) {
					t.Fatal("every dump changes what is on the pages")
				}
			}
			inUse := 0
			for address, got := range found {
				if want := dump[address]; !reflect.DeepEqual(got, want) {
					t.Errorf("page 0x%x: %v, BIRD says %v", address, got, want)
				}
				inUse += len(got.used)
			}
			if len(found) != len(dump) || inUse < routes {
				t.Errorf("%d pages, BIRD has %d; %d objects for %d routes", len(found), len(dump), inUse, routes)
			}
		})
	}
}

// slabPages returns all pages with objects.
func slabPages(tree *Tree) map[uint64]dumped {
	all := make(map[uint64]dumped)
	for p := range tree.Pages() {
		if p.Capacity == 0 {
			continue
		}
		d := dumped{capacity: p.Capacity, stride: p.Stride}
		for a := range p.Objects() {
			d.used = append(d.used, int((a-p.Address-p.HeadSize)/p.Stride))
		}
		all[p.Address] = d
	}
	return all
}

// dumped is a slab's page as "dump resources" shows it.
type dumped struct {
	capacity int
	stride   uint64
	used     []int
}

// parseDump finds the pages of slabs: below a line "Slab (36 objs per 112 bytes
// in page)" one of "empty:", "partial:" or "full:", and below that the pages,
// the partial ones with their bitmaps.
func parseDump(t *testing.T, text string) map[uint64]dumped {
	t.Helper()
	all := make(map[uint64]dumped)
	var slab dumped
	state := ""
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		switch {
		case len(f) > 3 && f[1] == "Slab":
			capacity, err1 := strconv.Atoi(strings.TrimPrefix(f[2], "("))
			stride, err2 := strconv.ParseUint(f[5], 10, 64)
			if err := errors.Join(err1, err2); err != nil {
				t.Fatalf("%q: %v", line, err)
			}
			slab = dumped{capacity: capacity, stride: stride}
		case len(f) == 1 && strings.HasSuffix(f[0], ":"):
			state = f[0]
		case slab.capacity > 0 && strings.HasPrefix(line, " ") && len(f) > 0 && strings.HasPrefix(f[0], "empty="):
			slab = dumped{}
		case slab.capacity > 0 && len(f) > 0:
			address, err := strconv.ParseUint(f[0], 16, 64)
			if err != nil {
				t.Fatalf("%q: %v", line, err)
			}
			d := slab
			switch state {
			case "full:":
				d.used = seq(0, d.capacity)
			case "partial:":
				hex := strings.Trim(f[1], "()")
				for i := range d.capacity {
					word, err := strconv.ParseUint(hex[len(hex)-8*(i/32+1):][:8], 16, 32)
					if err != nil {
						t.Fatalf("%q: %v", line, err)
					}
					if word>>(i%32)&1 != 0 {
						d.used = append(d.used, i)
					}
				}
			}
			all[address] = d
		}
	}
	return all
}

// TestWalkPool walks through a tree that root's does not reach.
func TestWalkPool(t *testing.T) {
	m := newImage(bird.BIRD3, 32, 48, 16, longSlabHead)
	m.memory(m.pool(m.root, "some", true), "x")
	other := m.pool(0, "Birdloop root", false)
	m.memory(m.pool(other, "inner", false), "yz")
	m.slab(other, 40, 70, 33)
	r := m.reader()
	r.options.Timeout = time.Minute
	if _, err := r.WalkPool(other); err == nil {
		t.Error("no walk went before")
	}
	if _, err := r.walk(); err != nil {
		t.Fatal(err)
	}
	fastest := r.fastest
	tree, err := r.WalkPool(other)
	if err != nil {
		t.Fatal(err)
	}
	if n := tree.Root; n.Name != "Birdloop root" || n.Count != 3 || n.Effective != 2+33*40 || n.Child("inner") == nil || r.fastest != fastest {
		t.Errorf("%+v", n)
	}
}
