// SPDX-License-Identifier: Apache-2.0

package pagecache

import (
	"encoding/binary"
	"errors"
	"reflect"
	"testing"

	"leakprof/profiler/target"
)

func TestRead(t *testing.T) {
	for _, generation := range []int{2, 3} {
		_, c := filled(generation)
		p, err := c.Read()
		if err != nil {
			t.Fatal(err)
		}
		if len(p.Kept) != 20 || len(p.Cold) != 3+c.full() || len(p.Index) != 2 || p.Lost != 0 || p.Unread != 0 || p.Total != 1000 {
			t.Errorf("BIRD %d: %d kept, %d cold, %d index pages, %d lost, %d unread, %d in total",
				generation, len(p.Kept), len(p.Cold), len(p.Index), p.Lost, p.Unread, p.Total)
		}
	}
}

// TestReadNothing: before BIRD has set up its lists, it has no free pages.
func TestReadNothing(t *testing.T) {
	for _, generation := range []int{2, 3} {
		m := newImage()
		c := cacheAt(m, generation, 1)
		clear(m.pages[data][:])
		if p, err := c.Read(); err != nil || free(p) != 0 {
			t.Errorf("BIRD %d: %v, %v", generation, p, err)
		}
	}
}

// TestLostAndUnread: pages of BIRD 3 that are counted and cannot be listed.
func TestLostAndUnread(t *testing.T) {
	m, c := filled(3)
	m.put4(c.at.Kept, 8+113)
	all, _ := c.threads()
	all[1].pointer = 0
	p, err := c.Read()
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Kept) != 13 || p.Lost != 113 || p.Unread != 7 || p.KeptCount() != 20+113 {
		t.Errorf("%d listed, %d lost, %d unread, %d counted", len(p.Kept), p.Lost, p.Unread, p.KeptCount())
	}
}

// TestTorn: what cannot be at rest is not taken.
func TestTorn(t *testing.T) {
	word := func(m *image, at uint64) uint64 { return binary.LittleEndian.Uint64(m.at(at)) }
	for name, test := range map[string]struct {
		generation int
		tear       func(m *image, c *Cache)
	}{
		"one more counted":          {2, func(m *image, c *Cache) { m.put4(c.at.Global+globalCount, 21) }},
		"one less counted":          {2, func(m *image, c *Cache) { m.put4(c.at.Global+globalCount, 19) }},
		"no list":                   {2, func(m *image, c *Cache) { m.put(c.at.Global+globalKept+listNull, 8) }},
		"links back elsewhere":      {2, func(m *image, c *Cache) { m.put(pageAt(5)+8, pageAt(9)) }},
		"ends elsewhere":            {2, func(m *image, c *Cache) { m.put(c.at.Global+globalKept+listTail, pageAt(3)) }},
		"no page":                   {2, func(m *image, c *Cache) { m.put(pageAt(5), pageAt(6)+8) }},
		"in a ring":                 {2, func(m *image, c *Cache) { m.put(pageAt(19), pageAt(0)) }},
		"not mapped":                {2, func(m *image, c *Cache) { m.put(pageAt(5), pageAt(5000)) }},
		"index links back":          {2, func(m *image, c *Cache) { m.put(pageAt(21)+8, pageAt(3)) }},
		"index ends elsewhere":      {2, func(m *image, c *Cache) { m.put(c.at.Global+globalIndex+listTail, pageAt(20)) }},
		"index too full":            {2, func(m *image, c *Cache) { m.put4(pageAt(20)+16, 510) }},
		"index not full":            {2, func(m *image, c *Cache) { m.put4(pageAt(21)+16, 5); m.put4(c.at.Cold, 8) }},
		"cold is no page":           {2, func(m *image, c *Cache) { m.put(pageAt(20)+24, 12) }},
		"cold twice":                {2, func(m *image, c *Cache) { m.put(pageAt(20)+24, pageAt(31)) }},
		"cold and kept":             {2, func(m *image, c *Cache) { m.put(pageAt(20)+24, pageAt(0)) }},
		"more cold counted":         {2, func(m *image, c *Cache) { m.put4(c.at.Cold, 4) }},
		"more index counted":        {2, func(m *image, c *Cache) { m.put4(c.at.Indexes, 3) }},
		"more than there are":       {2, func(m *image, c *Cache) { m.put4(c.at.Total, 100) }},
		"corked":                    {3, func(m *image, c *Cache) { m.put(c.at.Stack, c.at.Cork) }},
		"stack longer than counted": {3, func(m *image, c *Cache) { m.put4(c.at.Kept, 7) }},
		"stack in a ring":           {3, func(m *image, c *Cache) { m.put(pageAt(0), pageAt(7)) }},
		"stack of no pages":         {3, func(m *image, c *Cache) { m.put(c.at.Stack, pageAt(7)+16) }},
		"count negative":            {3, func(m *image, c *Cache) { m.put4(c.at.Kept, 1<<32-1) }},
		"local shorter": {3, func(m *image, c *Cache) {
			m.put(pointer+uint64(c.at.LocalStack), word(m, word(m, pointer+uint64(c.at.LocalStack))))
		}},
		"local longer":             {3, func(m *image, c *Cache) { m.put4(pointer+uint64(c.at.LocalCount), 4) }},
		"local more than all have": {3, func(m *image, c *Cache) { m.put4(c.at.KeptLocally, 11) }},
		"local less than all have": {3, func(m *image, c *Cache) { m.put4(c.at.KeptLocally, 13) }},
		"thread gone":              {3, func(m *image, c *Cache) { delete(m.pages, (pointer-0xb08)&^(pageSize-1)) }},
		"local and shared":         {3, func(m *image, c *Cache) { m.put(c.at.Stack, pageAt(19)) }},
		"index is no page":         {3, func(m *image, c *Cache) { m.put(c.at.Index, pageAt(20)+8) }},
		"index in a ring":          {3, func(m *image, c *Cache) { m.put(pageAt(21), pageAt(21)) }},
		"index not mapped":         {3, func(m *image, c *Cache) { m.put(pageAt(21), pageAt(5000)) }},
	} {
		t.Run(name, func(t *testing.T) {
			m, c := filled(test.generation)
			test.tear(m, c)
			if p, err := c.read(); !errors.Is(err, errTorn) {
				t.Errorf("%+v, %v; want errTorn", p, err)
			}
		})
	}
}

