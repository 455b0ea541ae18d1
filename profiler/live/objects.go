// SPDX-License-Identifier: Apache-2.0

package live

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"unsafe"

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
	maps := p.Slots()
	for i, read := range [...]func(*ebpf.Map, map[uint64]Slots) error{
		slotsOf[bpf.Slots14], slotsOf[bpf.Slots30], slotsOf[bpf.Slots46],
		slotsOf[bpf.Slots110], slotsOf[bpf.Slots238], slotsOf[bpf.Slots494],
	} {
		for _, m := range maps[i] {
			if err := read(m, all); err != nil {
				return nil, fmt.Errorf("read slots: %w", err)
			}
		}
	}
	return all, nil
}

// slotsOf reads tables of one class, all of which begin with a head of four
// 16-bit numbers (struct slots_head), their slots behind it.
func slotsOf[V any](m *ebpf.Map, into map[uint64]Slots) error {
	return each(m, func(page uint64, v *V) {
		words := unsafe.Slice((*uint32)(unsafe.Pointer(v)), unsafe.Sizeof(*v)/4)
		first, size, count, function := uint16(words[0]), uint16(words[0]>>16), words[1]&0xffff, words[1]>>16
		slots := words[2:]
		into[page] = Slots{First: first, Size: size, Function: bpf.Function(function), slot: slices.Clone(slots[:min(int(count), len(slots))])}
	})
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
