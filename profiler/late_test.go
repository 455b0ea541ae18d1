// SPDX-License-Identifier: Apache-2.0

package profiler_test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"leakprof/bpf"
	"leakprof/profiler"
	"leakprof/profiler/internal/fixture"
)

const (
	plainBuild  = "-O2"
	smallMemory = 64 << 20 // for tests that need no room
	// patience bounds the wait for an event on a loaded machine.
	patience = 30 * time.Second
)

var modes = []struct {
	name string
	mode bpf.AttachMode
}{{"multi", bpf.AttachMulti}, {"perf", bpf.AttachPerf}}

// startPlain starts the fixture in its usual build.
func startPlain(t testing.TB, env ...string) *fixture.Process {
	t.Helper()
	return fixture.Start(t, fixture.Build(t, "gcc", plainBuild), env...)
}

// TestBlocksFromBefore frees and resizes blocks from before leakprof came.
func TestBlocksFromBefore(t *testing.T) {
	t.Parallel()
	p := startPlain(t)
	p.Do(t, "keep 60")
	p.Do(t, "epoch")
	prof := attach(t, p, profiler.Options{MaxMemory: smallMemory})
	for _, c := range []string{"free-kept 10", "realloc-kept 7", "realloc-kept-to-zero 5", "keep 3", "realloc-kept 9"} {
		p.Do(t, c)
		expect(t, prof, p, nil)
	}
}

// TestConstructor has the probes in place before the first allocation.
func TestConstructor(t *testing.T) {
	t.Parallel()
	p := startPlain(t, "FIXTURE_CONSTRUCTOR=1")
	prof := attach(t, p, profiler.Options{MaxMemory: smallMemory})
	p.Ready(t)
	p.Do(t, "mallocs")
	expect(t, prof, p, nil)
}

// TestThreads lets eight threads allocate, resize and free each other's
// blocks at once.
func TestThreads(t *testing.T) {
	for _, m := range modes {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			p := startPlain(t)
			prof := attach(t, p, profiler.Options{Attach: m.mode})
			p.Do(t, "threads 200000")
			s := expect(t, prof, p, nil)
			if n := s.Counters[bpf.AllocatedObjects]; n < 50000 {
				t.Errorf("only %d allocations seen", n)
			}
		})
	}
}

// TestAttachToRunning attaches to a process whose threads allocate all the
// time, lets them stop, and looks for blocks that were missed or are not live.
func TestAttachToRunning(t *testing.T) {
	for _, m := range modes {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			p := startPlain(t)
			p.Do(t, "start-loop 4")
			prof := attach(t, p, profiler.Options{Attach: m.mode})
			p.Do(t, "epoch")
			waitForHits(t, prof, "malloc", 20000)
			p.Do(t, "stop-loop")
			s := snapshot(t, prof)
			compareBlocks(t, s, newSymbols(prof), p.Truth(t))
			for _, c := range []bpf.Counter{bpf.MissedFree, bpf.ReturnLost, bpf.LiveFull, bpf.LiveNoMemory, bpf.StacksFull, bpf.PendingFull, bpf.ThreadStateFailed} {
				if s.Counters[c] != 0 {
					t.Errorf("counter %q is %d", c, s.Counters[c])
				}
			}
			// A call may be under way on each thread while the probes come.
			if n := s.Counters[bpf.ReturnUnmatched]; n > 4 {
				t.Errorf("%d returns without entry", n)
			}
		})
	}
}

