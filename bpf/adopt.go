// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// Adopting takes in the blocks that were there before the probes. It begins
// with the probes in place and before anybody has looked what there is: what
// is freed from now on is not taken in after it was freed.
func (p *Programs) Adopting() error {
	if err := p.objects.Adopting.Set(uint32(1)); err != nil {
		return fmt.Errorf("begin taking in blocks: %w", err)
	}
	return nil
}

// Adopt takes in a block or page, under StackBefore; kept is false if there is
// no room, or it has been freed or is known by now.
func (p *Programs) Adopt(address uint64, b Block) (kept bool, err error) {
	b.Stack = StackBefore
	p.growing.Lock()
	defer p.growing.Unlock()
	if p.short {
		p.countAdopted(NotAccepted, NotAcceptedBytes, b.Size)
		return false, nil
	}
	if err := p.live.mapAll(); err != nil {
		return false, err
	}
	if known, err := p.isKnown(address); known || err != nil {
		return false, err
	}
	at, entry, err := p.makeRoom(address, b)
	if err != nil {
		return false, err
	}
	if at == nil {
		p.countAdopted(LiveFull, LiveFullBytes, b.Size)
		return false, nil
	}
	at.What = entry.What
	atomic.StoreUint64(&at.Where, entry.Where)
	// A free since we looked has left a mark beside it. It has looked for the
	// block after that, as we do for the mark, and one takes the block out.
	freed, err := p.marked(address, at)
	if err != nil {
		return false, err
	}
	if freed && atomic.CompareAndSwapUint64(&at.Where, entry.Where, 0) {
		return false, nil
	}
	p.countAdopted(AllocatedObjects, AllocatedBytes, b.Size)
	return true, nil
}

// isKnown says whether anything is in the set at an address.
func (p *Programs) isKnown(address uint64) (bool, error) { return p.marked(address, nil) }

// marked says whether anything is in the set at an address, other than at an entry.
func (p *Programs) marked(address uint64, but *liveEntry) (bool, error) {
	if p.live.find(address, but) {
		return true, nil
	}
	var spilled uint32
	if err := p.objects.LiveSpilled.Get(&spilled); err != nil {
		return false, fmt.Errorf("take in a block: %w", err)
	}
	if spilled == 0 {
		return false, nil
	}
	switch err := p.objects.Spilled.Lookup(address, new(liveEntry)); {
	case err == nil:
		return true, nil
	case errors.Is(err, ebpf.ErrKeyNotExist):
		return false, nil
	default:
		return false, fmt.Errorf("take in a block: %w", err)
	}
}

// makeRoom claims an entry for a block, and says what is to be written there. If
// there is no room the live set grows, though it may not be due: what user space
// takes in is not spilled. The entry is nil if it cannot.
func (p *Programs) makeRoom(address uint64, b Block) (at *liveEntry, e liveEntry, err error) {
	e, ok := pack(address, b)
	if !ok {
		return nil, e, nil
	}
	if at = p.live.claim(address); at != nil {
		return at, e, nil
	}
	if err := p.growLive(); err != nil {
		return nil, e, err
	}
	if err := p.live.mapAll(); err != nil {
		return nil, e, err
	}
	return p.live.claim(address), e, nil
}

// mapAll maps the steps that are not mapped yet.
func (l *liveSet) mapAll() error {
	for i := range l.steps {
		if l.steps[i].buckets != nil {
			continue
		}
		var err error
		if l.steps[i].buckets, err = mapBuckets(l.steps[i].Map, unix.PROT_READ|unix.PROT_WRITE); err != nil {
			return err
		}
	}
	return nil
}

// countAdopted counts a block that the programs have not. p.growing is held.
func (p *Programs) countAdopted(objects, bytes Counter, size uint64) {
	p.adopted[objects]++
	p.adopted[bytes] += size
}

// Adopted ends what Adopting began.
func (p *Programs) Adopted() error {
	if err := p.objects.Adopting.Set(uint32(0)); err != nil {
		return fmt.Errorf("end taking in blocks: %w", err)
	}
	p.growing.Lock()
	defer p.growing.Unlock()
	for i := range p.live.steps {
		if err := p.live.steps[i].unmap(); err != nil {
			return fmt.Errorf("end taking in blocks: %w", err)
		}
	}
	return nil
}
