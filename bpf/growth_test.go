// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"os"
	"testing"
	"unsafe"

	"github.com/cilium/ebpf"
)

// TestEntries: what entries of a map cost is what the kernel's allocator makes
// of them, by the sizes of the values.
func TestEntries(t *testing.T) {
	const own = 48 + 8 + 8 // struct htab_elem, the key, the list of free ones
	for _, c := range []struct {
		what  string
		value uintptr
		entry uint64
	}{
		{"block", unsafe.Sizeof(Block{}), blockEntry},
		{"stack", unsafe.Sizeof(Stack{}), stackEntry},
		{"linpool object", unsafe.Sizeof(LinpoolObject{}), objectEntry},
		{"14 slots", unsafe.Sizeof(Slots14{}), slotsClass[0].entry},
		{"30 slots", unsafe.Sizeof(Slots30{}), slotsClass[1].entry},
		{"46 slots", unsafe.Sizeof(Slots46{}), slotsClass[2].entry},
		{"110 slots", unsafe.Sizeof(Slots110{}), slotsClass[3].entry},
		{"238 slots", unsafe.Sizeof(Slots238{}), slotsClass[4].entry},
		{"494 slots", unsafe.Sizeof(Slots494{}), slotsClass[5].entry},
	} {
		size := uint64(0)
		for _, s := range []uint64{96, 128, 192, 256, 512, 1024, 2048, 4096} { // kmalloc's
			if size = s; s >= own+uint64(c.value) {
				break
			}
		}
		if size+bucket != c.entry {
			t.Errorf("an entry of a %s of %d bytes costs %d, want %d", c.what, c.value, c.entry, size+bucket)
		}
	}
}

func TestBudget(t *testing.T) {
	for _, c := range []struct {
		left                 budget
		want, entry, atLeast uint64
		n                    uint32
		rest                 budget
	}{
		{1 << 20, 1000, 112, 0, 512, 1<<20 - 512*112},      // a power of two
		{1 << 20, 1024, 112, 0, 1024, 1<<20 - 1024*112},    // all that is wanted
		{1 << 20, 1 << 20, 112, 0, 8192, 1<<20 - 8192*112}, // as many as fit
		{100, 1024, 112, 0, 0, 100},                        // none
		{100, 1024, 112, 1024, 1024, 0},                    // there is always room for a few
	} {
		left := c.left
		if n := left.take(c.want, c.entry, c.atLeast); n != c.n || left != c.rest {
			t.Errorf("of %d bytes %d entries of %d: got %d, %d bytes left; want %d, %d", c.left, c.want, c.entry, n, left, c.n, c.rest)
		}
	}
	left := budget(64 << 20)
	if n := left.stacks(0); n != 4096 || left != 64<<20-4096*stackEntry {
		t.Errorf("%d stacks, %d bytes left", n, left)
	}
	if n := left.stacks(7); n != 7 {
		t.Errorf("%d stacks, want 7", n)
	}
}

// TestGrow: there is always a step more than is in use, each four times as
// large as the last, as far as the budget goes.
func TestGrow(t *testing.T) {
	// 1,024 stacks, steps of 65,536 and 262,144 blocks, and two of slots for
	// each class; then what is left makes a third step, smaller than the others.
	const enough = 1024*stackEntry*4 + (65536+262144)*blockEntry + 48<<20
	p, err := Load(Config{PID: os.Getpid(), MaxMemory: enough, MaxStacks: 1024})
	if err != nil {
		t.Fatalf("load (needs root): %v", err)
	}
	t.Cleanup(func() { p.Close() })
	if n := stepSizes(p); n[0] != 65536 || n[1] != 262144 || len(n) != 2 {
		t.Fatalf("first steps of %v blocks", n)
	}
	if err := p.Grow(); err != nil || len(p.live.maps) != 2 {
		t.Fatalf("grows although nothing is in use: %v (%v)", stepSizes(p), err)
	}
	for _, used := range []uint32{1, 2, 3, 4} {
		if err := p.objects.LiveStep.Set(min(used, uint32(len(p.live.maps)-1))); err != nil {
			t.Fatal(err)
		}
		if err := p.Grow(); err != nil {
			t.Fatal(err)
		}
	}
	n := stepSizes(p)
	var total uint64
	for _, s := range p.sets {
		for _, m := range s.maps {
			total += uint64(m.MaxEntries()) * s.entry
		}
	}
	if len(n) < 3 || total > enough {
		t.Errorf("steps of %v blocks; all maps may take %d bytes of %d", n, total, enough)
	}
	var told uint32
	if err := p.objects.LiveSteps.Get(&told); err != nil || int(told) != len(n) {
		t.Errorf("the programs know of %d steps of %d (%v)", told, len(n), err)
	}
}

func stepSizes(p *Programs) (sizes []uint32) {
	for _, m := range p.live.maps {
		sizes = append(sizes, m.MaxEntries())
	}
	return sizes
}

// TestAdopt takes in blocks from before, over more than one step, and none
// that is known or was freed meanwhile.
func TestAdopt(t *testing.T) {
	const first = 65536
	p, err := Load(Config{PID: os.Getpid(), MaxMemory: 256 << 20})
	if err != nil {
		t.Fatalf("load (needs root): %v", err)
	}
	t.Cleanup(func() { p.Close() })
	if err := p.Adopting(); err != nil {
		t.Fatal(err)
	}
	known, freed := uint64(0x1000), uint64(0x2000)
	for address, b := range map[uint64]Block{known: {Size: 1, Function: 1, Stack: 7}, freed: {Function: uint8(FunctionFreed)}} {
		if err := p.live.maps[0].Update(address, &b, ebpf.UpdateAny); err != nil {
			t.Fatal(err)
		}
		if kept, err := p.Adopt(address, Block{Size: 100}); kept || err != nil {
			t.Errorf("block %#x is taken in (%v)", address, err)
		}
	}
	for i := range uint64(first + 10) {
		if kept, err := p.Adopt(0x10000+32*i, Block{Size: 100}); !kept || err != nil {
			t.Fatalf("block %d is not taken in (%v)", i, err)
		}
	}
	// In the first step, which is full, too.
	if kept, err := p.Adopt(0x10000, Block{Size: 100}); kept || err != nil {
		t.Errorf("a block is taken in twice (%v)", err)
	}
	// Nor is any while memory is short.
	if err := p.SetAccepting(false); err != nil {
		t.Fatal(err)
	}
	if kept, err := p.Adopt(0x10, Block{Size: 3}); kept || err != nil {
		t.Errorf("a block is taken in although memory is short (%v)", err)
	}
	if err := p.Adopted(); err != nil {
		t.Fatal(err)
	}
	c, err := p.Counters()
	if err != nil || c[AllocatedObjects] != first+10 || c[AllocatedBytes] != 100*(first+10) || c[LiveFull] != 0 || c[NotAccepted] != 1 || c[NotAcceptedBytes] != 3 {
		t.Errorf("%d objects of %d bytes, %d without room (%v)", c[AllocatedObjects], c[AllocatedBytes], c[LiveFull], err)
	}
	var b Block
	if err := p.live.maps[1].Lookup(uint64(0x10000+32*(first+9)), &b); err != nil || b.Stack != StackBefore || b.Size != 100 {
		t.Errorf("the last block is %+v (%v)", b, err)
	}
}