// waitForHits waits until function was entered n times more.
func waitForHits(t testing.TB, prof *profiler.Profiler, function string, n uint64) {
	t.Helper()
	var first uint64
	for i, deadline := 0, time.Now().Add(patience); ; i++ {
		hits, err := prof.Hits()
		if err != nil {
			t.Fatal(err)
		}
		now := hits[function].Entered
		if i == 0 {
			first = now
		}
		if now >= first+n {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d hits of %s in %v, want %d", now-first, function, patience, n)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// TestTargetDies takes the last snapshot after the process is gone.
func TestTargetDies(t *testing.T) {
	t.Parallel()
	p := startPlain(t)
	prof := attach(t, p, profiler.Options{})
	p.Do(t, "keep 100")
	p.Do(t, "start-loop 2")
	waitForHits(t, prof, "malloc", 1000)
	p.Kill()
	if prof.Process.Alive() {
		t.Error("a killed process is alive")
	}
	s := snapshot(t, prof)
	if len(s.Blocks) < 100 {
		t.Errorf("%d blocks left, want at least 100", len(s.Blocks))
	}
	for _, b := range s.Blocks {
		if st, ok := s.Stacks[b.Stack]; !ok || st.End != bpf.StackComplete {
			t.Fatalf("block 0x%x: stack ends %q", b.Address, st.End)
		}
	}
}

// TestDeletedProgram probes a program whose file was replaced by an update.
func TestDeletedProgram(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile(fixture.Build(t, "gcc", plainBuild))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(path, data, 0o755); err != nil {
		t.Fatal(err)
	}
	p := fixture.Start(t, path)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	prof := attach(t, p, profiler.Options{MaxMemory: smallMemory})
	p.Do(t, "mb")
	s := expect(t, prof, p, map[bpf.Counter]uint64{bpf.MBMismatch: 1})
	if n := s.Hits["mb_alloc"].Entered; n != 3 {
		t.Errorf("%d hits of mb_alloc, want 3", n)
	}
}

// TestPIDNamespace follows a process in a container's pid namespace, where it
// has another number than here.
func TestPIDNamespace(t *testing.T) {
	for _, m := range modes {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			p := fixture.StartIn(t, syscall.CLONE_NEWPID, fixture.Build(t, "gcc", plainBuild))
			prof := attach(t, p, profiler.Options{MaxMemory: smallMemory, Attach: m.mode})
			p.Do(t, "threads 20000")
			s := expect(t, prof, p, nil)
			if s.Counters[bpf.AllocatedObjects] == 0 {
				t.Error("no allocation was seen")
			}
		})
	}
}

// TestMark marks what is allocated from then on.
func TestMark(t *testing.T) {
	t.Parallel()
	p := startPlain(t)
	prof := attach(t, p, profiler.Options{MaxMemory: smallMemory})
	p.Do(t, "keep 10")
	if err := prof.Mark(7); err != nil {
		t.Fatal(err)
	}
	p.Do(t, "keep 5")
	p.Do(t, "realloc-kept 2")
	count := make(map[uint16]int)
	for _, b := range snapshot(t, prof).Blocks {
		count[b.Mark]++
	}
	if count[0] != 8 || count[7] != 7 || len(count) != 2 {
		t.Errorf("blocks by mark %v, want 8 of 0 and 7 of 7", count)
	}
}

// TestBlockFunctions probes mb_* by symbol and tells its blocks from others.
func TestBlockFunctions(t *testing.T) {
	t.Parallel()
	p := startPlain(t)
	prof := attach(t, p, profiler.Options{MaxMemory: smallMemory})
	p.Do(t, "mb")
	s := expect(t, prof, p, map[bpf.Counter]uint64{bpf.MBMismatch: 1})
	want := map[uint64]string{33: "mb_alloc", 36: "mb_realloc", 37: "", 6: ""}
	for _, b := range s.Blocks {
		if b.MB.String() != want[b.Size] {
			t.Errorf("block of %d bytes is of %q, want %q", b.Size, b.MB, want[b.Size])
		}
	}
	if n := s.Hits["mb_alloc"].Entered; n != 3 {
		t.Errorf("%d hits of mb_alloc, want 3", n)
	}
	if n := s.Hits["mb_free"].Entered; n != 1 {
		t.Errorf("%d hits of mb_free, want 1", n)
	}
}
