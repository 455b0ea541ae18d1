// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"errors"
	"os"
	"testing"
	"unsafe"
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
		{"spilled block", unsafe.Sizeof(liveEntry{}), spillEntry},
		{"stack", unsafe.Sizeof(Stack{}), stackEntry - uint64(unsafe.Sizeof(StackAccount{}))},
		{"linpool object", unsafe.Sizeof(LinpoolObject{}), objectEntry},
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

// TestGrow: the live set grows when three quarters are in use, each time to two
// and a half times its size, and to no more than the budget holds.
func TestGrow(t *testing.T) {
	p, err := Load(Config{PID: os.Getpid(), MaxMemory: 128 << 20, MaxStacks: 1024})
	if err != nil {
		t.Fatalf("load (needs root): %v", err)
	}
	t.Cleanup(func() { p.Close() })
	all := firstBlocks + p.left()/liveEntrySize
	for _, c := range []struct {
		blocks uint64
		want   uint64 // entries
	}{
		{0, firstBlocks},
		{firstBlocks*3/4 - 1, firstBlocks},
		{firstBlocks * 3 / 4, firstBlocks * 5 / 2},
		{firstBlocks * 3 / 4, firstBlocks * 5 / 2},
		{firstBlocks * 5 / 2, firstBlocks * 25 / 4},
		{firstBlocks * 25 / 4, firstBlocks * 125 / 8},
		{firstBlocks * 125 / 8, firstBlocks * 625 / 16},
		{1 << 40, all / 8 * 8},
		{1 << 40, all / 8 * 8},
	} {
		p.adopted[AllocatedObjects] = c.blocks
		if err := p.Grow(); err != nil {
			t.Fatal(err)
		}
		if n := p.live.capacity(); n != c.want {
			t.Fatalf("%d blocks: room for %d, want %d", c.blocks, n, c.want)
		}
	}
	var told uint32
	if err := p.objects.LiveSteps.Get(&told); err != nil || int(told) != len(p.live.steps) {
		t.Errorf("the programs know of %d steps of %d (%v)", told, len(p.live.steps), err)
	}
	var buckets [maxSteps]uint32
	if err := p.objects.LiveBuckets.Get(&buckets); err != nil || buckets[1] != firstBlocks*3/2/uint32(entries) {
		t.Errorf("the programs know of %d buckets (%v)", buckets, err)
	}
}

// TestAccepting: want of memory stops the sets, and its end lets them go on.
func TestAccepting(t *testing.T) {
	p, err := Load(Config{PID: os.Getpid(), MaxMemory: 64 << 20, MaxStacks: 1024})
	if err != nil {
		t.Fatalf("load (needs root): %v", err)
	}
	t.Cleanup(func() { p.Close() })
	for _, yes := range []bool{true, false, true} {
		if err := p.SetAccepting(yes); err != nil {
			t.Fatal(err)
		}
		want := liveAcceptanceACCEPTING
		if !yes {
			want = liveAcceptanceACCEPTING_SHORT
		}
		var a uint32
		if err := p.objects.Accepting.Get(&a); err != nil || liveAcceptance(a) != want {
			t.Errorf("acceptance %d, want %d (%v)", a, want, err)
		}
	}
}

// TestGrowSlots: a class grows when three quarters of its tables have been in use,
// and the programs know of it.
func TestGrowSlots(t *testing.T) {
	p, err := Load(Config{PID: os.Getpid(), MaxMemory: 64 << 20, MaxStacks: 1024})
	if err != nil {
		t.Fatalf("load (needs root): %v", err)
	}
	t.Cleanup(func() { p.Close() })
	const first = firstTables / 48 // tables of 8 slots
	const second = first + first/2
	for _, c := range []struct {
		made uint32
		want uint64
	}{{0, first}, {first*3/4 - 1, first}, {first * 3 / 4, second}, {first * 3 / 4, second}, {second, second + second/2}} {
		if err := p.objects.SlotsMade.Set([slotsClasses]uint32{c.made}); err != nil {
			t.Fatal(err)
		}
		if err := p.Grow(); err != nil {
			t.Fatal(err)
		}
		if n := p.slots[0].capacity(); n != c.want {
			t.Errorf("%d tables in use: room for %d, want %d", c.made, n, c.want)
		}
	}
	var told [slotsClasses * tableSteps]uint32
	if err := p.objects.SlotsTables.Get(&told); err != nil || told[0] != first || told[1] != first/2 || told[tableSteps] != firstTables/64 {
		t.Errorf("the programs know of steps of %v tables (%v)", told, err)
	}
}

// TestBudgetOfAll: all sets together grow to no more than the budget.
func TestBudgetOfAll(t *testing.T) {
	const most = 64 << 20
	p, err := Load(Config{PID: os.Getpid(), MaxMemory: most, MaxStacks: 1024})
	if err != nil {
		t.Fatalf("load (needs root): %v", err)
	}
	t.Cleanup(func() { p.Close() })
	size := func() (n uint64) {
		n = p.live.capacity() * liveEntrySize
		for i := range p.slots {
			n += p.slots[i].capacity() * p.slots[i].tableSize()
		}
		return n
	}
	first, used := size(), uint64(0)
	for range 2 * tableSteps {
		var made [slotsClasses]uint32
		for i := range p.slots {
			made[i] = uint32(p.slots[i].capacity())
		}
		if err := p.objects.SlotsMade.Set(made); err != nil {
			t.Fatal(err)
		}
		p.adopted[AllocatedObjects] = p.live.capacity()
		if err := p.Grow(); err != nil {
			t.Fatal(err)
		}
		if used = p.budget.fixed + size() - first; used > most {
			t.Fatalf("%d bytes are used, want %d at most", used, most)
		}
	}
	if used < most*9/10 {
		t.Errorf("%d bytes are used, want nearly %d", used, most)
	}
}

