// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

const (
	entries       = int(liveEntryPartENTRIES) // in a bucket
	liveEntrySize = 16                        // struct entry, bytes
	// firstBlocks is how many entries the first step has.
	firstBlocks = 1 << 17
)

// liveSet is the memory of the live set: see liveset.h.
type liveSet struct {
	outer *ebpf.Map
	inner *ebpf.MapSpec
	steps []liveStep
}

type liveStep struct {
	*ebpf.Map
	// buckets are mapped while blocks are taken in, else nil.
	buckets []liveBucket
}

func (s *liveStep) entries() uint64 { return uint64(s.MaxEntries()) * uint64(entries) }

// capacity is how many entries all steps have.
func (l *liveSet) capacity() (n uint64) {
	for i := range l.steps {
		n += l.steps[i].entries()
	}
	return n
}

// isDue says whether it should grow if it holds so many blocks. Until it has there
// is room in the last quarter, though in the end not in each bucket, and in
// spilled.
func (l *liveSet) isDue(blocks uint64) bool { return 4*blocks >= 3*l.capacity() }

// addStep adds a step of so many entries, or a few less. The programs do not know
// of it yet.
func (l *liveSet) addStep(n uint64) (added bool, err error) {
	if len(l.steps) >= maxSteps || n < least {
		return false, nil
	}
	spec := l.inner.Copy()
	spec.MaxEntries = uint32(min(n/uint64(entries), 1<<31))
	m, err := ebpf.NewMap(spec)
	if err != nil {
		return false, fmt.Errorf("grow the live set by %d entries: %w", n, err)
	}
	if err := l.outer.Put(uint32(len(l.steps)), m); err != nil {
		m.Close()
		return false, fmt.Errorf("grow the live set: %w", err)
	}
	l.steps = append(l.steps, liveStep{Map: m})
	return true, nil
}

func (l *liveSet) close() error {
	var errs []error
	for i := range l.steps {
		errs = append(errs, l.steps[i].unmap(), l.steps[i].Close())
	}
	return errors.Join(errs...)
}

// growLive adds a step that makes the live set two and a half times as large, or
// as large as the budget allows if that is less.
func (p *Programs) growLive() error {
	added, err := p.live.addStep(min(p.live.capacity()*3/2, p.left()/liveEntrySize))
	if err != nil || !added {
		return err
	}
	return p.tellSteps()
}

// tellSteps tells the programs of the steps there are.
func (p *Programs) tellSteps() error {
	var buckets [maxSteps]uint32
	for i := range p.live.steps {
		buckets[i] = p.live.steps[i].MaxEntries()
	}
	if err := p.objects.LiveBuckets.Set(buckets); err != nil {
		return fmt.Errorf("set steps of the live set: %w", err)
	}
	if err := p.objects.LiveSteps.Set(uint32(len(p.live.steps))); err != nil {
		return fmt.Errorf("set steps of the live set: %w", err)
	}
	var tables [slotsClasses * tableSteps]uint32
	for i := range p.slots {
		for k, m := range p.slots[i].steps {
			tables[i*tableSteps+k] = m.MaxEntries()
		}
	}
	if err := p.objects.SlotsTables.Set(tables); err != nil {
		return fmt.Errorf("set steps of slots: %w", err)
	}
	return nil
}

// mapBuckets maps a step into our memory.
func mapBuckets(m *ebpf.Map, protection int) ([]liveBucket, error) {
	n := int(m.MaxEntries())
	b, err := unix.Mmap(m.FD(), 0, n*int(unsafe.Sizeof(liveBucket{})), protection, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map the live set: %w", err)
	}
	return unsafe.Slice((*liveBucket)(unsafe.Pointer(unsafe.SliceData(b))), n), nil
}

func unmapBuckets(b []liveBucket) error {
	return unix.Munmap(unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(b))), len(b)*int(unsafe.Sizeof(liveBucket{}))))
}

func (s *liveStep) unmap() error {
	if s.buckets == nil {
		return nil
	}
	err := unmapBuckets(s.buckets)
	s.buckets = nil
	return err
}

