// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"errors"
	"fmt"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

const slotsClasses = int(liveSlotsClassSLOTS_CLASS_COUNT)

// slotsClass is what is particular to a class of slot tables.
var slotsClass = [slotsClasses]struct {
	name  string
	slots int
}{
	{liveMapTables8, 8},
	{liveMapTables12, 12},
	{liveMapTables28, 28},
	{liveMapTables44, 44},
	{liveMapTables108, 108},
	{liveMapTables236, 236},
	{liveMapTables508, 508},
}

// tableSteps is TABLE_STEPS of abi.h.
const tableSteps = 32

// firstTables is how much memory the first step of each class has, bytes.
const firstTables = 1 << 20

// largeTables is from when on a class grows by less at a time, bytes.
const largeTables = 16 << 20

// slotsSet is the tables of a class: see slots.h.
type slotsSet struct {
	outer *ebpf.Map
	inner *ebpf.MapSpec
	steps []*ebpf.Map
}

// tableSize is how long a table is, bytes.
func (s *slotsSet) tableSize() uint64 { return uint64(s.inner.ValueSize) }

// capacity is how many tables all steps have.
func (s *slotsSet) capacity() (n uint64) {
	for _, m := range s.steps {
		n += uint64(m.MaxEntries())
	}
	return n
}

// addStep adds a step of so many tables. The programs do not know of it yet.
func (s *slotsSet) addStep(n uint64) error {
	const most = 1 << 23 // TABLE_STEP
	if len(s.steps) >= tableSteps || n == 0 {
		return nil
	}
	spec := s.inner.Copy()
	spec.MaxEntries = uint32(min(n, most))
	m, err := ebpf.NewMap(spec)
	if err != nil {
		return fmt.Errorf("grow the slots of slabs by %d tables: %w", n, err)
	}
	if err := s.outer.Put(uint32(len(s.steps)), m); err != nil {
		m.Close()
		return fmt.Errorf("grow the slots of slabs: %w", err)
	}
	s.steps = append(s.steps, m)
	return nil
}

func (s *slotsSet) close() error {
	var errs []error
	for _, m := range s.steps {
		errs = append(errs, m.Close())
	}
	return errors.Join(errs...)
}

// growSlots makes each class larger by a half of which three quarters have been in
// use, by a quarter and at seven eighths where it is large, and by no more than the
// budget allows.
func (p *Programs) growSlots() error {
	var made [slotsClasses]uint32
	if err := p.objects.SlotsMade.Get(&made); err != nil {
		return fmt.Errorf("read use of slots: %w", err)
	}
	for i := range p.slots {
		s := &p.slots[i]
		capacity := s.capacity()
		due, more := capacity*3/4, capacity/2
		if capacity*s.tableSize() >= largeTables {
			due, more = capacity*7/8, capacity/4
		}
		if uint64(made[i]) < due {
			continue
		}
		if err := s.addStep(min(more, p.left()/s.tableSize())); err != nil {
			return err
		}
		if err := p.tellSteps(); err != nil {
			return err
		}
	}
	return nil
}

// SlotTable says who allocated the objects on a page of a slab.
type SlotTable struct {
	Page uint64 // its address
	// First is where the first object begins in the page, Size how long each is,
	// bytes.
	First, Size uint16
	Function    Function // that returned them
	// Slots are the objects that fit: see SlotStack and SlotMark. They are not
	// there any more when EachSlots's function has returned.
	Slots []uint32
}

// EachSlots calls f for the table of every page that has one. While they come and
// go, one may not be seen, or be of two pages.
func (p *Programs) EachSlots(f func(SlotTable)) error {
	var maps [slotsClasses][]*ebpf.Map
	p.growing.Lock()
	for i := range p.slots {
		maps[i] = append(maps[i], p.slots[i].steps...)
	}
	p.growing.Unlock()
	for i, steps := range maps {
		for _, m := range steps {
			if err := eachTable(m, slotsClass[i].slots, f); err != nil {
				return fmt.Errorf("read slots: %w", err)
			}
		}
	}
	return nil
}

const slotsHead = unsafe.Sizeof(liveSlotsHead{})

// eachTable calls f for the tables of a step that have a page.
func eachTable(m *ebpf.Map, slots int, f func(SlotTable)) error {
	size := int(m.ValueSize())
	memory, err := unix.Mmap(m.FD(), 0, int(m.MaxEntries())*size, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return err
	}
	for rest := memory; len(rest) >= size; rest = rest[size:] {
		head := *(*liveSlotsHead)(unsafe.Pointer(unsafe.SliceData(rest)))
		if head.Page == 0 || head.Page&(1<<63) != 0 {
			continue
		}
		n := min(int(head.Count), slots)
		f(SlotTable{head.Page, head.First, head.Size, Function(head.Function), unsafe.Slice((*uint32)(unsafe.Pointer(&rest[slotsHead])), n)})
	}
	return unix.Munmap(memory)
}