// live reads the live set.
func live(t *testing.T, p *Programs) map[uint64]Block {
	t.Helper()
	all := make(map[uint64]Block)
	if err := p.EachLive(func(address uint64, b Block) {
		if _, ok := all[address]; ok {
			t.Errorf("block %#x is there twice", address)
		}
		all[address] = b
	}); err != nil {
		t.Fatal(err)
	}
	return all
}

// TestAdopt takes in blocks from before, over more than one step, and none
// that is known or was freed meanwhile.
func TestAdopt(t *testing.T) {
	const blocks = 2 * firstBlocks
	p, err := Load(Config{PID: os.Getpid(), MaxMemory: 256 << 20})
	if err != nil {
		t.Fatalf("load (needs root): %v", err)
	}
	t.Cleanup(func() { p.Close() })
	if err := p.Adopting(); err != nil {
		t.Fatal(err)
	}
	known, freed, spilled := uint64(0x1000), uint64(0x2000), uint64(0x3000)
	if err := p.live.mapAll(); err != nil {
		t.Fatal(err)
	}
	for address, b := range map[uint64]Block{known: {Size: 1, Function: 1, Stack: 7}, freed: {Function: uint8(liveEntryPartENTRY_FREED)}} {
		e, _ := pack(address, b)
		bucketOf(p.live.steps[0].buckets, address).Entry[3] = e
	}
	e, _ := pack(spilled, Block{Size: 5})
	if err := errors.Join(p.objects.Spilled.Put(spilled, e), p.objects.LiveSpilled.Set(uint32(1))); err != nil {
		t.Fatal(err)
	}
	for _, address := range []uint64{known, freed, spilled} {
		if kept, err := p.Adopt(address, Block{Size: 100}); kept || err != nil {
			t.Errorf("block %#x is taken in (%v)", address, err)
		}
	}
	if err := p.objects.LiveSpilled.Set(uint32(0)); err != nil { // or each of them is looked for there
		t.Fatal(err)
	}
	for i := range uint64(blocks) {
		if kept, err := p.Adopt(0x10000+32*i, Block{Size: 100}); !kept || err != nil {
			t.Fatalf("block %d is not taken in (%v)", i, err)
		}
	}
	for i := range uint64(blocks) {
		if kept, err := p.Adopt(0x10000+32*i, Block{Size: 100}); kept || err != nil {
			t.Fatalf("block %d is taken in twice (%v)", i, err)
		}
	}
	// Nor is any while memory is short, or where no block is.
	if kept, err := p.Adopt(1<<47, Block{Size: 3}); kept || err != nil {
		t.Errorf("a block in the kernel's half is taken in (%v)", err)
	}
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
	if err != nil || c[AllocatedObjects] != blocks || c[AllocatedBytes] != 100*blocks || c[LiveFull] != 1 || c[NotAccepted] != 1 || c[NotAcceptedBytes] != 3 {
		t.Errorf("%d objects of %d bytes, %d without room (%v)", c[AllocatedObjects], c[AllocatedBytes], c[LiveFull], err)
	}
	all := live(t, p)
	if len(all) != blocks+2 || all[known].Stack != 7 || all[spilled].Size != 5 {
		t.Errorf("%d blocks, the known one %+v, the spilled one %+v", len(all), all[known], all[spilled])
	}
	if b := all[0x10000]; b != (Block{Size: 100, Stack: StackBefore}) {
		t.Errorf("a block is %+v", b)
	}
}

// TestPack: what is in an entry is what was put there.
func TestPack(t *testing.T) {
	for _, c := range []struct {
		address uint64
		b       Block
		ok      bool
	}{
		{8, Block{}, true},
		{1<<47 - 8, Block{Size: 1<<38 - 1, Stack: 1<<20 - 1, Mark: 1<<16 - 1, Function: uint8(liveFunctionFUNCTION_PVALLOC), Mb: uint8(liveFunctionFUNCTION_MB_REALLOC)}, true},
		{0x7f0012345678, Block{Size: 1 << 28, Stack: StackBefore, Mark: 1, Function: 1, Mb: uint8(liveFunctionFUNCTION_MB_ALLOC)}, true},
		{0x7f0012345000, Block{Size: uint64(os.Getpagesize()), Stack: StackBefore, Function: uint8(FunctionAllocPage)}, true},
		{1 << 47, Block{}, false},
		{12, Block{}, false},
		{16, Block{Size: 1 << 38}, false},
	} {
		e, ok := pack(c.address, c.b)
		if ok != c.ok {
			t.Errorf("%#x, %+v can be an entry: %v, want %v", c.address, c.b, ok, c.ok)
			continue
		}
		if address, b := unpack(e); ok && (address != c.address || b != c.b) {
			t.Errorf("%#x, %+v comes back as %#x, %+v", c.address, c.b, address, b)
		}
	}
}
