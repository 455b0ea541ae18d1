// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"errors"
	"fmt"
	"math/bits"
	"os"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/ringbuf"
)

// What an entry of a map costs in kernel memory, in bytes: the entry itself, as
// the kernel's allocator rounds it up (kernel/bpf/hashtab.c, 56 bytes of its own
// with the key, 8 for the list of free ones), and its bucket.
const (
	bucket      = 16
	stackEntry  = 2048 + bucket + stackAccount
	objectEntry = 96 + bucket
	spillEntry  = 96 + bucket
	// stackAccount is what a stack has in an array besides.
	stackAccount = 16
	// blockEntry is what a block has in an array, of which half is in use.
	blockEntry = 2 * liveEntrySize
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
	// firstPages is how many entries the first step has.
	firstPages = 1 << 10
	// least is how many blocks and stacks there is always room for.
	least = 1 << 10
	// defaultStacks is how many stacks there is room for if memory allows.
	defaultStacks = 1 << 15
	// mostSpilled is how many blocks there is room for in spilled if memory allows.
	mostSpilled = 1 << 16
)

// budget is the kernel memory that may be used, in bytes.
type budget struct {
	most uint64
	// fixed is reserved for maps that do not grow, whatever is in them.
	fixed uint64
}

// newBudget makes room for least blocks and stacks, however little is allowed.
func newBudget(most uint64) budget {
	return budget{most: max(most, least*(blockEntry+stackEntry))}
}

// reserve takes the memory of a map that does not grow: as many entries as a
// quarter of the budget holds, at most that many and at least the least.
func (b *budget) reserve(most, entry uint64) uint32 {
	n := max(floorPower(min(most, b.most/4/entry)), least)
	b.fixed += n * entry
	return uint32(n)
}

func (b *budget) stacks(want uint32) uint32 {
	if want != 0 {
		return want
	}
	return b.reserve(defaultStacks, stackEntry)
}

func (b *budget) spilled() uint32 {
	return b.reserve(min(mostSpilled, b.most/64/spillEntry), spillEntry)
}

func (b *budget) linpoolObjects() uint32 { return b.reserve(1<<24, objectEntry) }

// grows is what is left for the sets that grow.
func (b *budget) grows() uint64 { return max(b.most-min(b.fixed, b.most), least*blockEntry) }

// floorPower is the greatest power of two that is no greater than n; 0 for 0.
func floorPower(n uint64) uint64 {
	if n == 0 {
		return 0
	}
	return 1 << (bits.Len64(n) - 1)
}

// stepped is a set of hash maps that grows in steps: see slots.h.
type stepped struct {
	name  string
	outer *ebpf.Map
	inner *ebpf.MapSpec
	entry uint64 // bytes
	next  uint64 // entries of the next step
	maps  []*ebpf.Map
}

// capacity is how many entries all steps hold.
func (s *stepped) capacity() (n uint64) {
	for _, m := range s.maps {
		n += uint64(m.MaxEntries())
	}
	return n
}

// addStep adds a step: no more entries in all than the budget would hold of
// nothing else, and none if the buckets alone would be too many. The programs
// do not know of it yet.
func (s *stepped) addStep(grows, used uint64) (added bool, err error) {
	if len(s.maps) >= maxSteps {
		return false, nil
	}
	const worthwhile = 256
	could := grows / s.entry
	n := floorPower(min(s.next, could-min(s.capacity(), could)))
	if n < worthwhile || len(s.maps) > 0 && used+n*bucket > grows {
		return false, nil
	}
	spec := s.inner.Copy()
	spec.MaxEntries = uint32(n)
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
	p.live = liveSet{outer: p.objects.Live, inner: spec.Maps[liveMapLive].InnerMap}
	if _, err := p.live.addStep(min(firstBlocks, p.budget.grows()/blockEntry)); err != nil {
		return err
	}
	if err := p.tellSteps(); err != nil {
		return err
	}
	outer := [slotsClasses]*ebpf.Map{p.objects.Tables14, p.objects.Tables30, p.objects.Tables46, p.objects.Tables110, p.objects.Tables238, p.objects.Tables494}
	for i, c := range slotsClass {
		p.slots[i] = &stepped{name: "the slots of slabs", outer: outer[i], inner: spec.Maps[c.name].InnerMap, entry: c.entry, next: firstPages}
		p.sets = append(p.sets, p.slots[i])
	}
	for _, s := range p.sets {
		if _, err := s.addStep(p.budget.grows(), 0); err != nil {
			return err
		}
	}
	// One step is always there before it is needed.
	return p.Grow()
}

