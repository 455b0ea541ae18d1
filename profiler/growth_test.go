// SPDX-License-Identifier: Apache-2.0

package profiler_test

import (
	"testing"

	"leakprof/bpf"
	"leakprof/profiler"
)

// TestLiveSetGrows fills several steps of the live set; no block is lost while
// it grows, and none when it shrinks again.
func TestLiveSetGrows(t *testing.T) {
	t.Parallel()
	const blocks = 400_000 // the first two steps have room for 327,680
	p := startPlain(t)
	prof := attach(t, p, profiler.Options{MaxMemory: 256 << 20})
	p.Do(t, "bulk-allocate 400000")
	s := snapshot(t, prof)
	if len(s.Blocks) != blocks+1 { // and the array that holds them
		t.Errorf("%d blocks, want %d", len(s.Blocks), blocks+1)
	}
	if full, none := s.Counters[bpf.LiveFull], s.Counters[bpf.LiveNoMemory]; full+none != 0 {
		t.Errorf("%d blocks found the set full, %d no memory", full, none)
	}
	p.Do(t, "bulk-free 400000")
	if s = snapshot(t, prof); len(s.Blocks) != 1 || s.Counters[bpf.FreeUnknown] != 0 {
		t.Errorf("%d blocks are left, %d frees of blocks never seen", len(s.Blocks), s.Counters[bpf.FreeUnknown])
	}
}

// TestNotAccepting: while memory is short new blocks are counted and not kept,
// and those that are in can be freed.
func TestNotAccepting(t *testing.T) {
	t.Parallel()
	p := startPlain(t)
	prof := attach(t, p, profiler.Options{MaxMemory: smallMemory})
	p.Do(t, "keep 5") // 100 to 104 bytes
	if err := prof.SetAccepting(false); err != nil {
		t.Fatal(err)
	}
	p.Do(t, "keep 3") // 100 to 102
	s := snapshot(t, prof)
	if len(s.Blocks) != 5 || s.Counters[bpf.NotAccepted] != 3 || s.Counters[bpf.NotAcceptedBytes] != 100+101+102 {
		t.Errorf("%d blocks, %d of %d bytes not accepted; want 5, 3, 303", len(s.Blocks), s.Counters[bpf.NotAccepted], s.Counters[bpf.NotAcceptedBytes])
	}
	if err := prof.SetAccepting(true); err != nil {
		t.Fatal(err)
	}
	p.Do(t, "free-kept 8")
	p.Do(t, "keep 2")
	s = snapshot(t, prof)
	if len(s.Blocks) != 2 || s.Counters[bpf.FreeUnknown] != 3 {
		t.Errorf("%d blocks, %d frees of unknown ones; want 2, 3", len(s.Blocks), s.Counters[bpf.FreeUnknown])
	}
}

func TestShortOfMemory(t *testing.T) {
	const gb = 1 << 30
	for _, c := range []struct {
		what      string
		memory    profiler.Memory
		was, want bool
	}{
		{"plenty", profiler.MemoryOf(16*gb, 8*gb), false, false},
		{"a twentieth at most 512 MB is the reserve", profiler.MemoryOf(64*gb, 513<<20), false, false},
		{"below it", profiler.MemoryOf(64*gb, 511<<20), false, true},
		{"not over before half as much again is free", profiler.MemoryOf(64*gb, 700<<20), true, true},
		{"over", profiler.MemoryOf(64*gb, 800<<20), true, false},
		{"at least 128 MB", profiler.MemoryOf(gb, 127<<20), false, true},
		{"a small group", profiler.MemoryOf(256<<20, 65<<20), false, false},
		{"a small group, nearly full", profiler.MemoryOf(256<<20, 63<<20), false, true},
		{"not known", profiler.MemoryOf(0, 0), false, false},
	} {
		if got := profiler.ShortOfMemory(c.memory, c.was); got != c.want {
			t.Errorf("%s: short: %v, want %v", c.what, got, c.want)
		}
	}
}
