// SPDX-License-Identifier: Apache-2.0

package attribution

import (
	"errors"
	"fmt"
	"maps"
	"math/bits"
	"slices"
	"strings"

	"leakprof/bpf"
	"leakprof/profiler/bird"
	"leakprof/profiler/bird/names"
	"leakprof/profiler/bird/tree"
	"leakprof/profiler/live"
	"leakprof/profiler/plan"
	"leakprof/profiler/reachability"
	"leakprof/profiler/symbol"
	"leakprof/profiler/target"
)

// Attributor names the stacks of one process. It keeps what it has resolved,
// so that each distinct stack is resolved once per run.
type Attributor struct {
	process *target.Process
	bird    *bird.Bird // nil for a program that is no BIRD
	options Options

	modules []*module
	stacks  map[uint32]*Stack
	kinds   map[sizedKind]*Stack
}

// Options say what of the live set can be relied on.
type Options struct {
	// Objects are the resource classes of which every allocation of an object is
	// followed ("Slab", "mslab", "Islab"): pages of theirs are charged to their
	// objects, others to who took the page.
	Objects map[string]bool
	// LinpoolObjects: allocations from linpools are followed.
	LinpoolObjects bool
	// ByKind: what has no stack counts by its pool, class and size instead, for
	// nobody saw it allocated (Stack.Kind).
	ByKind bool
	// Functions are BIRD's allocator functions. In a stripped BIRD those found by
	// structure lend their names, for else the function that asked an allocator
	// for memory could not be told from the allocator.
	Functions []plan.Function
	// Debug is where the executable's separate debug file may be.
	Debug symbol.Places
	// Mark, if set, is the mark under which memory with another one is summed up.
	Mark func(uint32) uint32
}

type module struct {
	*target.Module
	symbols   *symbol.Module   // nil if its symbols could not be read
	functions []names.Function // what structure tells, by address
	mixed     string           // why it tells no files, "" if it does or was not asked
	public    Module
}

// New returns an attributor for a process; b is nil if that is no BIRD.
func New(p *target.Process, b *bird.Bird, o Options) *Attributor {
	return &Attributor{process: p, bird: b, options: o, stacks: make(map[uint32]*Stack), kinds: make(map[sizedKind]*Stack)}
}

// Attribute turns a snapshot into a heap. t is the resource tree of the same
// moment, nil if there is none: then there are no pools and no objects in pages.
// modules are those that the process has or had mapped, as the profiler knows
// them. Blocks' headers are read from the running process; after its end,
// blocks keep the class they were allocated with where a probe told it. reach
// says of the same moment what can be reached, nil if nobody looked.
func (a *Attributor) Attribute(s *live.Snapshot, t *tree.Tree, reach *reachability.Result, modules []*target.Module) (*Heap, error) {
	a.addModules(modules)
	kinds, err := a.classify(s.Blocks, t)
	if err != nil {
		return nil, err
	}
	h := &Heap{Time: s.Time, Moved: s.Moved, MovedBytes: s.MovedBytes}
	for _, m := range a.modules {
		h.Modules = append(h.Modules, m.public)
	}
	numbers := slices.Sorted(maps.Keys(s.Stacks))
	for _, n := range numbers {
		h.Stacks = append(h.Stacks, a.stack(n, s.Stacks[n]))
	}
	sums := newSums(a, s, reach)
	empty := emptyBytes(a.process, s.Blocks, func(i int) bool { return kinds[i].page == nil })
	for i, b := range s.Blocks {
		k := kinds[i]
		if isControl(k.pool) {
			h.Control.Objects++
			h.Control.Bytes += b.Size
			continue
		}
		if k.page != nil {
			a.addPage(sums, h, b, k, t)
			continue
		}
		sums.add(b.Address, b.Stack, uint32(b.Mark), k, b.Size, amount{1, b.Size, empty[i], 0})
	}
	h.Samples = sums.samples()
	if reach != nil {
		h.Reach = newReach(reach, h.Samples)
	}
	return h, nil
}

// isControl says whether a pool is of a connection to BIRD's control socket.
// leakprof keeps one open: what it looks at must not be its own doing. cli_new
// (nest/cli.c) makes a pool for each; what is in Root/CLI itself is BIRD's, and
// can leak: the socket that listens, and a copy of its configuration.
func isControl(pool string) bool { return strings.HasPrefix(pool, "Root/CLI/") }

func sizeBucket(size uint64) uint64 {
	if size <= 1 {
		return size
	}
	return 1 << bits.Len64(size-1)
}

// kindName is what a block or page is, in words.
type kindName struct{ allocator, class, pool string }

// kind is what a block or page is.
type kind struct {
	kindName
	// page is how BIRD uses a page, nil for anything else.
	page *tree.Page
}

