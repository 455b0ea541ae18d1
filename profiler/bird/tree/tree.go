// SPDX-License-Identifier: Apache-2.0

// Package tree reads BIRD's resource tree from the running process, with the
// sizes that "show memory" is made of: effective is what was asked for,
// overhead what the allocators add by BIRD's own rules.
//
// BIRD is not stopped unless Options.Freeze asks for it, and takes no notice.
// What it changes meanwhile is found by checking every link from both ends, by
// bounds on everything, and by walking until two walks in a row agree.
package tree

import (
	"cmp"
	"errors"
	"slices"
	"strings"
	"time"
)

// Node is a pool.
type Node struct {
	// Name is the pool's name in paths: the instance's name for the pool of a
	// protocol, whichever way BIRD names that, otherwise PoolName.
	Name string
	// PoolName is the name that BIRD gave the pool, such as "BGP" in BIRD 2 and
	// "Protocol peer1" in BIRD 3. Bytes that cannot be printed are "?".
	PoolName string
	// Protocol is the protocol that the pool is an instance of, as BIRD writes
	// it ("BGP", "BMP"), or "".
	Protocol string
	Address  uint64
	Parent   *Node // nil for the root

	// Bytes by BIRD's rules, the pool itself and all pools in it included.
	Effective, Overhead uint64
	// Count is the number of resources in the pool and the pools in it.
	Count int
	// Classes sums up the resources that are directly in the pool, by class, the
	// greatest first; pools in it are not among them.
	Classes []ClassSum
	// Children are the pools directly in the pool, in BIRD's order.
	Children []*Node

	index       uint32
	first, last int // its blocks are those from first to before last
	path        string
}

// ClassSum is what resources of one class add up to.
type ClassSum struct {
	Class               string
	Count               int
	Effective, Overhead uint64 // bytes
}

// Path returns the names of the pools from the root to the node, as in
// "Root/Protocols/bmp1".
func (n *Node) Path() string {
	if n.path == "" && n.Parent != nil {
		return n.Parent.Path() + "/" + n.Name
	}
	return cmp.Or(n.path, n.Name)
}

// Child returns the child with BIRD's name for it, or nil.
func (n *Node) Child(poolName string) *Node {
	for _, c := range n.Children {
		if c.PoolName == poolName {
			return c
		}
	}
	return nil
}

// Tree is a BIRD's resource tree at one time.
type Tree struct {
	Root *Node
	// Consistent says that the tree is one that BIRD had: two walks found the
	// same, or BIRD was stopped. Otherwise every link was right when it was
	// read, but a total may be of no single moment.
	Consistent bool
	// Frozen is for how long BIRD was stopped.
	Frozen time.Duration
	// Walks is how often the tree was walked, Torn how many of those walks met a
	// link that BIRD was changing.
	Walks, Torn int
	Reads       int           // system calls that read memory
	Duration    time.Duration // of all of it
	Layout      Layout
	// Warnings are what could not be sized by BIRD's own rules.
	Warnings []string
	// Fingerprint stands for all that was read of the tree: every resource, its
	// size, its pages, the objects in use on them and how full each linpool is.
	// Trees that differ have different ones, but for a chance of 1 in 2^64.
	Fingerprint uint64

	nodes   []*Node
	blocks  []block
	pages   []page
	shapes  []shape  // of pages; the first is of those without
	bitmaps []uint32 // of pages
	class   []string // names, by index
	// measured says, by index, which classes have a size rule of their own.
	measured []bool
	lookup   index
}

// Options say how to read.
type Options struct {
	// Freeze stops BIRD for at most this time while its memory is read; 0 reads
	// beside it. Refused where BFD runs (ErrBFD).
	Freeze time.Duration
	// Walks is how often to walk at most until two walks agree; 0 is 6.
	Walks int
	// Timeout ends the reading with an error; 0 is 10 s.
	Timeout time.Duration
}

var (
	// ErrTorn says that BIRD changed its lists faster than they could be read.
	ErrTorn = errors.New("the resource tree changes while it is read")
	// ErrBFD says that BIRD may not be stopped, because BFD's timers are too
	// short for it.
	ErrBFD = errors.New("a BFD protocol runs")
)

// finish sums up from the leaves to the root and names the nodes.
func (t *Tree) finish() {
	// Children come behind their parents.
	for _, n := range slices.Backward(t.nodes) {
		for _, c := range n.Classes {
			n.Effective += c.Effective
			n.Overhead += c.Overhead
			n.Count += c.Count
		}
		slices.SortFunc(n.Classes, func(a, b ClassSum) int {
			return cmp.Or(cmp.Compare(b.Effective+b.Overhead, a.Effective+a.Overhead), strings.Compare(a.Class, b.Class))
		})
		if p := n.Parent; p != nil {
			p.Effective += n.Effective
			p.Overhead += n.Overhead
			p.Count += n.Count + 1
		}
	}
	for _, n := range t.nodes {
		n.path = n.Name
		if n.Parent != nil {
			n.path = n.Parent.path + "/" + n.Name
		}
	}
}
