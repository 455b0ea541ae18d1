// SPDX-License-Identifier: Apache-2.0

package profiler

import (
	"context"
	"errors"
	"fmt"

	"leakprof/profiler/glibc"
	"leakprof/profiler/live"
	"leakprof/profiler/plan"
	"leakprof/profiler/walk"
)

// Walks says whether the live set is told by walking the process's memory, so
// that nothing in it has a stack, and of a process that has ended there is none.
func (p *Profiler) Walks() bool { return p.walker != nil }

// tryWalk says beforehand whether the process can be walked.
func (p *Profiler) tryWalk() error {
	if p.BIRD == nil {
		return fmt.Errorf("walk process %d: only a BIRD's memory can be told apart without probes", p.Process.PID)
	}
	p.walker = &walk.Walker{Process: p.Process}
	_, err := p.walker.Live()
	if errors.Is(err, glibc.ErrNotGlibc) {
		return fmt.Errorf("%w; run --mode exact or pages", err)
	}
	return err
}

// walk is the live set of now, with the stacks that probes have seen; Look has
// found the lists of free pages.
func (p *Profiler) walk() (*live.Snapshot, error) {
	if c := p.sources.freePages; c != nil { // a nil *Cache is no nil FreePages
		p.walker.FreePages = c
	}
	s, err := p.walker.Live()
	if err != nil || p.programs == nil {
		return s, err
	}
	probed, err := live.Read(p.programs)
	if err != nil {
		return nil, err
	}
	s.Stacks, s.Slots, s.Counters, s.Hits = probed.Stacks, probed.Slots, probed.Counters, probed.Hits
	s.Moved, s.MovedBytes = probed.Moved, probed.MovedBytes
	if !p.followsPages() {
		s.Slots = live.Tables{}
	}
	known := make(map[uint64]live.Block, len(probed.Blocks))
	for _, b := range probed.Blocks {
		if !b.IsPage() || p.followsPages() {
			known[b.Address] = b
		}
	}
	for i := range s.Blocks {
		b := &s.Blocks[i]
		if k, ok := known[b.Address]; ok && isSame(k, *b) {
			b.Stack, b.Mark, b.MB = k.Stack, k.Mark, k.MB
		}
	}
	return s, nil
}

// isSame says whether what is live at an address is what was last seen allocated
// there: what is of another length was allocated later, and is not followed. The
// walk may know a block's length only as malloc has rounded it up.
func isSame(seen, walked live.Block) bool {
	const rounding = 24 // request2size of glibc's malloc
	return seen.IsPage() == walked.IsPage() && seen.Size <= walked.Size && seen.Size+rounding >= walked.Size
}

// Follow places probes on what is named, of a profiler with plan.Auto that has
// none yet: what is allocated from now on has a stack. Plan is another one then,
// also if it has no site: it must not run beside what reads that.
func (p *Profiler) Follow(ctx context.Context, only plan.Only) error {
	if p.options.Plan.Mode != plan.Auto || p.programs != nil {
		return errors.New("follow what has grown: probes are in place, or not wanted")
	}
	o := p.options
	o.Plan.Only, o.FromStart = &only, false
	next, err := plan.New(p.Process, p.Modules(), o.Plan)
	if err != nil {
		return err
	}
	p.Plan = next
	if len(next.Sites) == 0 {
		return nil
	}
	load := p.load(o)
	defer load.drop()
	if err := p.probe(ctx, o, load); err != nil {
		return p.Process.Explain(err)
	}
	p.done.Go(p.followLibraries)
	return nil
}
