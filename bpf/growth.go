// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"fmt"
	"math/bits"

	"github.com/cilium/ebpf"
)

// What an entry of a map costs in kernel memory, in bytes: the entry itself, as
// the kernel's allocator rounds it up (kernel/bpf/hashtab.c, 56 bytes of its own
// with the key, 8 for the list of free ones), and its bucket.
const (
	bucket      = 16
	blockEntry  = 96 + bucket
	stackEntry  = 2048 + bucket
	objectEntry = 96 + bucket
)

const slotsClasses = int(liveSlotsClassSLOTS_CLASS_COUNT)

// slotsClass is what is particular to a class of slot tables.
var slotsClass = [slotsClasses]struct {
	name  string
	slots int
	entry uint64 // bytes
}{
	{liveMapTables14, 14, 128 + bucket},
	{liveMapTables30, 30, 192 + bucket},
	{liveMapTables46, 46, 256 + bucket},
	{liveMapTables110, 110, 512 + bucket},
	{liveMapTables238, 238, 1024 + bucket},
	{liveMapTables494, 494, 2048 + bucket},
}

const (
	// maxSteps is MAX_STEPS of abi.h.
	maxSteps = 8
	// growth is how much larger each step is than the one before.
	growth = 4
	// firstBlocks and firstPages are how many entries the first step has.
	firstBlocks = 1 << 16
	firstPages  = 1 << 10
	// least is how many blocks and stacks there is always room for.
	least = 1 << 10
	// defaultStacks is how many stacks there is room for if memory allows.
	defaultStacks = 1 << 15
)

// budget is the kernel memory that may still be used, in bytes.
type budget uint64

// take returns how many entries a map may have: a power of two, as the kernel
// rounds up its buckets to one; at most that many, and no less than atLeast.
func (b *budget) take(want, entry, atLeast uint64) uint32 {
	n := min(want, uint64(*b)/entry)
	if n > 0 {
		n = 1 << (bits.Len64(n) - 1)
	}
	n = max(n, atLeast)
	*b -= budget(min(n*entry, uint64(*b)))
	return uint32(n)
}

func (b *budget) stacks(want uint32) uint32 {
	if want != 0 {
		return want
	}
	quarter := *b / 4
	n := quarter.take(defaultStacks, stackEntry, least)
	*b -= min(budget(n)*stackEntry, *b)
	return n
}

func (b *budget) linpoolObjects() uint32 {
	const most = 1 << 24
	quarter := *b / 4
	n := quarter.take(most, objectEntry, least)
	*b -= min(budget(n)*objectEntry, *b)
	return n
}

// stepped is a set that grows in steps: see live in liveset.h.
type stepped struct {
	name  string
	outer *ebpf.Map
	inner *ebpf.MapSpec
	entry uint64 // bytes
	next  uint64 // entries of the next step
	maps  []*ebpf.Map
}

// addStep adds a step if the budget has room for more than a little. The
// programs do not know of it yet.
func (s *stepped) addStep(b *budget, atLeast uint64) (added bool, err error) {
	if len(s.maps) >= maxSteps {
		return false, nil
	}
	const worthwhile = 256
	spec := s.inner.Copy()
	if spec.MaxEntries = b.take(s.next, s.entry, atLeast); spec.MaxEntries < worthwhile {
		*b += budget(uint64(spec.MaxEntries) * s.entry)
		return false, nil
	}
	m, err := ebpf.NewMap(spec)
	if err != nil {
		return false, fmt.Errorf("grow %s to %d more entries: %w", s.name, spec.MaxEntries, err)
	}
	if err := s.outer.Put(uint32(len(s.maps)), m); err != nil {
		m.Close()
		return false, fmt.Errorf("grow %s: %w", s.name, err)
	}
	s.maps = append(s.maps, m)
	s.next *= growth
	return true, nil
}

func (s *stepped) close() error {
	var first error
	for _, m := range s.maps {
		if err := m.Close(); first == nil {
			first = err
		}
	}
	return first
}

