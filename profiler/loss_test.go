// SPDX-License-Identifier: Apache-2.0

package profiler_test

import (
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"

	"leakprof/bpf"
	"leakprof/profiler"
	"leakprof/profiler/internal/fixture"
)

// TestLiveSetFull fills the live set: what comes then is counted, and nothing
// that is in leaves it.
func TestLiveSetFull(t *testing.T) {
	t.Parallel()
	const least = 1024 // that there is room for
	p := startPlain(t)
	prof := attach(t, p, profiler.Options{MaxMemory: 1})
	p.Do(t, "keep 900")
	expect(t, prof, p, nil)
	first := snapshot(t, prof)
	p.Do(t, "keep 3000")
	truth, s := p.Truth(t), snapshot(t, prof)
	if len(s.Blocks) < least || len(s.Blocks) == 3900 {
		t.Fatalf("%d blocks in the live set, want at least %d, but not all", len(s.Blocks), least)
	}
	live := make(map[uint64]bool)
	for _, b := range s.Blocks {
		live[b.Address] = true
	}
	for _, b := range first.Blocks {
		if !live[b.Address] {
			t.Errorf("block 0x%x was evicted", b.Address)
		}
	}
	var lost, lostBytes uint64
	for a, b := range truth.Blocks {
		if !live[a] {
			lost, lostBytes = lost+1, lostBytes+b.Least
		}
	}
	if got := s.Counters[bpf.LiveFull]; got != lost {
		t.Errorf("%d blocks counted as not kept, %d are not there", got, lost)
	}
	if got := s.Counters[bpf.LiveFullBytes]; got != lostBytes {
		t.Errorf("%d bytes counted as not kept, want %d", got, lostBytes)
	}
	p.Do(t, "free-kept 3900")
	// Those that were not kept are freed as unknown; then there is room again.
	p.Do(t, "keep 10")
	s = snapshot(t, prof)
	if s.Counters[bpf.FreeUnknown] != lost || len(s.Blocks) != 10 || s.Counters[bpf.LiveFull] != lost {
		t.Errorf("%d frees of unknown blocks, %d live, %d not kept; want %d, 10, %d",
			s.Counters[bpf.FreeUnknown], len(s.Blocks), s.Counters[bpf.LiveFull], lost, lost)
	}
}

// TestStacksFull has more distinct stacks than there is room for: their
// blocks are kept without one.
func TestStacksFull(t *testing.T) {
	t.Parallel()
	const capacity = 8
	p := startPlain(t)
	prof := attach(t, p, profiler.Options{MaxMemory: smallMemory, MaxStacks: capacity})
	p.Do(t, "recurse-and-keep 19") // 20 of recurse-and-keep's own, and more that are freed
	s := snapshot(t, prof)
	without := 0
	for _, b := range s.Blocks {
		if _, ok := s.Stacks[b.Stack]; !ok {
			without++
		}
	}
	if len(s.Stacks) != capacity || len(s.Blocks) != 20 || without == 0 {
		t.Errorf("%d stacks, %d blocks, %d of them without a stack; want %d, 20, some", len(s.Stacks), len(s.Blocks), without, capacity)
	}
	// Each level allocates thrice, at three places.
	if got := s.Counters[bpf.StacksFull]; got != 3*20-capacity {
		t.Errorf("%d stacks counted as not kept, want %d", got, 3*20-capacity)
	}
}

// TestMissedFree gives out an address again whose free nobody saw.
func TestMissedFree(t *testing.T) {
	t.Parallel()
	p := startPlain(t)
	prof := attach(t, p, profiler.Options{MaxMemory: smallMemory})
	p.Do(t, "missed-free")
	expect(t, prof, p, map[bpf.Counter]uint64{bpf.MissedFree: 1, bpf.MissedFreeBytes: 4000})
}

// probeReturns places return probes that do nothing on a function of the
// fixture, as another tool might.
func probeReturns(t *testing.T, p *fixture.Process, function string) {
	t.Helper()
	prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type: ebpf.Kprobe, License: "GPL",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 0), asm.Return()},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { prog.Close() })
	ex, err := link.OpenExecutable(p.Path)
	if err != nil {
		t.Fatal(err)
	}
	l, err := ex.Uretprobe(function, prog, &link.UprobeOptions{PID: p.PID})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
}

// TestOtherReturnProbes walks stacks on which thirty return addresses are the
// kernel's, for return probes that have not fired yet.
func TestOtherReturnProbes(t *testing.T) {
	t.Parallel()
	p := startPlain(t)
	prof := attach(t, p, profiler.Options{MaxMemory: smallMemory})
	probeReturns(t, p, "recurse")
	probeReturns(t, p, "recurse_and_keep")
	probeReturns(t, p, "leaf") // hop_second jumps to it: nothing is between
	for _, c := range []string{"recurse 29", "recurse-and-keep 30", "shapes", "tail-calls", "recurse 61"} {
		p.Do(t, c)
		expect(t, prof, p, nil)
	}
}

