// SPDX-License-Identifier: Apache-2.0

package reachability

import (
	"cmp"
	"fmt"
	"slices"
	"sync"

	"leakprof/profiler/bird"
	"leakprof/profiler/bird/tree"
	"leakprof/profiler/glibc"
	"leakprof/profiler/live"
	"leakprof/profiler/snapshot"
	"leakprof/profiler/target"
)

const pageSize = 4096

// kind is what a unit is. Those of the same address are kept by their order.
type kind uint8

const (
	blockUnit    kind = iota // a block that begins with a resource's header
	socketUnit               // a socket
	poolUnit                 // a pool
	linpoolUnit              // a linpool, without its chunks
	guardUnit                // a resource that its pool holds
	chunkUnit                // a chunk of a linpool
	objectUnit               // an object in a slab or mslab
	numberedUnit             // an object in an islab
	partUnit                 // a page that a slab has for itself
	pageUnit                 // another page
	foreignUnit              // a block of malloc's that is no resource
)

// A unit is a piece of memory that is held or lost as a whole. It has a key,
// its address (of which bits 3 to 46 say something) above the number of its
// shape, and the number of its owner. shapeBits is the width of a shape's number.
const shapeBits = 20

// unit is one that is not in its place yet.
type unit struct {
	key   uint64
	owner uint32
}

// shape is what units of one kind and length have in common, bytes.
type shape struct {
	bytes    uint64 // for which a pointer counts
	from, to uint64 // what is read of it
	kind     kind
}

// counts says whether the unit's bytes are no part of another's.
func (s shape) counts() bool { return s.kind != partUnit }

// headers are the lengths of what holds nothing at the start of a resource,
// bytes.
type headers struct {
	resource uint64 // struct resource
	inside   uint64 // that and the list of a pool
	// positions is where tpos and ttx of struct birdsock are (lib/socket.h, in 2.0
	// to 3.3 alike). They are places in its buffer, and stay when BMP or the CLI
	// has taken that away (tbuf).
	positions uint64
}

func headersOf(g bird.Generation) headers {
	if g == bird.BIRD3 {
		return headers{32, 48, 176}
	}
	return headers{24, 48, 168}
}

// rootSkip returns the range of the program's variables that is root_pool's
// header and list; none if there is no root pool.
func (h headers) rootSkip(b *bird.Bird, p *target.Process) span {
	if b == nil {
		return span{}
	}
	root, err := b.Root(p)
	if err != nil {
		return span{}
	}
	return span{root, root + h.inside}
}

// heldClasses are the classes whose resources somebody keeps the address of.
var heldClasses = map[string]kind{
	bird.MemoryClass: blockUnit, bird.PoolClass: poolUnit, "LinPool": linpoolUnit,
	"Slab": blockUnit, "mslab": blockUnit, "Islab": blockUnit,
	"Event": blockUnit, "Timer": blockUnit, "Socket": socketUnit, "FILE": blockUnit, "ObjLock": blockUnit,
	"Routing table": blockUnit,
}

// queueClass is the class of BMP's queue. Of each of its pages (struct
// bmp_tx_buffer in proto/bmp/bmp.c, since 2.16) the first word is the next one.
// The second is where it is filled to: of a full one that is where another page
// begins. The rest are bytes to send.
const queueClass = "BMP TX buffers"

// table has all units, in the order of their addresses.
type table struct {
	keys    []uint64
	numbers []uint32 // of owners
	shapes  []shape
	owners  []uint32            // units, by number; the first is none
	parts   map[uint32][]uint32 // what a unit holds by its construction
	full    map[uint32]bool     // pools that something is in
	index   index
	headers headers

	units    []unit // while they are listed
	shapeOf  map[shape]uint32
	numberOf map[uint64]uint32 // number of the owner at an address
}

const (
	noUnit = ^uint32(0)
	// maxUnits bounds the units: so many take 20 GB here.
	maxUnits = 1 << 29
)

// walkHeap returns the C library's heap, or why it cannot be told.
func walkHeap(p *target.Process) (*glibc.Heap, string) {
	usage, err := p.Usage()
	if err != nil {
		return nil, err.Error()
	}
	h, err := glibc.Walk(p, usage, glibc.Options{})
	switch {
	case err != nil:
		return nil, err.Error()
	case !h.Consistent:
		return h, "the heap of the C library changed while it was read"
	}
	return h, ""
}

