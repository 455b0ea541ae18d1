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

const (
	// maxSteps is MAX_STEPS of abi.h.
	maxSteps = 8
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

// firstSteps gives each set its first step.
func (p *Programs) firstSteps(spec *ebpf.CollectionSpec) error {
	grows := p.budget.grows()
	p.live = liveSet{outer: p.objects.Live, inner: spec.Maps[liveMapLive].InnerMap}
	if _, err := p.live.addStep(min(firstBlocks, grows/blockEntry)); err != nil {
		return err
	}
	p.budget.fixed += p.live.capacity() * liveEntrySize
	outer := [slotsClasses]*ebpf.Map{p.objects.Tables8, p.objects.Tables12, p.objects.Tables28, p.objects.Tables44, p.objects.Tables108, p.objects.Tables236, p.objects.Tables508}
	for i, c := range slotsClass {
		p.slots[i] = slotsSet{outer: outer[i], inner: spec.Maps[c.name].InnerMap}
		if err := p.slots[i].addStep(min(firstTables, grows/8) / p.slots[i].tableSize()); err != nil {
			return err
		}
		p.budget.fixed += p.slots[i].capacity() * p.slots[i].tableSize()
	}
	return p.tellSteps()
}

// left is how many bytes the sets may still grow by. Their first steps are in what is
// reserved.
func (p *Programs) left() uint64 {
	used := (p.live.capacity() - p.live.steps[0].entries()) * liveEntrySize
	for i := range p.slots {
		s := &p.slots[i]
		used += (s.capacity() - uint64(s.steps[0].MaxEntries())) * s.tableSize()
	}
	grows := p.budget.grows()
	return grows - min(used, grows)
}

// blocks is how many blocks and pages are in the live set.
func (p *Programs) blocks() (uint64, error) {
	c, err := p.counters()
	if err != nil {
		return 0, err
	}
	allocated := c[AllocatedObjects] + p.adopted[AllocatedObjects]
	// What is counted meanwhile may be in one of them only.
	return allocated - min(c[FreedObjects], allocated), nil
}

// AwaitMove waits until the programs say that Grow may be due, or until t. It says
// whether there is more to wait for: not after Close.
func (p *Programs) AwaitMove(t time.Time) bool {
	p.moved.SetDeadline(t)
	err := p.moved.ReadInto(new(ringbuf.Record))
	return err == nil || errors.Is(err, os.ErrDeadlineExceeded)
}

// StopWaiting ends AwaitMove, for good.
func (p *Programs) StopWaiting() error { return p.moved.Close() }

// Grow adds a step to each set of which three quarters are in use, as far as the
// budget allows. It is due when AwaitMove says so, and a few times a second.
func (p *Programs) Grow() error {
	p.growing.Lock()
	defer p.growing.Unlock()
	blocks, err := p.blocks()
	if err != nil {
		return err
	}
	if p.live.isDue(blocks) {
		if err := p.growLive(); err != nil {
			return err
		}
	}
	return p.growSlots()
}

// SetAccepting says whether new blocks come into the live set; otherwise they
// are counted as NotAccepted.
func (p *Programs) SetAccepting(yes bool) error {
	p.growing.Lock()
	defer p.growing.Unlock()
	p.short = !yes
	a := liveAcceptanceACCEPTING
	if p.short {
		a = liveAcceptanceACCEPTING_SHORT
	}
	if err := p.objects.Accepting.Set(uint32(a)); err != nil {
		return fmt.Errorf("set whether blocks are accepted: %w", err)
	}
	return nil
}

// LinpoolObjects is the map of what was allocated last at each address in a
// linpool: address to LinpoolObject.
func (p *Programs) LinpoolObjects() *ebpf.Map { return p.objects.LinpoolObjects }
