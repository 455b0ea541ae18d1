// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"errors"
	"fmt"

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
	maps, short, full := p.live.maps, p.short, p.full
	p.growing.Unlock()
	switch {
	case short:
		p.countAdopted(NotAccepted, NotAcceptedBytes, b.Size)
		return false, nil
	case full:
		p.countAdopted(LiveFull, LiveFullBytes, b.Size)
		return false, nil
	}
	var newest uint32
	if err := p.objects.LiveStep.Get(&newest); err != nil {
		return false, fmt.Errorf("take in a block: %w", err)
	}
	var known Block
	for i := range min(int(newest), len(maps)) {
		if err := maps[i].Lookup(address, &known); err == nil {
			return false, nil
		}
	}
	for i := int(newest); i < len(maps); i++ {
		if err := p.adoptInto(i); err != nil {
			return false, err
		}
		err := maps[i].Update(address, &b, ebpf.UpdateNoExist)
		switch {
		case err == nil:
			p.countAdopted(AllocatedObjects, AllocatedBytes, b.Size)
			return true, nil
		case errors.Is(err, ebpf.ErrKeyExist):
			return false, nil
		case !errors.Is(err, unix.E2BIG):
			return false, fmt.Errorf("take in a block: %w", err)
		}
		// The step is full: the programs, too, go on to the next.
		if i+1 < len(maps) {
			if err := p.objects.LiveStep.Set(uint32(i + 1)); err != nil {
				return false, fmt.Errorf("take in a block: %w", err)
			}
			if err := p.Grow(); err != nil {
				return false, err
			}
			p.growing.Lock()
			maps = p.live.maps
			p.growing.Unlock()
		}
	}
	p.countAdopted(LiveFull, LiveFullBytes, b.Size)
	return false, nil
}

// adoptInto tells the programs to look into a step, too: see live_used in
// liveset.h.
func (p *Programs) adoptInto(step int) error {
	bit := uint32(1) << step
	if p.adoptedInto&bit != 0 {
		return nil
	}
	p.adoptedInto |= bit
	if err := p.objects.LiveAdopted.Set(p.adoptedInto); err != nil {
		return fmt.Errorf("take in a block: %w", err)
	}
	return nil
}

// countAdopted counts a block that the programs have not.
func (p *Programs) countAdopted(objects, bytes Counter, size uint64) {
	p.growing.Lock()
	defer p.growing.Unlock()
	p.adopted[objects]++
	p.adopted[bytes] += size
}

// Adopted ends what Adopting began.
func (p *Programs) Adopted() error {
	if err := p.objects.Adopting.Set(uint32(0)); err != nil {
		return fmt.Errorf("end taking in blocks: %w", err)
	}
	return nil
}
