// SPDX-License-Identifier: Apache-2.0

package tree

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"leakprof/profiler/bird"
)

const (
	// maxResources and maxPages bound a walk: far more than a BIRD with every
	// route of the Internet from a hundred peers.
	maxResources = 1 << 26
	maxPages     = 1 << 26
	// maxPools bounds the pools, of which BIRD has a few per protocol.
	maxPools = 1 << 20
	// maxName bounds a pool's name, bytes. BIRD's own names of instances have at
	// most 63.
	maxName = 255
	// maxShapes bounds the sizes of objects; BIRD has some dozens.
	maxShapes = 1 << 15
)

// size is what a resource counts, bytes (struct resmem).
type size struct{ effective, overhead uint64 }

// class is a resource class and how its resources are sized.
type class struct {
	bird.Class
	index uint16
	pool  bool
	// measure returns a resource's size; nil for one that only has the class's.
	measure func(w *walker, c *class, addr uint64) (size, error)
}

// measures are the size rules of the classes that have one (memsize).
var measures = map[string]func(w *walker, c *class, addr uint64) (size, error){
	linPoolClass:      (*walker).linpool,
	"Slab":            (*walker).slab,
	"mslab":           (*walker).mslab,
	"Islab":           (*walker).islab,
	bmpBuffersClass:   (*walker).bmpBuffers,
	cliBuffersClass:   (*walker).cliBuffers,
	routingTableClass: (*walker).routingTable,
}

// errShape says that a class's resources are not of the shape that is known.
var errShape = errors.New("unknown shape")

// walker is one walk through the tree.
type walker struct {
	*memory
	variable func(addr uint64) bool // whether it is in the program's data
	t        *Tree
	l        Layout
	classes  map[uint64]*class
	list     []*class        // by index
	seen     map[uint64]bool // pools, by address
	sum      uint64          // fingerprint of all that was found
	count    int
	at       *Node // pool that is being walked
	// sums are those of the pool that is being walked, by class index.
	sums []ClassSum

	chunks []chunks
	// narrowest is the least distance of a linpool's next free byte from its
	// chunk's start.
	narrowest uint64
}

// walk walks through the tree once.
func (r *Reader) walk() (*Tree, error) {
	start := time.Now()
	r.walks++
	r.forget()
	w := r.walker(layoutOf(r.bird.Generation))
	err := w.run(r.root)
	r.resources = w.count
	if err != nil {
		r.torn++
		return nil, err
	}
	if took := time.Since(start); r.fastest == 0 || took < r.fastest {
		r.fastest = took
	}
	r.bfd, r.layout = w.t.runsBFD(), w.l
	return w.t, nil
}

// walker begins a walk.
func (r *Reader) walker(l Layout) *walker {
	w := &walker{
		memory:    &r.memory,
		variable:  r.variable,
		t:         &Tree{shapes: make([]shape, 1)},
		l:         l,
		classes:   make(map[uint64]*class, len(r.bird.Classes)),
		seen:      make(map[uint64]bool),
		narrowest: pageSize,
	}
	for _, c := range r.bird.Classes {
		w.list = append(w.list, &class{Class: c, pool: c.Name == bird.PoolClass})
	}
	slices.SortFunc(w.list, func(a, b *class) int { return cmp.Compare(a.Address, b.Address) })
	for i, c := range w.list {
		c.index = uint16(i)
		w.classes[c.Address] = c
		w.t.class = append(w.t.class, c.Name)
		if c.Memsize != 0 {
			c.measure = measures[c.Name]
		}
		w.t.measured = append(w.t.measured, c.measure != nil)
	}
	w.sums = make([]ClassSum, len(w.list))
	return w
}

// run walks from the root pool, pool by pool.
func (w *walker) run(root uint64) error {
	if err := w.enter(root, nil); err != nil {
		return err
	}
	for next := 0; next < len(w.t.nodes); next++ {
		if err := w.pool(w.t.nodes[next]); err != nil {
			return fmt.Errorf("pool %q at 0x%x: %w", w.t.nodes[next].PoolName, w.t.nodes[next].Address, err)
		}
	}
	if err := w.header(); err != nil {
		return err
	}
	w.chunkHeader()
	w.t.Root = w.t.nodes[0]
	w.t.Layout = w.l
	if err := w.instances(); err != nil {
		return err
	}
	w.t.finish()
	w.t.Fingerprint = w.sum
	return nil
}

// enter adds the pool at addr to those to be walked.
func (w *walker) enter(addr uint64, parent *Node) error {
	if w.seen[addr] {
		return fmt.Errorf("pool at 0x%x is in the tree twice: %w", addr, ErrTorn)
	}
	if len(w.t.nodes) == maxPools {
		return fmt.Errorf("more than %d pools: %w", maxPools, ErrTorn)
	}
	w.seen[addr] = true
	name, err := w.word(addr + w.l.poolName)
	if err != nil {
		return err
	}
	n := &Node{Address: addr, Parent: parent, index: uint32(len(w.t.nodes))}
	if name != 0 { // between rp_new and the setting of a formatted name there is none
		if n.PoolName, err = w.text(name, maxName); err != nil {
			return fmt.Errorf("name of pool at 0x%x: %w", addr, err)
		}
	}
	n.Name = n.PoolName
	w.t.nodes = append(w.t.nodes, n)
	if parent != nil {
		parent.Children = append(parent.Children, n)
	}
	return nil
}

