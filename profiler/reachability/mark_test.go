// SPDX-License-Identifier: Apache-2.0

package reachability

import (
	"encoding/binary"
	"fmt"
	"os"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"leakprof/profiler/bird"
	"leakprof/profiler/target"
)

// arena is memory of this process, in which a test lays out units.
type arena struct {
	t     *testing.T
	data  []byte
	base  uint64
	table *table
}

func newArena(t *testing.T, bytes int) *arena {
	t.Helper()
	data, err := unix.Mmap(-1, 0, bytes, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Munmap(data) })
	return &arena{t, data, uint64(uintptr(unsafe.Pointer(&data[0]))), newTable()}
}

// unit lists a unit at an offset, whose words from its start on point to others.
func (a *arena) unit(offset uint64, s shape, owner uint64, to ...uint64) {
	if owner != 0 {
		owner += a.base
	}
	if err := a.table.add(a.base+offset, s, owner); err != nil {
		a.t.Fatal(err)
	}
	for i, target := range to {
		binary.LittleEndian.PutUint64(a.data[offset+8*uint64(i):], a.base+target)
	}
}

// result marks from the unit at an offset, twice.
func (a *arena) result(from uint64) *Result {
	a.t.Helper()
	p, err := target.Open(os.Getpid())
	if err != nil {
		a.t.Fatal(err)
	}
	a.t.Cleanup(func() { p.Close() })
	a.table.finish()
	l := look{process: p, table: a.table, deadline: time.Now().Add(time.Minute)}
	l.bound()
	i, ok := a.table.find(a.base + from)
	if !ok {
		a.t.Fatalf("no unit is at %d", from)
	}
	r := &Result{table: a.table, names: newNames(nil)}
	if r.reach, err = l.mark(reach{roots: []root{{thread: 1}}}, []found{{hit{1, 0}, i}}, nil); err != nil {
		a.t.Fatal(err)
	}
	r.again = r.reach.reached()
	r.sum()
	return r
}

func (a *arena) want(r *Result, what string, offset uint64, want Class) {
	a.t.Helper()
	if got, by := r.Of(a.base + offset); got != want {
		a.t.Errorf("%s at %d is %v by %v, want %v", what, offset, got, by, want)
	}
}

// TestMark lays out what no fixture has: objects that are addressed by number,
// resources that their pool holds, pools in pools.
func TestMark(t *testing.T) {
	a := newArena(t, 1<<16)
	block := func(n uint64, k kind) shape { return shape{n, 0, n, k} }
	a.unit(0, block(64, foreignUnit), 0, 1<<10+8, 4<<10) // the root: into a block, an object
	a.unit(1<<10, block(64, blockUnit), 2<<10)           // in a pool
	a.unit(2<<10, block(64, poolUnit), 3<<10)            // nobody points at, in another
	a.unit(3<<10, block(64, poolUnit), 0)
	a.unit(3<<10+512, block(64, guardUnit), 3<<10, 6<<10)
	a.unit(4<<10, block(64, numberedUnit), 0)
	a.unit(5<<10, block(64, numberedUnit), 0, 7<<10) // nobody points at
	a.unit(6<<10, block(64, blockUnit), 0)           // by the guard
	a.unit(7<<10, block(64, blockUnit), 0)           // by the number
	a.unit(8<<10, block(64, poolUnit), 3<<10)        // nothing is in it
	a.unit(9<<10, block(64, poolUnit), 0)            // with a block
	a.unit(10<<10, block(64, blockUnit), 9<<10)
	a.unit(11<<10, block(64, guardUnit), 9<<10, 12<<10)
	a.unit(12<<10, block(64, blockUnit), 0)
	a.unit(13<<10, block(4096, partUnit), 14<<10+4096) // a slab's own page
	a.unit(14<<10+4096, block(64, blockUnit), 0)
	r := a.result(0)
	for _, c := range []struct {
		what   string
		offset uint64
		want   Class
	}{
		{"block by its middle", 1 << 10, Held},
		{"pool by what is in it", 2 << 10, Held},
		{"pool by the pool in it", 3 << 10, Held},
		{"guard", 3<<10 + 512, Held},
		{"object that something points at", 4 << 10, Held},
		{"object by number", 5 << 10, Unknown},
		{"block by a guard", 6 << 10, Held},
		{"block by an object by number", 7 << 10, Unknown},
		{"empty pool", 8 << 10, Held},
		{"pool with a lost block", 9 << 10, Lost},
		{"block in a lost pool", 10 << 10, Lost},
		{"guard in a lost pool", 11 << 10, Lost},
		{"block by a lost guard", 12 << 10, Lost},
		{"slab's page", 13 << 10, Lost},
		{"slab", 14<<10 + 4096, Lost},
		{"gap", 512, NotLive},
		{"behind all", 1 << 20, NotLive},
	} {
		a.want(r, c.what, c.offset, c.want)
	}
	if want := uint64(2 * 64); r.Bytes[Unknown] != want {
		t.Errorf("%d bytes are unknown, want %d", r.Bytes[Unknown], want)
	}
	// What a second look does not find, or does, is unknown.
	i, _ := a.table.find(a.base + 1<<10)
	r.again[i/64] &^= 1 << (i % 64)
	a.want(r, "block that only the first look found", 1<<10, Unknown)
	i, _ = a.table.find(a.base + 12<<10)
	r.again[i/64] |= 1 << (i % 64)
	a.want(r, "block that only the second look found", 12<<10, Unknown)
	r.Distrust("tired")
	if c, by := r.Of(a.base + 10<<10); c != Unknown || by.Why != "tired" {
		t.Errorf("lost block of a result in doubt is %v by %v", c, by)
	}
}