// used is what the sets that grow take now, in bytes: the entries there are, and
// the buckets of the steps that were added to the first, small ones.
func (p *Programs) used() (uint64, error) {
	c, err := p.counters()
	if err != nil {
		return 0, err
	}
	var tables [slotsClasses]uint32
	if err := p.objects.SlotsUsed.Get(&tables); err != nil {
		return 0, fmt.Errorf("read use of slots: %w", err)
	}
	allocated := c[AllocatedObjects] + p.adopted[AllocatedObjects]
	// What is counted meanwhile may be in one of them only.
	p.blocks = allocated - min(c[FreedObjects], allocated)
	used := (p.live.capacity() - p.live.steps[0].entries()) * liveEntrySize
	for i, n := range tables {
		used += uint64(n) * (slotsClass[i].entry - bucket)
	}
	for _, s := range p.sets {
		if len(s.maps) > 0 {
			used += (s.capacity() - uint64(s.maps[0].MaxEntries())) * bucket
		}
	}
	return used, nil
}

// AwaitMove waits until a step has come into use, so that Grow is due, or until t. It says
// whether there is more to wait for: not after Close.
func (p *Programs) AwaitMove(t time.Time) bool {
	p.moved.SetDeadline(t)
	err := p.moved.ReadInto(new(ringbuf.Record))
	return err == nil || errors.Is(err, os.ErrDeadlineExceeded)
}

// StopWaiting ends AwaitMove, for good.
func (p *Programs) StopWaiting() error { return p.moved.Close() }

// NearlyFull says whether half of the budget is used: Grow should be called more often then.
func (p *Programs) NearlyFull() bool {
	p.growing.Lock()
	defer p.growing.Unlock()
	return p.nearly
}

// Grow adds a step to each set whose newest step is in use, and stops the sets
// when what is used has come to the budget. It is due when AwaitMove says so, and a few
// times a second for the budget.
func (p *Programs) Grow() error {
	p.growing.Lock()
	defer p.growing.Unlock()
	used, err := p.used()
	if err != nil {
		return err
	}
	grows := p.budget.grows()
	if p.live.isDue(p.blocks) {
		if err := p.growLive(grows - min(used, grows)); err != nil {
			return err
		}
	}
	var newest, steps [slotsClasses]uint32
	if err := p.objects.SlotsStep.Get(&newest); err != nil {
		return fmt.Errorf("read steps of slots: %w", err)
	}
	for i, s := range p.slots {
		if int(newest[i])+1 >= len(s.maps) {
			if _, err := s.addStep(grows, used); err != nil {
				return err
			}
		}
		steps[i] = uint32(len(s.maps))
	}
	if err := p.objects.SlotsSteps.Set(steps); err != nil {
		return fmt.Errorf("set steps of slots: %w", err)
	}
	// Once full, a little has to be free before it goes on.
	const little = 64
	if p.full {
		grows -= grows / little
	}
	p.full = used > grows
	p.nearly = used > grows/2
	return p.setAcceptance()
}

// SetAccepting says whether new blocks come into the live set; otherwise they
// are counted as NotAccepted.
func (p *Programs) SetAccepting(yes bool) error {
	p.growing.Lock()
	defer p.growing.Unlock()
	p.short = !yes
	return p.setAcceptance()
}

func (p *Programs) setAcceptance() error {
	a := liveAcceptanceACCEPTING
	switch {
	case p.short:
		a = liveAcceptanceACCEPTING_SHORT
	case p.full:
		a = liveAcceptanceACCEPTING_FULL
	}
	if err := p.objects.Accepting.Set(uint32(a)); err != nil {
		return fmt.Errorf("set whether blocks are accepted: %w", err)
	}
	return nil
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