// pool walks the resources of a pool. BIRD 2 has them in a list of lib/lists.h:
// the pool holds head (first), null and tail (last), the first node's prev is
// the address of head, and the last node's next is that of null. BIRD 3 has a
// typed list (lib/tlists.h): NULL at both ends, and in each node the list's
// address.
func (w *walker) pool(n *Node) error {
	w.at, n.first = n, len(w.t.blocks)
	clear(w.sums)
	buf := make(words, w.l.poolSize)
	if err := w.read(n.Address, buf); err != nil {
		return err
	}
	c := w.classes[buf.u64(w.l.class)]
	if c == nil || !c.pool {
		return fmt.Errorf("its class is not Pool: %w", ErrTorn)
	}
	list := n.Address + w.l.inside
	cur, prev, end, last := buf.u64(w.l.inside), uint64(0), uint64(0), buf.u64(w.l.inside+8)
	if w.l.Generation == bird.BIRD2 {
		prev, end, last = list, list+8, buf.u64(w.l.inside+16)
		if buf.u64(w.l.inside+8) != 0 {
			return fmt.Errorf("its list is none: %w", ErrTorn)
		}
	}
	w.add(c, n.Address, c.Size, size{overhead: w.l.poolSize + allocOverhead})
	w.sums[c.index].Count = 0 // Count counts what is in the pool

	head := make(words, w.l.mblockSize+4)
	for cur != end {
		if w.count++; w.count > maxResources {
			return fmt.Errorf("more than %d resources: %w", maxResources, ErrTorn)
		}
		if err := w.read(cur, head); err != nil {
			return err
		}
		if head.u64(8) != prev || w.l.Generation == bird.BIRD3 && head.u64(16) != list {
			return fmt.Errorf("resource at 0x%x is not linked where it should be: %w", cur, ErrTorn)
		}
		c := w.classes[head.u64(w.l.class)]
		if c == nil {
			return fmt.Errorf("resource at 0x%x has no class: %w", cur, ErrTorn)
		}
		if err := w.resource(n, c, cur, head); err != nil {
			return fmt.Errorf("%s at 0x%x: %w", c.Name, cur, err)
		}
		prev, cur = cur, head.u64(0)
	}
	if last != prev {
		return fmt.Errorf("its list ends elsewhere: %w", ErrTorn)
	}
	n.last = len(w.t.blocks)
	for i, s := range w.sums {
		if s != (ClassSum{}) {
			s.Class = w.list[i].Name
			n.Classes = append(n.Classes, s)
		}
	}
	return nil
}

// resource counts a resource by the rules of rmemsize (lib/resource.c).
func (w *walker) resource(n *Node, c *class, addr uint64, head words) error {
	switch {
	case c.pool:
		w.mix(addr)
		return w.enter(addr, n)
	case c.Name == bird.MemoryClass:
		payload := head.u32(w.l.mblockSize)
		w.add(c, addr, payload, size{effective: payload}) // overhead: see header
		return nil
	case c.measure != nil:
		s, err := c.measure(w, c, addr)
		if errors.Is(err, errShape) {
			break
		}
		if err == nil {
			w.add(c, addr, c.Size, s)
		}
		return err
	}
	if c.Memsize != 0 {
		w.warn("class %q has a size rule that is not known: its resources are counted by their fixed size", c.Name)
	}
	w.add(c, addr, c.Size, size{c.Size - min(c.Size, w.l.header), allocOverhead + w.l.header})
	return nil
}

// add counts a resource of the pool that is being walked. bytes is what its
// block has, without an mblock's header.
func (w *walker) add(c *class, addr, bytes uint64, s size) {
	w.t.blocks = append(w.t.blocks, block{addr: addr, bytes: uint32(bytes), class: c.index, node: w.at.index})
	sum := &w.sums[c.index]
	sum.Count++
	sum.Effective += s.effective
	sum.Overhead += s.overhead
	w.mix(addr)
	w.mix(s.effective)
	w.mix(s.overhead)
}

// warn notes what keeps the sizes from being BIRD's, once.
func (w *walker) warn(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if !slices.Contains(w.t.Warnings, text) {
		w.t.Warnings = append(w.t.Warnings, text)
	}
}

// mix takes a number into the fingerprint (the finalizer of MurmurHash3).
func (w *walker) mix(v uint64) {
	h := w.sum ^ v
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	w.sum = h*0xc4ceb9fe1a85ec53 + 1
}
