// SPDX-License-Identifier: Apache-2.0

package attribution

import (
	"cmp"
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"time"

	"leakprof/bpf"
	"leakprof/profiler/bird"
	"leakprof/profiler/bird/tree"
	"leakprof/profiler/live"
	"leakprof/profiler/symbol"
	"leakprof/profiler/target"
)

// Attributor names the stacks of one process. It keeps what it has resolved,
// so that each distinct stack is resolved once per run.
type Attributor struct {
	process *target.Process
	bird    *bird.Bird // nil for a program that is no BIRD

	modules []*module
	stacks  map[uint64]*Stack

	// PoolsUnknown says why the last heap has no pools, nil if it has.
	PoolsUnknown error
}

type module struct {
	*target.Module
	symbols *symbol.Module // nil if its symbols could not be read
	public  Module
}

// New returns an attributor for a process; b is nil if that is no BIRD.
func New(p *target.Process, b *bird.Bird) *Attributor {
	return &Attributor{process: p, bird: b, stacks: make(map[uint64]*Stack)}
}

// Attribute turns a snapshot into a heap. modules are those that the process
// has or had mapped, as the profiler knows them. Blocks' headers are read
// from the running process; after its end, blocks keep the class they were
// allocated with where a probe told it.
func (a *Attributor) Attribute(s *live.Snapshot, modules []*target.Module) (*Heap, error) {
	a.addModules(modules)
	kinds, err := a.classify(s.Blocks)
	if err != nil {
		return nil, err
	}
	h := &Heap{Time: s.Time, Moved: s.Moved, MovedBytes: s.MovedBytes}
	for _, m := range a.modules {
		h.Modules = append(h.Modules, m.public)
	}
	keys := make([]uint64, 0, len(s.Stacks))
	for key := range s.Stacks {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	for _, key := range keys {
		h.Stacks = append(h.Stacks, a.stack(key, s.Stacks[key]))
	}
	empty := emptyBytes(a.process, s.Blocks)
	sums := make(map[Sample]*Sample)
	for i, b := range s.Blocks {
		k := Sample{Stack: a.stackOf(b, s), Mark: int(b.Mark), Allocator: kinds[i].allocator, Class: kinds[i].class, Pool: kinds[i].pool, SizeBucket: sizeBucket(b.Size)}
		sum := sums[k]
		if sum == nil {
			copied := k
			sum = &copied
			sums[k] = sum
		}
		sum.Objects++
		sum.Bytes += b.Size
		sum.Empty += empty[i]
	}
	for _, sum := range sums {
		h.Samples = append(h.Samples, *sum)
	}
	slices.SortFunc(h.Samples, func(x, y Sample) int {
		return cmp.Or(cmp.Compare(y.Bytes, x.Bytes), cmp.Compare(x.Stack.Key, y.Stack.Key), cmp.Compare(x.Mark, y.Mark), cmp.Compare(x.Class, y.Class), cmp.Compare(x.Pool, y.Pool), cmp.Compare(x.SizeBucket, y.SizeBucket))
	})
	return h, nil
}

func sizeBucket(size uint64) uint64 {
	if size <= 1 {
		return size
	}
	return 1 << bits.Len64(size-1)
}

type kind struct{ allocator, class, pool string }

// classify tells what each block is: by its header, and where that cannot be
// read by the mb_* function that was seen around its allocation.
func (a *Attributor) classify(blocks []live.Block) ([]kind, error) {
	kinds := make([]kind, len(blocks))
	for i, b := range blocks {
		kinds[i].allocator = AllocatorMalloc
		switch {
		case b.Function == bpf.FunctionAllocPage:
			kinds[i].allocator = AllocatorPage
		case b.MB != bpf.FunctionNone:
			kinds[i] = kind{allocator: AllocatorMB, class: bird.MemoryClass}
		}
	}
	if a.bird == nil || !a.process.Alive() {
		return kinds, nil
	}
	addresses, sizes := make([]uint64, len(blocks)), make([]uint64, len(blocks))
	for i, b := range blocks {
		addresses[i], sizes[i] = b.Address, b.Size
	}
	headers, err := a.bird.Classify(a.process, addresses, sizes)
	if err != nil {
		if !a.process.Alive() {
			return kinds, nil
		}
		return nil, fmt.Errorf("classify blocks: %w", err)
	}
	for i, h := range headers {
		if kinds[i].allocator == AllocatorPage {
			continue // a page has no header; what lies in it is no matter here
		}
		switch h.Class {
		case "":
		case bird.MemoryClass:
			kinds[i] = kind{allocator: AllocatorMB, class: h.Class}
		default:
			kinds[i] = kind{allocator: AllocatorResource, class: h.Class}
		}
	}
	a.addPools(kinds, blocks)
	return kinds, nil
}

// addPools adds what BIRD's resource tree knows of the blocks and pages. A tree
// that changed while it was read might name the wrong pool, and is left out.
func (a *Attributor) addPools(kinds []kind, blocks []live.Block) {
	t, err := tree.Read(a.process, a.bird, tree.Options{Timeout: treeTimeout})
	if err == nil && !t.Consistent {
		err = errors.New("read resource tree: it never stood still")
	}
	if a.PoolsUnknown = err; err != nil {
		return
	}
	for i, b := range blocks {
		path, class, ok := t.PoolOf(b.Address)
		if !ok {
			continue
		}
		k := &kinds[i]
		k.pool = path
		switch {
		case class == "LinPool" && k.class != class:
			k.allocator, k.class = AllocatorLinpool, class
		case class == "Slab" && k.allocator == AllocatorPage:
			k.allocator, k.class = AllocatorSlab, class
		case k.allocator == AllocatorPage:
			k.class = class
		}
	}
}

// treeTimeout bounds how long a snapshot waits for the resource tree.
const treeTimeout = 10 * time.Second

func (a *Attributor) addModules(modules []*target.Module) {
	for _, m := range modules[len(a.modules):] {
		added := &module{Module: m, public: Module{Path: m.Path, BuildID: m.BuildID()}}
		for _, area := range m.Areas {
			if !area.Exec {
				continue
			}
			if added.public.End == 0 {
				added.public.Start, added.public.Offset = area.Start, area.Offset
			}
			added.public.End = area.End
		}
		// A file whose symbols cannot be read still has addresses.
		if s, err := symbol.Open(m.Reader, m.Name); err == nil {
			added.symbols = s
			added.public.HasSymbols, added.public.HasLines, added.public.HasInlines = s.HasSymbols(), s.HasLines(), s.HasDWARF()
		}
		a.modules = append(a.modules, added)
	}
}

// noStack stands for blocks whose stack could not be kept.
const noStack = 0

func (a *Attributor) stackOf(b live.Block, s *live.Snapshot) *Stack {
	if raw, ok := s.Stacks[b.Stack]; ok {
		return a.stack(b.Stack, raw)
	}
	st := a.stacks[noStack]
	if st == nil {
		name := "[stack not kept]"
		st = &Stack{Key: noStack, End: "not kept", Locations: []Location{{Module: -1, Lines: []symbol.Frame{{Function: name}}}}}
		a.stacks[noStack] = st
	}
	return st
}

func (a *Attributor) stack(key uint64, raw live.Stack) *Stack {
	st := a.stacks[key]
	if st == nil {
		st = &Stack{Key: key, Complete: raw.End == bpf.StackComplete, End: raw.End.String()}
		for i, pc := range raw.PC {
			st.Locations = append(st.Locations, a.locate(pc, !raw.Exact[i]))
		}
		a.stacks[key] = st
	}
	st.AllocatedObjects, st.AllocatedBytes = raw.AllocatedObjects, raw.AllocatedBytes
	return st
}

func (a *Attributor) locate(pc uint64, isReturn bool) Location {
	at := pc
	if isReturn {
		at--
	}
	// Where a library was mapped in the place of another one, the later one is
	// meant: a stack is located soon after it was first seen.
	for i, m := range slices.Backward(a.modules) {
		if !m.Contains(at) {
			continue
		}
		l := Location{Module: i, Address: pc - m.Bias}
		if m.symbols != nil {
			l.Lines = m.symbols.Frames(l.Address, isReturn)
		} else {
			l.Lines = []symbol.Frame{{Function: fmt.Sprintf("%s+0x%x", m.Name, l.Address), Module: m.Name, Address: l.Address}}
		}
		return l
	}
	return Location{Module: -1, Address: pc, Lines: []symbol.Frame{{Function: fmt.Sprintf("0x%x", pc), Address: pc}}}
}
