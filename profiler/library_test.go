// SPDX-License-Identifier: Apache-2.0

package profiler_test

import (
	"strings"
	"testing"

	"leakprof/bpf"
	"leakprof/profiler"
	"leakprof/profiler/internal/fixture"
	"leakprof/profiler/live"
)

// loadLibrary has the fixture load a library and returns where that is.
func loadLibrary(t *testing.T, p *fixture.Process, path string) string {
	t.Helper()
	answer := p.Do(t, "load "+path)
	if len(answer) != 1 {
		t.Fatalf("fixture answers %q", answer)
	}
	return answer[0]
}

// TestLoadedLibrary loads a library while the process is followed. Stacks
// through it are whole from when it is known, and counted before.
func TestLoadedLibrary(t *testing.T) {
	t.Parallel()
	p := startPlain(t)
	prof := attach(t, p, profiler.Options{MaxMemory: smallMemory})
	loadLibrary(t, p, fixture.BuildLibrary(t, ""))
	// Not known yet, unless the profiler looked in this moment.
	p.Do(t, "call-loaded 3")
	s := snapshot(t, prof)
	early := 0
	for _, b := range s.Blocks {
		if b.Size < 300 || b.Size > 302 || b.Function.String() != "malloc" {
			continue
		}
		switch end := s.Stacks[b.Stack].End; end {
		case bpf.StackComplete, bpf.StackNoArea:
			early++
		default:
			t.Errorf("block 0x%x: stack ends %q", b.Address, end)
		}
	}
	if early < 3 {
		t.Errorf("%d blocks of the library, want 3", early)
	}
	p.Do(t, "epoch")
	p.Do(t, "call-loaded 5")
	expectNew(t, prof, p, snapshot(t, prof))
}

// expectNew compares what was allocated since the last epoch.
func expectNew(t *testing.T, prof *profiler.Profiler, p *fixture.Process, s *live.Snapshot) {
	t.Helper()
	truth := p.Truth(t)
	byAddress := make(map[uint64]live.Block)
	for _, b := range s.Blocks {
		byAddress[b.Address] = b
	}
	names := newSymbols(prof)
	for a, want := range truth.Blocks {
		b, ok := byAddress[a]
		if want.Old {
			continue
		}
		if !ok {
			t.Errorf("block 0x%x is missing", a)
		} else if err := names.stackIsRight(s.Stacks[b.Stack], want); err != nil {
			t.Errorf("block 0x%x: %v", a, err)
		}
	}
}

// TestReplacedLibrary loads a library where another one was before: the rows
// of the one that is gone must not be used.
func TestReplacedLibrary(t *testing.T) {
	t.Parallel()
	p := startPlain(t)
	prof := attach(t, p, profiler.Options{MaxMemory: smallMemory})
	first, second := fixture.BuildLibrary(t, ""), fixture.BuildLibrary(t, "-DPAD=1000")
	var at string
	for i, path := range []string{first, second, first, second} {
		now := loadLibrary(t, p, path)
		if i > 0 && now != at {
			t.Logf("library %d is elsewhere than the one before: %s, %s", i, now, at)
		}
		at = now
		snapshot(t, prof) // lets the profiler look
		p.Do(t, "epoch")
		p.Do(t, "call-loaded 2")
		expectNew(t, prof, p, snapshot(t, prof))
		p.Do(t, "unload")
	}
}

// TestLibraryWithoutRows loads a library that has no unwind information: its
// stacks are cut and counted, and all else goes on.
func TestLibraryWithoutRows(t *testing.T) {
	t.Parallel()
	p := startPlain(t)
	prof := attach(t, p, profiler.Options{MaxMemory: smallMemory})
	loadLibrary(t, p, fixture.BuildLibrary(t, "-nostdlib -fno-asynchronous-unwind-tables -fno-unwind-tables -g0 -Wl,--no-ld-generated-unwind-info"))
	snapshot(t, prof)
	p.Do(t, "epoch")
	p.Do(t, "call-loaded 2")
	p.Do(t, "keep 2")
	s := snapshot(t, prof)
	ends := make(map[string]int)
	truth := p.Truth(t)
	for _, b := range s.Blocks {
		if want, ok := truth.Blocks[b.Address]; ok && !want.Old {
			ends[s.Stacks[b.Stack].End.String()]++
		}
	}
	if ends["no unwind row"] != 2 || ends["complete"] != 2 {
		t.Errorf("stacks by their end: %v, want 2 without a row and 2 complete", ends)
	}
	var without []string
	for _, err := range prof.Unreadable() {
		without = append(without, err.Error())
	}
	if len(without) != 1 || !strings.Contains(without[0], "fixture") || !strings.Contains(without[0], "no call frame information") {
		t.Errorf("files without rows: %q, want the library", without)
	}
}

// TestRowsReplaced loads a library by whose unwind information the stack ends in
// it, and then the same code with the right one to the same place: the words on
// the stack are those of before, and yet what was walked before does not hold.
func TestRowsReplaced(t *testing.T) {
	t.Parallel()
	p := startPlain(t)
	prof := attach(t, p, profiler.Options{MaxMemory: smallMemory})
	wrong := loadLibrary(t, p, fixture.BuildLibrary(t, "-DOUTERMOST"))
	snapshot(t, prof) // lets the profiler look
	p.Do(t, "call-loaded 2")
	p.Do(t, "unload")
	if right := loadLibrary(t, p, fixture.BuildLibrary(t, "")); right != wrong {
		t.Fatalf("the second library is %s, the first was %s", right, wrong)
	}
	snapshot(t, prof)
	p.Do(t, "epoch")
	p.Do(t, "call-loaded 2")
	expectNew(t, prof, p, snapshot(t, prof))
}