// firstSteps gives each set its first step.
func (p *Programs) firstSteps(spec *ebpf.CollectionSpec) error {
	p.live = &stepped{name: "the live set", outer: p.objects.Live, inner: spec.Maps[liveMapLive].InnerMap, entry: blockEntry, next: firstBlocks}
	p.sets = append(p.sets, p.live)
	if _, err := p.live.addStep(&p.left, least); err != nil {
		return err
	}
	outer := [slotsClasses]*ebpf.Map{p.objects.Tables14, p.objects.Tables30, p.objects.Tables46, p.objects.Tables110, p.objects.Tables238, p.objects.Tables494}
	for i, c := range slotsClass {
		s := &stepped{name: "the slots of slabs", outer: outer[i], inner: spec.Maps[c.name].InnerMap, entry: c.entry, next: firstPages}
		p.slots[i] = s
		p.sets = append(p.sets, s)
		if _, err := s.addStep(&p.left, 0); err != nil {
			return err
		}
	}
	// One step is always there before it is needed.
	return p.Grow()
}

// Grow adds a step to each set whose newest step is in use, as far as the
// budget goes. It is to be called many times a second: a step fills no faster.
func (p *Programs) Grow() error {
	p.growing.Lock()
	defer p.growing.Unlock()
	var current uint32
	if err := p.objects.LiveStep.Get(&current); err != nil {
		return fmt.Errorf("read step of the live set: %w", err)
	}
	if int(current)+1 >= len(p.live.maps) {
		if _, err := p.live.addStep(&p.left, 0); err != nil {
			return err
		}
	}
	if err := p.objects.LiveSteps.Set(uint32(len(p.live.maps))); err != nil {
		return fmt.Errorf("set steps of the live set: %w", err)
	}
	var used, steps [slotsClasses]uint32
	if err := p.objects.SlotsStep.Get(&used); err != nil {
		return fmt.Errorf("read steps of slots: %w", err)
	}
	for i, s := range p.slots {
		if int(used[i])+1 >= len(s.maps) {
			if _, err := s.addStep(&p.left, 0); err != nil {
				return err
			}
		}
		steps[i] = uint32(len(s.maps))
	}
	if err := p.objects.SlotsSteps.Set(steps); err != nil {
		return fmt.Errorf("set steps of slots: %w", err)
	}
	return nil
}

// SetAccepting says whether new blocks come into the live set; otherwise they
// are counted as NotAccepted.
func (p *Programs) SetAccepting(yes bool) error {
	var not uint32
	if !yes {
		not = 1
	}
	if err := p.objects.NotAccepting.Set(not); err != nil {
		return fmt.Errorf("set whether blocks are accepted: %w", err)
	}
	return nil
}

// Live are the maps of live blocks and pages: address to Block. An entry is in
// one of them.
func (p *Programs) Live() []*ebpf.Map {
	p.growing.Lock()
	defer p.growing.Unlock()
	return append([]*ebpf.Map(nil), p.live.maps...)
}

// Types of the slot tables, by how many slots they have.
type (
	Slots14  = liveSlots14
	Slots30  = liveSlots30
	Slots46  = liveSlots46
	Slots110 = liveSlots110
	Slots238 = liveSlots238
	Slots494 = liveSlots494
)

// Slots are the maps of slot tables, by class: page address to Slots14 and so
// on to Slots494.
func (p *Programs) Slots() [slotsClasses][]*ebpf.Map {
	p.growing.Lock()
	defer p.growing.Unlock()
	var all [slotsClasses][]*ebpf.Map
	for i, s := range p.slots {
		all[i] = append([]*ebpf.Map(nil), s.maps...)
	}
	return all
}

// LinpoolObjects is the map of what was allocated last at each address in a
// linpool: address to LinpoolObject.
func (p *Programs) LinpoolObjects() *ebpf.Map { return p.objects.LinpoolObjects }
