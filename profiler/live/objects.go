// SPDX-License-Identifier: Apache-2.0

package live

import (
	"cmp"
	"errors"
	"fmt"
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

func readSlots(p *bpf.Programs) (map[uint64]Slots, error) {
	all := make(map[uint64]Slots)
	err := p.EachSlots(func(t bpf.SlotTable) {
		all[t.Page] = Slots{First: t.First, Size: t.Size, Function: t.Function, slot: slices.Clone(t.Slots)}
	})
	return all, err
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
