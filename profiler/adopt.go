// SPDX-License-Identifier: Apache-2.0

package profiler

import (
	"encoding/binary"
	"errors"
	"fmt"

	"leakprof/bpf"
	"leakprof/profiler/bird/tree"
)

// Before is what was there when the probes came.
type Before struct {
	Blocks, Pages uint64 // in the live set now, under bpf.StackBefore
	Bytes         uint64
	// Unknown says why what was there is not known, nil if it is.
	Unknown error
}

// adopt takes in what BIRD held before the probes were in place, as its
// resource tree tells. What BIRD frees meanwhile the programs remember.
func (p *Profiler) adopt() error {
	t, err := tree.Read(p.Process, p.BIRD, tree.Options{Walks: 20})
	if err == nil && !t.Consistent {
		err = errors.New("read resource tree: it never stood still")
	}
	if err != nil {
		p.Before.Unknown = err
		return nil
	}
	pages := p.follows(bpf.FunctionAllocPage)
	for b := range t.Blocks() {
		size := b.Bytes
		if size == 0 {
			size = p.usableSize(b.Address)
		}
		kept, err := p.programs.Adopt(b.Address, bpf.Block{Size: size})
		if err != nil {
			return fmt.Errorf("take in what BIRD holds: %w", err)
		}
		if kept {
			p.Before.Blocks++
			p.Before.Bytes += size
		}
	}
	for b := range t.Pages() {
		if !pages {
			break
		}
		kept, err := p.programs.Adopt(b.Address, bpf.Block{Size: p.pageSize, Function: uint8(bpf.FunctionAllocPage)})
		if err != nil {
			return fmt.Errorf("take in what BIRD holds: %w", err)
		}
		if kept {
			p.Before.Pages++
			p.Before.Bytes += p.pageSize
		}
	}
	return nil
}

// usableSize is how long a block of glibc's is at most, by its chunk's header
// (malloc/malloc.c, struct malloc_chunk): what was asked for is up to 15 bytes
// less. 0 if it cannot be read.
func (p *Profiler) usableSize(block uint64) uint64 {
	const flags, mapped, header = 7, 2, 8
	var b [8]byte
	if _, err := p.Process.ReadAt(b[:], int64(block-header)); err != nil {
		return 0
	}
	size := binary.LittleEndian.Uint64(b[:])
	overhead := uint64(header)
	if size&mapped != 0 {
		overhead *= 2
	}
	return size&^flags - min(overhead, size&^flags)
}