// TestRings: a list that leads back into itself is not followed as far as its
// count says.
func TestRings(t *testing.T) {
	for name, ring := range map[string]func(m *image, c *Cache){
		"stack":    func(m *image, c *Cache) { m.put4(c.at.Kept, maxPages); m.put(pageAt(0), pageAt(7)) },
		"one page": func(m *image, c *Cache) { m.put4(c.at.Kept, maxPages); m.put(pageAt(7), pageAt(7)) },
		"index":    func(m *image, c *Cache) { m.put4(c.at.Indexes, maxIndexes); m.put(pageAt(21), pageAt(21)) },
	} {
		m, c := filled(3)
		ring(m, c)
		if p, err := c.read(); !errors.Is(err, errTorn) {
			t.Errorf("%s: %+v, %v; want errTorn", name, p, err)
		}
		if m.reads > 100 {
			t.Errorf("%s: %d reads of 22 pages", name, m.reads)
		}
	}
}

// changes are what BIRD may do between two reads.
var changes = map[string]func(c *Cache, m *image){
	"take":            func(c *Cache, m *image) { c.takeFirst(m) },
	"take and return": func(c *Cache, m *image) { c.takeFirst(m); c.keep(m, pageAt(5000)) },
	"take, return in another order": func(c *Cache, m *image) { // all heads stay as they are
		if c.at.Generation == 3 {
			top := binary.LittleEndian.Uint64(m.at(c.at.Stack))
			c.takeFirst(m)
			c.takeFirst(m)
			c.keep(m, pageAt(5000), top)
		}
	},
	"cool others": func(c *Cache, m *image) {
		m.put(pageAt(20)+c.indexLayout().pages, pageAt(5000))
		m.put(pageAt(21)+c.indexLayout().pages, pageAt(5001))
	},
	"use and make index": func(c *Cache, m *image) { // the first index page becomes another one
		another := pageAt(5000)
		copy(m.at(another), m.pages[pageAt(20)][:])
		if c.at.Generation == 2 {
			m.put(c.at.Global+globalIndex, another)
			m.put(binary.LittleEndian.Uint64(m.at(another))+8, another)
		} else {
			m.put(c.at.Index, another)
		}
	},
	"in a thread": func(c *Cache, m *image) {
		if c.at.Generation == 3 {
			all, _ := c.threads()
			top := all[1].pointer + uint64(c.at.LocalStack)
			page := binary.LittleEndian.Uint64(m.at(top))
			m.put(pageAt(5000), binary.LittleEndian.Uint64(m.at(page)))
			m.put(top, pageAt(5000))
			m.put(page, 0)
		}
	},
}