// TestSocket: a socket's buffers are held by it, and where it was in one that is
// gone holds nothing.
func TestSocket(t *testing.T) {
	for _, g := range []bird.Generation{bird.BIRD2, bird.BIRD3} {
		h := headersOf(g)
		a := newArena(t, 1<<16)
		a.table.headers = h
		a.unit(0, shape{320, h.resource, 320, socketUnit}, 0)
		want := make(map[uint64]Class)
		for at := h.resource; at < 320; at += 8 {
			unit := at << 5
			a.unit(unit+1<<10, shape{64, 0, 64, blockUnit}, 0)
			binary.LittleEndian.PutUint64(a.data[at:], a.base+unit+1<<10)
			want[unit+1<<10] = Held
		}
		for _, at := range []uint64{h.positions, h.positions + 8} {
			want[at<<5+1<<10] = Lost
		}
		r := a.result(0)
		for offset, class := range want {
			a.want(r, fmt.Sprintf("%v: what the word at %d points at", g, (offset-1<<10)>>5), offset, class)
		}
	}
}

// TestMarkWide marks more at once than one goroutine takes, through a chain that
// is longer than a segment, over units longer than what is read at once.
func TestMarkWide(t *testing.T) {
	const many, chain = 3 * worthSharing, 2 * segmentUnits
	a := newArena(t, 8<<20)
	all := make([]uint64, many)
	for i := range all {
		all[i] = 2<<20 + uint64(i)*16
	}
	last := uint64(4 << 20)
	a.unit(0, shape{bufferBytes + 4096, 0, bufferBytes + 4096, foreignUnit}, 0, all...)
	for _, at := range all {
		a.unit(at, shape{16, 0, 16, foreignUnit}, 0)
	}
	for i := range uint64(chain) {
		a.unit(last+i*64, shape{64, 0, 64, foreignUnit}, 0, last+(i+1)*64)
	}
	end := last + chain*64
	a.unit(end, shape{64, 0, 64, foreignUnit}, 0)
	a.unit(end+64, shape{64, 0, 64, foreignUnit}, 0, end)
	// The last word of the long unit leads to the chain.
	binary.LittleEndian.PutUint64(a.data[bufferBytes+4096-8:], a.base+last)
	r := a.result(0)
	if held := uint64(bufferBytes + 4096 + many*16 + (chain+1)*64); r.Bytes[Held] != held || r.Bytes[Lost] != 64 {
		t.Errorf("held %d, lost %d bytes, want %d and 64", r.Bytes[Held], r.Bytes[Lost], held)
	}
}

// TestUnreadable reads over a page that cannot be read.
func TestUnreadable(t *testing.T) {
	a := newArena(t, 4*pageSize)
	a.unit(0, shape{3 * pageSize, 0, 3 * pageSize, foreignUnit}, 0)
	a.unit(3*pageSize, shape{64, 0, 64, foreignUnit}, 0)
	binary.LittleEndian.PutUint64(a.data[2*pageSize+8:], a.base+3*pageSize)
	if err := unix.Mprotect(a.data[pageSize:2*pageSize], unix.PROT_NONE); err != nil {
		t.Fatal(err)
	}
	r := a.result(0)
	a.want(r, "block behind the page", 3*pageSize, Held)
	if r.reach.unread != pageSize {
		t.Errorf("%d bytes are unread, want a page", r.reach.unread)
	}
}
