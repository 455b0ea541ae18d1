// SPDX-License-Identifier: Apache-2.0

package live

import (
	"cmp"
	"errors"
	"fmt"
	"iter"
	"slices"

	"github.com/cilium/ebpf"

	"leakprof/bpf"
)

// Slots says who allocated the objects on a page of a slab. It does not say
// which of them are live.
type Slots struct {
	// First is where the first object begins in the page, Size how long each is,
	// bytes.
	First, Size uint16
	Function    bpf.Function // that returned them
	slot        []uint32
}

// At returns the stack of the last allocation of the object at an offset in the
// page, and the mark of that time; the stack is bpf.StackNone if none was seen.
func (s Slots) At(offset uint64) (stack, mark uint32) {
	if s.Size == 0 || offset < uint64(s.First) {
		return bpf.StackNone, 0
	}
	i := (offset - uint64(s.First)) / uint64(s.Size)
	if i >= uint64(len(s.slot)) {
		return bpf.StackNone, 0
	}
	return bpf.SlotStack(s.slot[i]), bpf.SlotMark(s.slot[i])
}

// LinpoolObject is what was allocated last at an address in a linpool; whether
// it is live the linpool's own state tells.
type LinpoolObject struct {
	Address uint64
	Time    uint64 // ns of the monotonic clock: which of two was allocated later
	Size    uint32 // as asked for, bytes
	Stack   uint32
	Mark    uint32
}

// Tables are the slots of pages: at ten million objects there are too many for a
// map of them.
type Tables struct {
	tables []table  // sorted by page
	slots  []uint32 // of all of them
	shapes []shape  // each once
	last   int      // of shapes, which was that of the table before
}

// table is short: where pages have few objects each, it counts as those do.
type table struct {
	page  uint64
	slots uint32 // which of Tables.slots are its, from this on
	shape uint32 // which of Tables.shapes
}

// shape is what the pages of a slab have in common.
type shape struct {
	first, size, count uint16
	function           bpf.Function
}

// Of returns the slots of a page; without any, of size 0, if no object was allocated
// on it.
func (t *Tables) Of(page uint64) Slots {
	i, ok := slices.BinarySearchFunc(t.tables, page, func(a table, page uint64) int { return cmp.Compare(a.page, page) })
	if !ok {
		return Slots{}
	}
	of := &t.tables[i]
	s := t.shapes[of.shape]
	return Slots{First: s.first, Size: s.size, Function: s.function, slot: t.slots[of.slots:][:s.count]}
}

// Pages are those that have slots, in their order.
func (t *Tables) Pages() iter.Seq[uint64] {
	return func(yield func(uint64) bool) {
		for i := range t.tables {
			if !yield(t.tables[i].page) {
				return
			}
		}
	}
}

func (t *Tables) add(of bpf.SlotTable) {
	s := shape{of.First, of.Size, uint16(len(of.Slots)), of.Function}
	// Most are as the one before, and there are few shapes.
	if t.last >= len(t.shapes) || t.shapes[t.last] != s {
		if t.last = slices.Index(t.shapes, s); t.last < 0 {
			t.last = len(t.shapes)
			t.shapes = append(t.shapes, s)
		}
	}
	t.tables = append(t.tables, table{of.Page, uint32(len(t.slots)), uint32(t.last)})
	t.slots = append(t.slots, of.Slots...)
}

// sort sorts the tables. One page may have been read twice, with the same slots.
func (t *Tables) sort() {
	slices.SortFunc(t.tables, func(a, b table) int { return cmp.Compare(a.page, b.page) })
	t.tables = slices.CompactFunc(t.tables, func(a, b table) bool { return a.page == b.page })
}

func readSlots(p *bpf.Programs) (t Tables, err error) {
	// Counted first: to append to them would copy them, and take twice the memory.
	pages, slots := 0, 0
	if err := p.EachSlots(func(of bpf.SlotTable) { pages, slots = pages+1, slots+len(of.Slots) }); err != nil {
		return t, err
	}
	t.tables, t.slots = make([]table, 0, pages), make([]uint32, 0, slots)
	if err := p.EachSlots(t.add); err != nil {
		return t, err
	}
	t.sort()
	return t, nil
}

func readLinpoolObjects(m *ebpf.Map) ([]LinpoolObject, error) {
	if m.MaxEntries() <= 1 {
		return nil, nil // not followed
	}
	var all []LinpoolObject
	err := each(m, func(address uint64, o *bpf.LinpoolObject) {
		all = append(all, LinpoolObject{address, o.Time, o.Size, o.Stack, o.Mark})
	})
	if err != nil {
		return nil, fmt.Errorf("read linpool objects: %w", err)
	}
	slices.SortFunc(all, func(a, b LinpoolObject) int { return cmp.Compare(a.Address, b.Address) })
	return slices.CompactFunc(all, func(a, b LinpoolObject) bool { return a.Address == b.Address }), nil
}

// ForgetLinpoolObjects drops records of objects, unless something has been
// allocated at their address since they were read.
func ForgetLinpoolObjects(p *bpf.Programs, gone []LinpoolObject) error {
	m := p.LinpoolObjects()
	for _, o := range gone {
		var now bpf.LinpoolObject
		switch err := m.Lookup(o.Address, &now); {
		case errors.Is(err, ebpf.ErrKeyNotExist) || err == nil && now.Time != o.Time:
			continue
		case err != nil:
			return fmt.Errorf("forget linpool objects: %w", err)
		}
		if err := m.Delete(o.Address); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return fmt.Errorf("forget linpool objects: %w", err)
		}
	}
	return nil
}