// The kernel keeps 64 return probes pending on a thread (MAX_URETPROBE_DEPTH,
// kernel/events/uprobes.c); one more is not placed.
const returnDepth = 64

// TestReturnProbeDepth allocates where the kernel places no return probe any
// more: the blocks are lost, and counted.
func TestReturnProbeDepth(t *testing.T) {
	t.Parallel()
	p := startPlain(t)
	prof := attach(t, p, profiler.Options{MaxMemory: smallMemory})
	probeReturns(t, p, "recurse")
	probeReturns(t, p, "recurse_and_keep")
	p.Do(t, "recurse 69")
	p.Do(t, "keep 1") // lets the lost return be noticed
	s := snapshot(t, prof)
	if len(s.Blocks) != 1 || s.Counters[bpf.ReturnLost] != 1 || s.Counters[bpf.ReturnLostBytes] != 77 {
		t.Errorf("%d blocks, %d returns of %d bytes lost; want 1, 1, 77", len(s.Blocks), s.Counters[bpf.ReturnLost], s.Counters[bpf.ReturnLostBytes])
	}
	if h := s.Hits["malloc"]; h.Entered != h.Returned+1 {
		t.Errorf("malloc was entered %d times and returned %d times, want one less", h.Entered, h.Returned)
	}

	// At each level: a pair, a block that stays, and a pair on the way back.
	const levels = 70
	before := s.Counters
	p.Do(t, "recurse-and-keep 69")
	p.Do(t, "keep 1")
	s = snapshot(t, prof)
	const lostLevels = levels - returnDepth + 1
	if got, want := s.Counters[bpf.ReturnLost]-before[bpf.ReturnLost], uint64(3*lostLevels); got != want {
		t.Errorf("%d returns lost, want %d", got, want)
	}
	if got, want := s.Counters[bpf.ReturnLostBytes]-before[bpf.ReturnLostBytes], uint64((79+80+81)*lostLevels); got != want {
		t.Errorf("returns of %d bytes lost, want %d", got, want)
	}
	// The pairs' frees are seen, and their blocks never were.
	if got, want := s.Counters[bpf.FreeUnknown]-before[bpf.FreeUnknown], uint64(2*lostLevels); got != want {
		t.Errorf("%d frees of blocks never seen, want %d", got, want)
	}
	if got, want := len(s.Blocks), 2+levels-lostLevels; got != want {
		t.Errorf("%d live blocks, want %d", got, want)
	}
	names, truth := newSymbols(prof), p.Truth(t)
	for _, b := range s.Blocks {
		if err := names.stackIsRight(s.Stacks[b.Stack], truth.Blocks[b.Address]); err != nil {
			t.Errorf("block 0x%x: %v", b.Address, err)
		}
	}
}

// TestReallocReturnLost resizes known blocks where the return is lost: nobody
// knows where they are then, but the account still adds up.
func TestReallocReturnLost(t *testing.T) {
	t.Parallel()
	p := startPlain(t)
	prof := attach(t, p, profiler.Options{MaxMemory: smallMemory})
	probeReturns(t, p, "recurse_then_realloc")
	p.Do(t, "keep 6") // 100 to 105 bytes
	p.Do(t, "recurse-then-realloc 69")
	p.Do(t, "bulk-allocate 1") // two blocks; lets the last lost return be noticed
	s := snapshot(t, prof)
	if s.Counters[bpf.ReturnLost] != 6 || s.Counters[bpf.FreedObjects] != 6 || s.Counters[bpf.FreedBytes] != 615 {
		t.Errorf("%d returns lost, %d objects of %d bytes freed; want 6, 6, 615",
			s.Counters[bpf.ReturnLost], s.Counters[bpf.FreedObjects], s.Counters[bpf.FreedBytes])
	}
	if account := s.Counters[bpf.AllocatedBytes] - s.Counters[bpf.FreedBytes]; account != s.Bytes() || len(s.Blocks) != 2 {
		t.Errorf("the account says %d bytes, the live set has %d in %d blocks", account, s.Bytes(), len(s.Blocks))
	}
}

// TestFreesBelowLostReturn frees a block that is known while a return is lost
// further up.
func TestFreesBelowLostReturn(t *testing.T) {
	t.Parallel()
	p := startPlain(t)
	prof := attach(t, p, profiler.Options{MaxMemory: smallMemory})
	probeReturns(t, p, "recurse_then_free")
	p.Do(t, "keep 5")
	p.Do(t, "recurse-then-free 69")
	s := snapshot(t, prof)
	if s.Counters[bpf.FreedObjects] != 5 || len(s.Blocks) != 0 {
		t.Errorf("%d blocks freed, %d live; want 5, 0", s.Counters[bpf.FreedObjects], len(s.Blocks))
	}
}