// tableOf lists what is live. A block that several know of is taken from who
// knows most: the tree, the live set, malloc. doubt says why malloc's blocks are
// not known for certain.
func tableOf(p *target.Process, s *snapshot.Snapshot, h headers) (t *table, doubt string, err error) {
	t = newTable()
	t.headers = h
	var heap *glibc.Heap
	var beside sync.WaitGroup
	beside.Go(func() { heap, doubt = walkHeap(p) })
	add := func(addr uint64, sh shape, owner uint64) {
		if e := t.add(addr, sh, owner); e != nil && err == nil {
			err = e
		}
	}
	t.units = make([]unit, 0, count(s))
	var large []largeChunk
	if s.Tree != nil {
		large = addTree(s.Tree, h, add)
	}
	beside.Wait()
	for _, c := range large {
		n := c.bytes(s, heap)
		add(c.Address, shape{n, c.header, n, chunkUnit}, c.linpool)
	}
	if s.Live != nil {
		if err := addLive(p, s, add); err != nil {
			return nil, "", err
		}
	}
	if heap != nil {
		for c := range heap.Chunks() {
			if c.State() == glibc.InUse {
				add(c.Address(), shape{c.Usable(), 0, c.Usable(), foreignUnit}, 0)
			}
		}
	}
	if err != nil {
		return nil, "", err
	}
	t.finish()
	return t, doubt, nil
}

func newTable() *table {
	return &table{
		shapeOf: make(map[shape]uint32), numberOf: make(map[uint64]uint32),
		owners: make([]uint32, 1), parts: make(map[uint32][]uint32), full: make(map[uint32]bool),
	}
}

// count returns about how many units there are.
func count(s *snapshot.Snapshot) (n int) {
	if s.Live != nil {
		n = len(s.Live.Blocks)
	}
	if s.Tree != nil {
		n += s.Tree.Root.Count
		for p := range s.Tree.Pages() {
			n += max(p.Used, 1)
		}
	}
	return min(n+n/64, maxUnits)
}

// addTree lists the tree's blocks, and the objects and chunks on its pages. It
// returns the linpools' large chunks.
func addTree(t *tree.Tree, h headers, add func(uint64, shape, uint64)) (large []largeChunk) {
	l := t.Layout
	known := 0 // of large: their linpools
	for b := range t.Blocks() {
		if b.Large {
			large = append(large, largeChunk{Block: b, header: l.ChunkHeader})
			continue
		}
		k, ok := heldClasses[b.Class]
		if !ok {
			k = guardUnit
		}
		sh, owner := shape{b.Bytes, h.resource, b.Bytes, k}, b.Pool.Address
		switch {
		case b.Class == bird.MemoryClass:
			sh.from = l.MblockHeader
		case k == linpoolUnit:
			// It has its chunks, and an address behind the last, where another's page
			// may begin.
			sh.to = sh.from
		case k == poolUnit:
			sh.from, owner = h.inside, 0
			if b.Pool.Parent != nil {
				owner = b.Pool.Parent.Address
			}
		}
		add(b.Address, sh, owner)
		if k == linpoolUnit {
			// The tree has a linpool's large chunks before it.
			for ; known < len(large); known++ {
				large[known].linpool = b.Address
			}
		}
	}
	for p := range t.Pages() {
		switch slabs := p.Class == "Slab" || p.Class == "mslab" || p.Class == "Islab"; {
		case slabs && p.Capacity > 0:
			k := objectUnit
			if p.Class == "Islab" {
				k = numberedUnit
			}
			for object := range p.Objects() {
				add(object, shape{p.ObjectSize, 0, p.ObjectSize, k}, p.Owner)
			}
		case slabs:
			add(p.Address, shape{pageSize, 0, pageSize, partUnit}, p.Owner)
		case p.Class == "LinPool":
			n := pageSize - p.Free
			add(p.Address, shape{n, min(l.ChunkHeader, n), n, chunkUnit}, p.Owner)
		case p.Class == queueClass:
			add(p.Address, shape{pageSize, 0, 8, pageUnit}, 0)
		default:
			add(p.Address, shape{pageSize, 0, pageSize - min(p.Free, pageSize), pageUnit}, 0)
		}
	}
	return large
}

// largeChunk is a large chunk of a linpool.
type largeChunk struct {
	tree.Block
	linpool, header uint64
}

// bytes returns what malloc gave for the chunk, of which the tree does not know
// it where a linpool has several.
func (c largeChunk) bytes(s *snapshot.Snapshot, heap *glibc.Heap) uint64 {
	if c.Bytes != 0 {
		return c.Bytes
	}
	if heap != nil {
		if chunk, ok := heap.Find(c.Address); ok {
			return chunk.Usable()
		}
	}
	if s.Live != nil {
		i, ok := slices.BinarySearchFunc(s.Live.Blocks, c.Address, func(b live.Block, a uint64) int { return cmp.Compare(b.Address, a) })
		if ok {
			return s.Live.Blocks[i].Size
		}
	}
	return c.header + pageSize // what is larger is no page's
}