// EachLive calls f for every block and page of the live set. While they come and
// go, one may be seen twice or not at all.
func (p *Programs) EachLive(f func(address uint64, b Block)) error {
	p.growing.Lock()
	maps := make([]*ebpf.Map, len(p.live.steps))
	for i := range p.live.steps {
		maps[i] = p.live.steps[i].Map
	}
	p.growing.Unlock()
	for _, m := range maps {
		buckets, err := mapBuckets(m, unix.PROT_READ)
		if err != nil {
			return err
		}
		for i := range buckets {
			for j := range buckets[i].Entry {
				e := &buckets[i].Entry[j]
				emit(liveEntry{Where: atomic.LoadUint64(&e.Where), What: atomic.LoadUint64(&e.What)}, f)
			}
		}
		if err := unmapBuckets(buckets); err != nil {
			return fmt.Errorf("unmap the live set: %w", err)
		}
	}
	var address uint64
	var e liveEntry
	all := p.objects.Spilled.Iterate()
	for all.Next(&address, &e) {
		emit(e, f)
	}
	// Those that come and go can make it begin anew without end.
	if err := all.Err(); err != nil && !errors.Is(err, ebpf.ErrIterationAborted) {
		return fmt.Errorf("read live blocks: %w", err)
	}
	return nil
}

// emit calls f for an entry of a block that lives.
func emit(e liveEntry, f func(address uint64, b Block)) {
	if address, b := unpack(e); address != 0 && Function(b.Function) != FunctionFreed {
		f(address, b)
	}
}

// part is a part of a word of an entry.
func part(value uint64, from liveEntryPart, n int) uint64 { return value >> from & (1<<n - 1) }

// addressOf is the address of an entry by its first word, 0 if there is none.
func addressOf(where uint64) uint64 { return part(where, liveEntryPartENTRY_ADDRESS, 44) << 3 }

func unpack(e liveEntry) (address uint64, b Block) {
	b.Size = part(e.What, liveEntryPartENTRY_SIZE, 28) | part(e.Where, liveEntryPartENTRY_SIZE_HIGH, 10)<<28
	b.Stack = uint32(part(e.What, liveEntryPartENTRY_STACK, 20))
	b.Mark = uint16(e.What >> liveEntryPartENTRY_MARK)
	b.Function = uint8(part(e.Where, liveEntryPartENTRY_FUNCTION, 5))
	if b.Function == uint8(liveEntryPartENTRY_FREED) {
		b.Function = uint8(FunctionFreed)
	}
	if mb := part(e.Where, liveEntryPartENTRY_MB, 2); mb != 0 {
		b.Mb = uint8(mb) + uint8(liveFunctionFUNCTION_MB_ALLOC) - 1
	}
	b.Slots = uint8(part(e.Where, liveEntryPartENTRY_SLOTS, 3))
	if Function(b.Function) == FunctionAllocPage {
		b.Table, b.Size = uint32(b.Size), uint64(os.Getpagesize())
	}
	return addressOf(e.Where), b
}

// pack makes an entry of a block without slots that is live; ok is false if it
// cannot be one.
func pack(address uint64, b Block) (e liveEntry, ok bool) {
	if address>>47 != 0 || address&7 != 0 || b.Size>>38 != 0 {
		return e, false
	}
	if Function(b.Function) == FunctionAllocPage {
		b.Size = 0 // of its table
	}
	var mb uint64
	if b.Mb != 0 {
		mb = uint64(b.Mb) - uint64(liveFunctionFUNCTION_MB_ALLOC) + 1
	}
	e.Where = address>>3 | uint64(b.Function)<<liveEntryPartENTRY_FUNCTION | mb<<liveEntryPartENTRY_MB | b.Size>>28<<liveEntryPartENTRY_SIZE_HIGH
	e.What = b.Size&(1<<28-1) | uint64(b.Stack)<<liveEntryPartENTRY_STACK | uint64(b.Mark)<<liveEntryPartENTRY_MARK
	return e, true
}

// bucketOf is the bucket of an address: see bucket_of in liveset.h.
func bucketOf(buckets []liveBucket, address uint64) *liveBucket {
	h := (address >> 3) * 0x9e3779b97f4a7c15
	return &buckets[h>>32*uint64(len(buckets))>>32]
}

// find finds an address in the steps, other than at an entry.
func (l *liveSet) find(address uint64, but *liveEntry) bool {
	for i := range l.steps {
		b := bucketOf(l.steps[i].buckets, address)
		for j := range b.Entry {
			if e := &b.Entry[j]; e != but && addressOf(atomic.LoadUint64(&e.Where)) == address {
				return true
			}
		}
	}
	return false
}

// claim finds an entry that is free for an address, and keeps others off; nil if
// there is none.
func (l *liveSet) claim(address uint64) *liveEntry {
	for i := len(l.steps) - 1; i >= 0; i-- {
		b := bucketOf(l.steps[i].buckets, address)
		for j := range b.Entry {
			if e := &b.Entry[j]; atomic.CompareAndSwapUint64(&e.Where, 0, 1<<liveEntryPartENTRY_FUNCTION) {
				return e
			}
		}
	}
	return nil
}
