// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"os"
	"slices"
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
		{"stack", unsafe.Sizeof(Stack{}), stackEntry - uint64(unsafe.Sizeof(StackAccount{}))},
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
		what         string
		most         uint64
		stacks       uint32
		fixed, grows uint64
	}{
		{"next to nothing", 1, least, least * stackEntry, least * blockEntry},
		{"64 MB", 64 << 20, 4096, 4096 * stackEntry, 64<<20 - 4096*stackEntry},
		{"a gigabyte", 1 << 30, defaultStacks, defaultStacks * stackEntry, 1<<30 - defaultStacks*stackEntry},
	} {
		b := newBudget(c.most)
		if n := b.stacks(0); n != c.stacks || b.fixed != c.fixed || b.grows() != c.grows {
			t.Errorf("%s: %d stacks, %d bytes fixed, %d left to grow; want %d, %d, %d", c.what, n, b.fixed, b.grows(), c.stacks, c.fixed, c.grows)
		}
	}
	b := newBudget(64 << 20)
	if n := b.stacks(7); n != 7 || b.fixed != 0 {
		t.Errorf("%d stacks, %d bytes fixed, want 7, 0", n, b.fixed)
	}
	if n := b.linpoolObjects(); n != 131072 || b.fixed != 131072*objectEntry {
		t.Errorf("%d linpool objects, %d bytes fixed", n, b.fixed)
	}
}

// TestGrow: there is always a step more than is in use, each four times as
// large as the last, and no more entries than the budget holds.
func TestGrow(t *testing.T) {
	const budget = 256 << 20
	p, err := Load(Config{PID: os.Getpid(), MaxMemory: budget, MaxStacks: 1024})
	if err != nil {
		t.Fatalf("load (needs root): %v", err)
	}
	t.Cleanup(func() { p.Close() })
	want := []uint32{65536, 262144}
	if n := stepSizes(p); !slices.Equal(n, want) {
		t.Fatalf("first steps of %v blocks, want %v", n, want)
	}
	if err := p.Grow(); err != nil || len(p.live.maps) != 2 {
		t.Fatalf("grows although nothing is in use: %v (%v)", stepSizes(p), err)
	}
	for _, next := range [][]uint32{
		append(want, 1048576), append(want, 1048576, 1048576-524288), // what is left
		append(want, 1048576, 524288, 262144), append(want, 1048576, 524288, 262144, 131072),
	} {
		if err := p.objects.LiveStep.Set(uint32(len(p.live.maps) - 1)); err != nil {
			t.Fatal(err)
		}
		if err := p.Grow(); err != nil {
			t.Fatal(err)
		}
		if n := stepSizes(p); !slices.Equal(n, next) {
			t.Fatalf("steps of %v blocks, want %v", n, next)
		}
	}
	if c := p.live.capacity(); c*blockEntry > budget {
		t.Errorf("%d blocks would take %d bytes of %d", c, c*blockEntry, budget)
	}
	var told uint32
	if err := p.objects.LiveSteps.Get(&told); err != nil || int(told) != len(p.live.maps) {
		t.Errorf("the programs know of %d steps of %d (%v)", told, len(p.live.maps), err)
	}
}

func stepSizes(p *Programs) (sizes []uint32) {
	for _, m := range p.live.maps {
		sizes = append(sizes, m.MaxEntries())
	}
	return sizes
}

// TestFull: what is used of all sets together stops them, and when a little has
// gone they go on.
func TestFull(t *testing.T) {
	const budget = 64 << 20
	p, err := Load(Config{PID: os.Getpid(), MaxMemory: budget, MaxStacks: 1024})
	if err != nil {
		t.Fatalf("load (needs root): %v", err)
	}
	t.Cleanup(func() { p.Close() })
	for _, c := range []struct {
		what       string
		tables     uint32 // of 494 slots
		acceptance liveAcceptance
	}{
		{"nothing", 0, liveAcceptanceACCEPTING},
		{"nearly all", budget/2048 - 4096, liveAcceptanceACCEPTING},
		{"all", budget / 2048, liveAcceptanceACCEPTING_FULL},
		{"as good as all", budget/2048 - 2500, liveAcceptanceACCEPTING_FULL},
		{"a little less", budget/2048 - 4096, liveAcceptanceACCEPTING},
	} {
		var tables [slotsClasses]uint32
		tables[slotsClasses-1] = c.tables
		if err := p.objects.SlotsUsed.Set(tables); err != nil {
			t.Fatal(err)
		}
		if err := p.Grow(); err != nil {
			t.Fatal(err)
		}
		var a uint32
		if err := p.objects.Accepting.Get(&a); err != nil || liveAcceptance(a) != c.acceptance {
			t.Errorf("%s in use: acceptance %d, want %d (%v)", c.what, a, c.acceptance, err)
		}
	}
	// Want of memory goes before.
	if err := p.SetAccepting(false); err != nil {
		t.Fatal(err)
	}
	var a uint32
	if err := p.objects.Accepting.Get(&a); err != nil || liveAcceptance(a) != liveAcceptanceACCEPTING_SHORT {
		t.Errorf("acceptance %d (%v)", a, err)
	}
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
