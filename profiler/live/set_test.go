// SPDX-License-Identifier: Apache-2.0

package live

import (
	"slices"
	"testing"
	"unsafe"

	"github.com/cilium/ebpf"

	"leakprof/bpf"
)

func newMap(t testing.TB, valueSize, entries uint32) *ebpf.Map {
	t.Helper()
	m, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Hash, KeySize: 8, ValueSize: valueSize, MaxEntries: entries, Flags: 1 /* BPF_F_NO_PREALLOC */})
	if err != nil {
		t.Fatalf("make a BPF map (needs root): %v", err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

// TestEach reads all entries once whatever the size of the batches, also
// where buckets hold more than a batch does.
func TestEach(t *testing.T) {
	for _, entries := range []int{0, 1, 100, 1024} {
		m := newMap(t, 8, 1024)
		for i := range uint64(entries) {
			if err := m.Put(16*i, i); err != nil {
				t.Fatal(err)
			}
		}
		for _, n := range []int{1, 2, 7, 100, 1024, 5000} {
			seen := make(map[uint64]uint64)
			calls := 0
			err := eachOf(m, n, func(key uint64, value *uint64) { calls++; seen[key] = *value })
			if err != nil || calls != entries || len(seen) != entries {
				t.Errorf("%d entries in batches of %d: %d calls for %d keys (%v)", entries, n, calls, len(seen), err)
			}
			for k, v := range seen {
				if k != 16*v {
					t.Errorf("key %d has value %d", k, v)
				}
			}
		}
	}
}

func TestReadBlocks(t *testing.T) {
	blocks, err := readBlocks(func(f func(uint64, bpf.Block)) error {
		f(0x3000, bpf.Block{Size: 5 << 30, Stack: 9, Mark: 2, Function: 3, Mb: 10})
		f(0x1000, bpf.Block{Size: 1})
		f(0xffff800000000000, bpf.Block{Size: 2})
		f(0x1000, bpf.Block{Size: 1}) // seen twice
		return nil
	}, 1<<60)
	if err != nil || len(blocks) != 3 {
		t.Fatalf("%d blocks (%v)", len(blocks), err)
	}
	want := Block{Address: 0x3000, Size: 5 << 30, Stack: 9, Mark: 2, Function: 3, MB: 10}
	if blocks[0].Address != 0x1000 || blocks[1] != want || blocks[2].Address != 0xffff800000000000 {
		t.Errorf("blocks %+v", blocks)
	}
	if n := (&Snapshot{Blocks: blocks}).Bytes(); n != 5<<30+3 {
		t.Errorf("%d bytes", n)
	}
}

// TestReadStacks: no more frames are read than there is room for, whatever
// the map says, and each with its own exact bit.
func TestReadStacks(t *testing.T) {
	m := newMap(t, uint32(unsafe.Sizeof(bpf.Stack{})), 8)
	var s bpf.Stack
	for i := range s.Pc {
		s.Pc[i] = uint64(i)
	}
	s.Exact[0], s.Exact[1], s.Exact[3] = 1, 1<<36, 1<<47
	for key, frames := range map[uint64]uint16{1: 3, 2: 240, 3: 1 << 15} {
		s.Number, s.Frames, s.End = uint32(10+key), frames, uint16(key)
		if err := m.Put(key, &s); err != nil {
			t.Fatal(err)
		}
	}
	stacks, err := readStacks(m)
	if err != nil || len(stacks) != 3 {
		t.Fatalf("%d stacks (%v)", len(stacks), err)
	}
	accounts := make([]bpf.StackAccount, 13)
	accounts[11].Objects, accounts[12].Bytes = 7, 8
	account(stacks, accounts) // those of 13 are not there yet
	for number, want := range map[uint32][2]uint64{11: {7, 0}, 12: {0, 8}, 13: {0, 0}} {
		if s := stacks[number]; s.AllocatedObjects != want[0] || s.AllocatedBytes != want[1] {
			t.Errorf("stack %d has %d objects, %d bytes; want %v", number, s.AllocatedObjects, s.AllocatedBytes, want)
		}
	}
	for key, frames := range map[uint32]int{1: 3, 2: 240, 3: 240} {
		got := stacks[10+key]
		if len(got.PC) != frames || len(got.Exact) != frames || uint32(got.End) != key {
			t.Errorf("stack %d has %d frames, ends %v", key, len(got.PC), got.End)
		}
		for i, exact := range got.Exact {
			if want := i == 0 || i == 100 || i == 239; exact != want || got.PC[i] != uint64(i) {
				t.Errorf("stack %d, frame %d: 0x%x, exact %v", key, i, got.PC[i], exact)
			}
		}
	}
}

// TestTables: each page has its own slots, in whatever order they were read, and
// one that was read twice is there once.
func TestTables(t *testing.T) {
	var tables Tables
	slots := []uint32{7, 8, 9}
	for _, of := range []bpf.SlotTable{
		{Page: 0x3000, First: 64, Size: 100, Function: bpf.FunctionAllocPage, Slots: slots[:2]},
		{Page: 0x1000, First: 32, Size: 8, Slots: slots[2:]},
		{Page: 0x3000, First: 64, Size: 100, Function: bpf.FunctionAllocPage, Slots: slots[:2]},
		{Page: 0x2000, First: 32, Size: 8},
	} {
		tables.add(of)
	}
	tables.sort()
	if pages := slices.Collect(tables.Pages()); !slices.Equal(pages, []uint64{0x1000, 0x2000, 0x3000}) {
		t.Errorf("pages %#x", pages)
	}
	for _, c := range []struct {
		page, offset uint64
		stack        uint32
		size         uint16
	}{{0x3000, 64, 7, 100}, {0x3000, 164, 8, 100}, {0x3000, 264, bpf.StackNone, 100}, {0x1000, 32, 9, 8}, {0x2000, 32, bpf.StackNone, 8}, {0x4000, 0, bpf.StackNone, 0}} {
		of := tables.Of(c.page)
		if stack, _ := of.At(c.offset); stack != c.stack || of.Size != c.size {
			t.Errorf("page %#x: stack %d at %d, objects of %d; want %d, %d", c.page, stack, c.offset, of.Size, c.stack, c.size)
		}
	}
	if of := tables.Of(0x3000); of.First != 64 || of.Function != bpf.FunctionAllocPage {
		t.Errorf("slots %+v", of)
	}
}
