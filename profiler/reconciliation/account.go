// SPDX-License-Identifier: Apache-2.0

// Package reconciliation compares the live set with BIRD's own books: with its
// resource tree to the byte, and with the lines of "show memory" within their
// rounding. What BIRD does not count is named.
package reconciliation

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"leakprof/collector/birdc"
	"leakprof/profiler/bird"
	"leakprof/profiler/bird/tree"
	"leakprof/profiler/live"
	"leakprof/profiler/snapshot"
	"leakprof/profiler/target"
)

// pageSize is what alloc_page hands out, bytes (x86-64).
const pageSize = 4096

// Input is what is compared.
type Input struct {
	Snapshot *snapshot.Snapshot
	// Memory are replies to "show memory" from before and after the snapshot;
	// none where there is no control socket.
	Memory []*birdc.Memory
	// Process and BIRD are read for what is not in the tree.
	Process *target.Process
	BIRD    *bird.Bird
	// Tree reads pools that are not below Root; nil leaves them unexplained.
	Tree *tree.Reader
	// Modules are the files that code lies in, the program first.
	Modules []*target.Module
}

// Account is the comparison, of one moment if Quiet.
type Account struct {
	// Quiet says that everything is of one moment; if not, Why says what was in
	// the way, and a difference may be of what happened meanwhile.
	Quiet bool   `json:"quiet"`
	Why   string `json:"why,omitempty"`
	// Lines are those of "show memory", in BIRD's order.
	Lines []Line     `json:"lines"`
	Tree  Comparison `json:"tree"`
	// Live is the live set without our control connections, which Control is.
	Live    Sum     `json:"live"`
	Control Control `json:"control"`
	// FreePages says why BIRD's lists of free pages are not known, "" if they
	// are.
	FreePages string `json:"free_pages,omitempty"`
	// MissedReturns are pages taken out of the live set because BIRD has them as
	// free.
	MissedReturns int `json:"missed_returns"`
}

// Sum is some blocks and pages.
type Sum struct {
	Objects uint64 `json:"objects"`
	Bytes   uint64 `json:"bytes"` // as asked for
}

func (s *Sum) add(bytes uint64) {
	s.Objects++
	s.Bytes += bytes
}

// Control is what the connections to BIRD's control socket cost it, ours among
// them: the pool Root/CLI and what hangs on it.
type Control struct {
	Sum
	// Effective and Overhead are what BIRD counts for it, in Total.
	Effective uint64 `json:"effective"`
	Overhead  uint64 `json:"overhead"`
}

// ErrNoTree says that the resource tree is not known.
var ErrNoTree = errors.New("no resource tree")

// New compares. It is an error if the snapshot has no tree, or if BIRD's memory
// cannot be read.
func New(in Input) (*Account, error) {
	s := in.Snapshot
	if s.Tree == nil {
		return nil, fmt.Errorf("reconcile with BIRD: %w: %s", ErrNoTree, s.Why)
	}
	a := &Account{Quiet: s.Quiet, Why: s.Why, MissedReturns: len(s.MissedReturns)}
	if s.FreePages == nil {
		a.FreePages = "not read"
		if s.FreePagesErr != nil {
			a.FreePages = s.FreePagesErr.Error()
		}
	}
	j := newJoin(s.Tree, s.Live.Blocks)
	if err := j.explain(in); err != nil {
		return nil, fmt.Errorf("reconcile with BIRD: %w", err)
	}
	a.Tree = j.comparison()
	a.Tree.Equal = a.Tree.Equal && a.Quiet
	a.Live, a.Control = j.live, j.control
	a.Lines = lines(in, j)
	return a, nil
}

// join is the live set joined to the tree, by address.
type join struct {
	tree *tree.Tree
	// pools are what the live blocks and pages of each pool, without the pools in
	// it, add up to by BIRD's rules.
	pools map[*tree.Node]size
	cli   *tree.Node

	both      Sum // in the live set and in the tree
	live      Sum // all of the live set but for control
	control   Control
	onlyLive  []live.Block
	onlyTree  []missing
	wrongSize []missing
	reasons   map[key]*Sum
}

// missing is a block or page of the tree that the live set has not, or not so.
type missing struct {
	address, bytes, live uint64
	class                string
	pool                 *tree.Node
}

type size struct{ effective, overhead uint64 }

func newJoin(t *tree.Tree, blocks []live.Block) *join {
	j := &join{tree: t, pools: make(map[*tree.Node]size), cli: t.Root.Child("CLI"), reasons: make(map[key]*Sum)}
	found := make([]bool, len(blocks))
	find := func(address uint64, page bool) (live.Block, bool) {
		i, ok := search(blocks, address)
		if !ok || blocks[i].IsPage() != page || found[i] {
			return live.Block{}, false
		}
		found[i] = true
		return blocks[i], true
	}
	for b := range t.Blocks() {
		l, ok := find(b.Address, false)
		if !ok {
			j.onlyTree = append(j.onlyTree, missing{b.Address, b.Bytes, 0, b.Class, b.Pool})
			continue
		}
		if b.Bytes != 0 && l.Size != b.Bytes {
			j.wrongSize = append(j.wrongSize, missing{b.Address, b.Bytes, l.Size, b.Class, b.Pool})
		}
		effective, overhead := t.Memsize(b, l.Size)
		j.add(b.Pool, l.Size, size{effective, overhead})
	}
	for p := range t.Pages() {
		l, ok := find(p.Address, true)
		if !ok {
			j.onlyTree = append(j.onlyTree, missing{p.Address, pageSize, 0, p.Class, p.Pool})
			continue
		}
		j.add(p.Pool, l.Size, size{p.Effective, p.Overhead})
	}
	for i, b := range blocks {
		if !found[i] {
			j.onlyLive = append(j.onlyLive, b)
		}
	}
	return j
}

// add takes what is in both into the account.
func (j *join) add(pool *tree.Node, bytes uint64, s size) {
	j.both.add(bytes)
	sum := j.pools[pool]
	j.pools[pool] = size{sum.effective + s.effective, sum.overhead + s.overhead}
	if j.isControl(pool) {
		j.control.add(bytes)
		j.control.Effective += s.effective
		j.control.Overhead += s.overhead
	} else {
		j.live.add(bytes)
	}
}

// isControl says whether a pool is of the control connections.
func (j *join) isControl(pool *tree.Node) bool {
	for ; pool != nil && j.cli != nil; pool = pool.Parent {
		if pool == j.cli {
			return true
		}
	}
	return false
}

// sum is what a pool and all pools in it add up to.
func (j *join) sum(pool *tree.Node) size {
	total := j.pools[pool]
	for _, c := range pool.Children {
		s := j.sum(c)
		total.effective += s.effective
		total.overhead += s.overhead
	}
	return total
}

// search finds the live block or page that begins at the address.
func search(blocks []live.Block, address uint64) (int, bool) {
	return slices.BinarySearchFunc(blocks, address, func(b live.Block, a uint64) int { return cmp.Compare(b.Address, a) })
}
