// SPDX-License-Identifier: Apache-2.0

// Package live reads the live set that the BPF programs keep: which blocks
// the target holds, by the stack that allocated each.
package live

import (
	"errors"
	"fmt"
	"slices"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"leakprof/bpf"
)

// Block is a live block of the C library's heap, or a page of BIRD's.
type Block struct {
	Address uint64
	Size    uint64 // as asked for, bytes
	// Stack is its number in Snapshot.Stacks; bpf.StackBefore for what was there
	// before the probes, bpf.StackNotKept where there was no room.
	Stack uint32
	Mark  uint16 // index of the mark that was current when it was allocated
	// Function returned it: bpf.FunctionAllocPage for a page, bpf.FunctionNone for
	// a block from before.
	Function bpf.Function
	MB       bpf.Function // mb_* function around it, bpf.FunctionNone if none was seen
}

// IsPage says whether it is a page of alloc_page.
func (b *Block) IsPage() bool { return b.Function == bpf.FunctionAllocPage }

// Stack is a distinct call stack.
type Stack struct {
	// PC are process addresses, innermost first: PC[0] is the allocation
	// function itself, the others are return addresses, or interrupted
	// instructions where Exact.
	PC    []uint64
	Exact []bool
	End   bpf.StackEnd
	// Allocated counts everything allocated here since the start, freed or not.
	AllocatedObjects, AllocatedBytes uint64
}

// Snapshot is the live set at one moment, or near to it: Moved tells.
type Snapshot struct {
	Time   time.Time
	Blocks []Block // sorted by address
	Stacks map[uint32]Stack
	// Slots are those of pages on which an object was allocated.
	Slots Tables
	// LinpoolObjects are sorted by address; none where they are not followed.
	LinpoolObjects []LinpoolObject
	// Counters are as they were after the reading; Moved is how many blocks
	// came or went meanwhile, 0 for an exact snapshot.
	Counters bpf.Counters
	Moved    uint64
	// MovedBytes is how much they are.
	MovedBytes uint64
	// Torn says what changed while the memory was walked, where that tells what is
	// live, and not the programs; "" if nothing did.
	Torn string
	Hits map[string]bpf.Hits
}

// Bytes is the sum of the blocks' sizes.
func (s *Snapshot) Bytes() (total uint64) {
	for _, b := range s.Blocks {
		total += b.Size
	}
	return total
}

// Read takes a snapshot while the target runs on.
func Read(p *bpf.Programs) (*Snapshot, error) {
	before, err := p.Counters()
	if err != nil {
		return nil, err
	}
	s := &Snapshot{Time: time.Now()}
	// Those that come and go are counted one by one: there may seem to be less than none.
	expect := before[bpf.AllocatedObjects] - min(before[bpf.FreedObjects], before[bpf.AllocatedObjects])
	if s.Blocks, err = readBlocks(p.EachLive, expect); err != nil {
		return nil, err
	}
	if s.Slots, err = readSlots(p); err != nil {
		return nil, err
	}
	if s.LinpoolObjects, err = readLinpoolObjects(p.LinpoolObjects()); err != nil {
		return nil, err
	}
	// Last, so that what the others name is there.
	if s.Stacks, err = readStacks(p.Stacks()); err != nil {
		return nil, err
	}
	accounts, err := p.StackAccounts()
	if err != nil {
		return nil, err
	}
	account(s.Stacks, accounts)
	if s.Counters, err = p.Counters(); err != nil {
		return nil, err
	}
	if s.Hits, err = p.Hits(); err != nil {
		return nil, err
	}
	s.Moved = s.Counters[bpf.AllocatedObjects] - before[bpf.AllocatedObjects] +
		s.Counters[bpf.FreedObjects] - before[bpf.FreedObjects]
	s.MovedBytes = s.Counters[bpf.AllocatedBytes] - before[bpf.AllocatedBytes] +
		s.Counters[bpf.FreedBytes] - before[bpf.FreedBytes]
	return s, nil
}

// batchBytes is about how much one system call reads.
const batchBytes = 1 << 20

// each calls f for every entry of a hash map, in batches. While entries come
// and go, the kernel may show one twice or not at all.
func each[V any](m *ebpf.Map, f func(key uint64, value *V)) error {
	return eachOf(m, batchBytes/int(unsafe.Sizeof(*new(V))), f)
}

// eachOf reads batches of n entries, or more where a bucket of the map holds
// more: the kernel returns whole buckets.
func eachOf[V any](m *ebpf.Map, n int, f func(key uint64, value *V)) error {
	const most = 1 << 20
	var cursor ebpf.MapBatchCursor
	keys, values := make([]uint64, n), make([]V, n)
	for {
		n, err := m.BatchLookup(&cursor, keys, values, nil)
		last := errors.Is(err, ebpf.ErrKeyNotExist)
		if err != nil && !last {
			if len(keys) < most && errors.Is(err, unix.ENOSPC) {
				keys, values = make([]uint64, 4*len(keys)), make([]V, 4*len(values))
				continue
			}
			return err
		}
		for i := range n {
			f(keys[i], &values[i])
		}
		if last {
			return nil
		}
	}
}

// readBlocks sorts the blocks that each calls its function for.
func readBlocks(each func(func(uint64, bpf.Block)) error, expect uint64) ([]Block, error) {
	const most = 1 << 26
	blocks := make([]Block, 0, min(expect+expect/64, most))
	err := each(func(address uint64, b bpf.Block) {
		blocks = append(blocks, Block{address, b.Size, b.Stack, b.Mark, bpf.Function(b.Function), bpf.Function(b.Mb)})
	})
	if err != nil {
		return nil, err
	}
	sortByAddress(blocks)
	return slices.CompactFunc(blocks, func(a, b Block) bool { return a.Address == b.Address }), nil
}

func readStacks(m *ebpf.Map) (map[uint32]Stack, error) {
	stacks := make(map[uint32]Stack)
	err := each(m, func(_ uint64, v *bpf.Stack) {
		n := min(int(v.Frames), bpf.MaxFrames)
		s := Stack{
			PC: slices.Clone(v.Pc[:n]), Exact: make([]bool, n), End: bpf.StackEnd(v.End),
		}
		for i := range n {
			s.Exact[i] = v.Exact[i/64]>>(i%64)&1 != 0
		}
		stacks[v.Number] = s
	})
	if err != nil {
		return nil, fmt.Errorf("read stacks: %w", err)
	}
	return stacks, nil
}

// account says of each stack what was allocated there, by its number. A stack
// that is newer than the accounts has none yet.
func account(stacks map[uint32]Stack, accounts []bpf.StackAccount) {
	for number, s := range stacks {
		if int(number) < len(accounts) {
			s.AllocatedObjects, s.AllocatedBytes = accounts[number].Objects, accounts[number].Bytes
			stacks[number] = s
		}
	}
}
