// SPDX-License-Identifier: Apache-2.0

package profiler

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"leakprof/bpf"
	"leakprof/profiler/bird/tree"
)

// Before is what was there when the probes came.
type Before struct {
	Blocks, Pages uint64 // in the live set now, under bpf.StackBefore
	Bytes         uint64
	// Unknown says why there may be more that is not known, nil if there is not.
	// The first quiet Look makes up for it.
	Unknown error
}

const (
	// adoptWalks and adoptTime bound how often and for how long attaching reads
	// the tree of a BIRD that does not rest.
	adoptWalks = 20
	adoptTime  = 5 * time.Second
)

var errNeverStill = errors.New("read resource tree: it never stood still")

// adopt takes in what BIRD held before the probes were in place, as its
// resource tree tells. What BIRD frees meanwhile the programs remember. Of a
// BIRD that does not rest it takes what two walks have both found: a block that
// was in both, and was not freed, has been there all the time. The programs then
// go on remembering, until a quiet look has the rest.
func (p *Profiler) adopt(ctx context.Context, walks int) error {
	reader, err := tree.NewReader(p.Process, p.BIRD, tree.Options{})
	if err != nil {
		p.Before.Unknown = err
		return p.programs.Adopted()
	}
	var last, before *tree.Tree
	p.Before.Unknown = errNeverStill
	start := time.Now()
	for range cmp.Or(walks, adoptWalks) {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("take in what BIRD holds: %w", context.Cause(ctx))
		}
		t, err := reader.Walk()
		switch {
		case errors.Is(err, tree.ErrTorn):
		case err != nil:
			p.Before.Unknown = err
			return p.programs.Adopted()
		case last != nil && t.Fingerprint == last.Fingerprint:
			return p.adoptAll(t)
		default:
			before, last = last, t
		}
		if time.Since(start) > adoptTime {
			break
		}
	}
	if before == nil {
		return nil
	}
	return p.adoptBoth(before, last)
}

// adoptBoth takes in what is in both of two trees.
func (p *Profiler) adoptBoth(before, last *tree.Tree) error {
	blocks, pages := make(map[uint64]bool), make(map[uint64]bool)
	for b := range before.Blocks() {
		blocks[b.Address] = true
	}
	for b := range before.Pages() {
		pages[b.Address] = true
	}
	return p.takeIn(last, func(b uint64) bool { return blocks[b] }, func(b uint64) bool { return pages[b] })
}

// adoptAll takes in what is in a tree that stood still, which ends it.
func (p *Profiler) adoptAll(t *tree.Tree) error {
	all := func(uint64) bool { return true }
	if err := p.takeIn(t, all, all); err != nil {
		return err
	}
	p.Before.Unknown = nil
	return p.programs.Adopted()
}

// takeIn takes in those blocks and pages of a tree for which block and page say
// so, by their addresses.
func (p *Profiler) takeIn(t *tree.Tree, block, page func(uint64) bool) error {
	for b := range t.Blocks() {
		if p.Walks() || !block(b.Address) {
			continue // the walk has them
		}
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
	if !p.follows(bpf.FunctionAllocPage) {
		return nil
	}
	for b := range t.Pages() {
		if !page(b.Address) {
			continue
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