// add lists a unit. A pointer to a header counts even if nothing is behind it.
func (t *table) add(address uint64, s shape, owner uint64) error {
	s.bytes = (max(s.bytes, s.from+1) + 7) &^ 7
	s.to = max(min(s.to&^7, s.bytes), s.from)
	if address%8 != 0 || address >= 1<<47 || s.bytes >= 1<<47 {
		return nil // nothing of BIRD's or malloc's
	}
	number, ok := t.shapeOf[s]
	if !ok {
		if number = uint32(len(t.shapes)); number >= 1<<shapeBits {
			return fmt.Errorf("more than %d sizes of blocks", 1<<shapeBits)
		}
		t.shapes, t.shapeOf[s] = append(t.shapes, s), number
	}
	if len(t.units) == maxUnits {
		return fmt.Errorf("more than %d blocks and objects", maxUnits)
	}
	u := unit{key: address>>3<<shapeBits | uint64(number)}
	if owner != 0 {
		if u.owner, ok = t.numberOf[owner]; !ok {
			u.owner = uint32(len(t.owners))
			t.owners, t.numberOf[owner] = append(t.owners, noUnit), u.owner
		}
	}
	t.units = append(t.units, u)
	return nil
}

// finish sorts the units and links them to their owners.
func (t *table) finish() {
	sortUnits(t.units)
	t.keys, t.numbers = make([]uint64, 0, len(t.units)), make([]uint32, 0, len(t.units))
	for _, u := range t.units {
		last := len(t.keys) - 1
		switch {
		case last < 0 || u.key>>shapeBits != t.keys[last]>>shapeBits:
			t.keys, t.numbers = append(t.keys, u.key), append(t.numbers, u.owner)
		case t.shapes[u.key&shapeMask].kind < t.shape(uint32(last)).kind:
			t.keys[last], t.numbers[last] = u.key, u.owner
		}
	}
	t.units = nil
	t.index = newIndex(t)
	t.owners[0] = noUnit
	for address, number := range t.numberOf {
		if i, ok := t.find(address); ok && t.address(i) == address {
			t.owners[number] = i
		}
	}
	t.shapeOf, t.numberOf = nil, nil
	for n := range t.keys {
		i := uint32(n)
		o := t.ownerOf(i)
		if o == noUnit {
			continue
		}
		switch t.shape(i).kind {
		case chunkUnit, guardUnit, partUnit:
			t.parts[o] = append(t.parts[o], i)
			t.fill(o)
		case poolUnit:
		default:
			t.fill(o)
		}
	}
}

// sortUnits sorts by address, the halves at once.
func sortUnits(units []unit) {
	byKey := func(a, b unit) int { return cmp.Compare(a.key, b.key) }
	sample := make([]uint64, 0, 1024)
	for i := 0; i < len(units); i += max(len(units)/1024, 1) {
		sample = append(sample, units[i].key)
	}
	slices.Sort(sample)
	if len(sample) == 0 {
		return
	}
	middle, low := sample[len(sample)/2], 0
	for i, u := range units {
		if u.key < middle {
			units[i], units[low] = units[low], u
			low++
		}
	}
	var group sync.WaitGroup
	group.Go(func() { slices.SortFunc(units[:low], byKey) })
	slices.SortFunc(units[low:], byKey)
	group.Wait()
}

// fill notes that something is in a pool, and so in those that it is in.
func (t *table) fill(i uint32) {
	for i != noUnit && !t.full[i] {
		if t.shape(i).kind == poolUnit {
			t.full[i] = true
		}
		i = t.ownerOf(i)
	}
}

const shapeMask = 1<<shapeBits - 1

func (t *table) address(i uint32) uint64 { return t.keys[i] >> shapeBits << 3 }

func (t *table) shape(i uint32) *shape { return &t.shapes[t.keys[i]&shapeMask] }

// end returns the address behind a unit.
func (t *table) end(i uint32) uint64 { return t.address(i) + t.shape(i).bytes }

// ownerOf returns what a unit is in: a resource's pool, an object's slab, a
// chunk's linpool; noUnit if that is none.
func (t *table) ownerOf(i uint32) uint32 { return t.owners[t.numbers[i]] }

// alike says whether two units are of one shape and in one place: elements of a
// list are.
func (t *table) alike(a, b uint32) bool {
	return (t.keys[a]^t.keys[b])&shapeMask == 0 && t.numbers[a] == t.numbers[b]
}