// classify tells what each block is: by its header, and where that cannot be
// read by the mb_* function that was seen around its allocation. The resource
// tree then tells pools, and what pages are for.
func (a *Attributor) classify(blocks []live.Block, t *tree.Tree) ([]kind, error) {
	kinds := make([]kind, len(blocks))
	for i, b := range blocks {
		kinds[i].allocator = AllocatorMalloc
		switch {
		case b.IsPage():
			kinds[i].allocator = AllocatorPage
		case b.MB != bpf.FunctionNone:
			kinds[i].kindName = kindName{allocator: AllocatorMB, class: bird.MemoryClass}
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
		// Its memory is gone a moment before the process is.
		if errors.Is(err, target.ErrGone) || !a.process.Alive() {
			return kinds, nil
		}
		return nil, fmt.Errorf("classify blocks: %w", err)
	}
	for i, h := range headers {
		if blocks[i].IsPage() {
			continue // a page has no header; what lies in it is no matter here
		}
		switch h.Class {
		case "":
		case bird.MemoryClass:
			kinds[i].kindName = kindName{allocator: AllocatorMB, class: h.Class}
		default:
			kinds[i].kindName = kindName{allocator: AllocatorResource, class: h.Class}
		}
	}
	if t != nil {
		addPools(kinds, blocks, t)
	}
	return kinds, nil
}

// slabClasses are the classes of resources that hand out objects of one size.
var slabClasses = map[string]bool{"Slab": true, "mslab": true, "Islab": true}

const linpoolClass = "LinPool"

// addPools adds what the resource tree knows of the blocks and pages.
func addPools(kinds []kind, blocks []live.Block, t *tree.Tree) {
	for i, b := range blocks {
		k := &kinds[i]
		if b.IsPage() {
			page, ok := t.Page(b.Address)
			if !ok {
				continue
			}
			k.pool, k.class, k.page = page.Pool.Path(), page.Class, &page
			switch {
			case slabClasses[page.Class]:
				k.allocator = AllocatorSlab
			case page.Class == linpoolClass:
				k.allocator = AllocatorLinpool
			}
			continue
		}
		path, class, ok := t.PoolOf(b.Address)
		if !ok {
			continue
		}
		k.pool = path
		if class == linpoolClass && k.class != class {
			k.allocator, k.class = AllocatorLinpool, class
		}
	}
}

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
			executable := len(a.modules) == 0
			// Libraries keep the names that they export: those of their debug
			// files are others, such as __libc_malloc.
			if executable && s.Lacks() != nil {
				// One that cannot be used is as none: there are addresses still.
				_, _ = s.FindDebugFile(m.Path, a.options.Debug)
			}
			added.public.DebugFile = s.DebugFile()
			added.symbols = s
			if executable {
				added.useStructure(a.options.Functions)
				added.public.ToldFiles, added.public.Mixed = added.toldFiles(), added.mixed
			}
			if err := s.Lacks(); err != nil && !errors.Is(err, symbol.ErrNoDWARF) {
				added.public.Unread = err.Error()
			}
			added.public.HasSymbols, added.public.HasLines, added.public.HasInlines = s.HasSymbols(), s.HasLines(), s.HasDWARF()
		}
		a.modules = append(a.modules, added)
	}
}

// byStructure returns the functions that have no symbol.
func byStructure(functions []plan.Function) (found []symbol.Found) {
	for _, f := range functions {
		if f.FoundBy == plan.ByStructure {
			found = append(found, symbol.Found{Name: f.Name, Address: f.Address, Size: f.Size})
		}
	}
	return found
}

// Names of the stacks that are none: one frame that says why.
var noStack = map[uint32]string{
	bpf.StackBefore:  "[allocated before leakprof attached]",
	bpf.StackNotKept: "[stack not kept]",
	bpf.StackNone:    "[allocation not seen]",
}

func (a *Attributor) stackOf(number uint32, s *live.Snapshot) *Stack {
	if raw, ok := s.Stacks[number]; ok {
		return a.stack(number, raw)
	}
	name, ok := noStack[number]
	if !ok {
		number, name = bpf.StackNotKept, noStack[bpf.StackNotKept]
	}
	st := a.stacks[number]
	if st == nil {
		st = &Stack{Key: uint64(number), End: "not kept", Locations: []Location{{Module: -1, Lines: []symbol.Frame{{Function: name}}}}}
		if number == bpf.StackBefore {
			st.End = "before leakprof attached"
		}
		a.stacks[number] = st
	}
	return st
}

func (a *Attributor) stack(number uint32, raw live.Stack) *Stack {
	st := a.stacks[number]
	if st == nil {
		st = &Stack{Key: uint64(number), Complete: raw.End == bpf.StackComplete, End: raw.End.String()}
		for i, pc := range raw.PC {
			st.Locations = append(st.Locations, a.locate(pc, !raw.Exact[i]))
		}
		a.stacks[number] = st
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
			l.Lines = m.frames(l.Address, isReturn)
		} else {
			l.Lines = []symbol.Frame{{Function: fmt.Sprintf("%s+0x%x", m.Name, l.Address), Module: m.Name, Address: l.Address, Source: symbol.SourceAddress}}
		}
		return l
	}
	return Location{Module: -1, Address: pc, Lines: []symbol.Frame{{Function: fmt.Sprintf("0x%x", pc), Address: pc, Source: symbol.SourceAddress}}}
}