// TestChanges changes the lists before each of the reads in turn. What is read
// is how they were before or after, or torn.
func TestChanges(t *testing.T) {
	for name, change := range changes {
		for _, generation := range []int{2, 3} {
			m, c := filled(generation)
			before, err := c.read()
			if err != nil {
				t.Fatal(err)
			}
			reads := m.reads
			change(c, m)
			after, err := c.read()
			if err != nil {
				t.Fatal(name, err)
			}
			for when := range reads {
				m, c := filled(generation)
				m.before = func(n int) {
					if n == when {
						change(c, m)
					}
				}
				p, err := c.read()
				switch {
				case errors.Is(err, errTorn):
				case err != nil:
					t.Errorf("%s, BIRD %d, before read %d: %v", name, generation, when, err)
				case !reflect.DeepEqual(p, before) && !reflect.DeepEqual(p, after):
					t.Errorf("%s, BIRD %d, before read %d of %d: neither as before nor as after", name, generation, when, reads)
				}
			}
		}
	}
}

// takeFirst takes the first kept page, as alloc_page does, and writes in it.
func (c *Cache) takeFirst(m *image) {
	top, count := c.at.Stack, c.at.Kept
	if c.at.Generation == 2 {
		top, count = c.at.Global+globalKept, c.at.Global+globalCount
	}
	page := binary.LittleEndian.Uint64(m.at(top))
	next := binary.LittleEndian.Uint64(m.at(page))
	m.put(top, next)
	if c.at.Generation == 2 {
		m.put(next+8, top)
	}
	m.put4(count, uint64(binary.LittleEndian.Uint32(m.at(count)))-1)
	clear(m.at(page)[:16])
}

// TestBusy: a BIRD that changes its lists all the time is said to.
func TestBusy(t *testing.T) {
	m, c := filled(3)
	m.put(c.at.Stack, c.at.Cork)
	if _, err := c.Read(); !errors.Is(err, ErrBusy) {
		t.Errorf("%v, want ErrBusy", err)
	}
	m, c = filled(3)
	top := binary.LittleEndian.Uint64(m.at(c.at.Stack))
	m.put(c.at.Stack, c.at.Cork)
	m.before = func(n int) {
		if n == 3*20 { // a few attempts later
			m.put(c.at.Stack, top)
		}
	}
	if p, err := c.Read(); err != nil || len(p.Kept) != 20 {
		t.Errorf("%v, %v after the cork was drawn", p, err)
	}
}

// FuzzRead reads lists from any memory: what comes out is bounded, and no page
// is free twice.
func FuzzRead(f *testing.F) {
	for _, generation := range []int{2, 3} {
		m, c := filled(generation)
		f.Add(generation == 3, m.pages[data][:0x220], m.pages[arena][:64], m.pages[pageAt(20)][:128])
		m.put(c.at.Stack, c.at.Cork)
		f.Add(generation == 3, m.pages[data][:0x220], m.pages[pageAt(20)][:64], m.pages[pageAt(21)][:])
	}
	f.Fuzz(func(t *testing.T, third bool, variables, first, second []byte) {
		generation := 2
		if third {
			generation = 3
		}
		m, c := filled(generation)
		copy(m.pages[data][:], variables)
		copy(m.pages[arena][:], first)
		copy(m.pages[pageAt(20)][:], second)
		p, err := c.read()
		if err != nil {
			return
		}
		seen := make(map[uint64]bool)
		for _, list := range [][]uint64{p.Kept, p.Cold, p.Index} {
			for _, page := range list {
				if seen[page] || page%pageSize != 0 {
					t.Fatalf("page 0x%x in %+v", page, p)
				}
				seen[page] = true
			}
		}
	})
}

// TestCheckGlobal: a struct free_pages is told by its limits and its event.
func TestCheckGlobal(t *testing.T) {
	const hook = 0x5500_0000_1000
	exe := &target.Module{Areas: []target.Mapping{{Start: hook &^ (pageSize - 1), End: hook + pageSize, Exec: true}}}
	for name, test := range map[string]struct {
		least, most, hook uint64
		ok                bool
	}{
		"of BIRD 2":      {8, 256, hook, true},
		"no limits":      {0, 0, hook, false},
		"limits too low": {100, 256, hook, false},
		"hook elsewhere": {8, 256, data, false},
	} {
		m := newImage()
		c := cacheAt(m, 2, 0)
		m.put4(c.at.Global+globalMin, test.least|test.most<<16)
		m.put(c.at.Global+globalHook, test.hook)
		if err := c.checkGlobal(exe); (err == nil) != test.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}
