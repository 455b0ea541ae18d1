// SPDX-License-Identifier: Apache-2.0

package profiler_test

import (
	"context"
	"debug/elf"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"leakprof/bpf"
	"leakprof/profiler"
	"leakprof/profiler/internal/fixture"
	"leakprof/profiler/internal/kerneltest"
	"leakprof/profiler/live"
	"leakprof/profiler/target"
)

// attach follows a fixture and checks at the end that the kernel lost nothing.
func attach(t testing.TB, p *fixture.Process, o profiler.Options) *profiler.Profiler {
	t.Helper()
	kerneltest.NeedsMode(t, o.Attach)
	o.PID, o.AnyProgram = p.PID, true
	prof, err := profiler.Attach(context.Background(), o)
	if err != nil {
		t.Fatalf("attach (needs root): %v", err)
	}
	t.Cleanup(func() {
		if missed, err := prof.Missed(); err != nil || missed != 0 {
			t.Errorf("the kernel did not run %d programs (%v)", missed, err)
		}
		if err := prof.Close(); err != nil {
			t.Error(err)
		}
	})
	return prof
}

// snapshot takes a snapshot of a fixture that waits for its next command.
func snapshot(t testing.TB, prof *profiler.Profiler) *live.Snapshot {
	t.Helper()
	s, err := prof.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	if s.Moved != 0 {
		t.Fatalf("%d blocks moved while the target waited", s.Moved)
	}
	return s
}

// symbols reads names from .symtab with debug/elf alone, so that the truth
// does not rest on the packages under test.
type symbols struct {
	modules []*target.Module
	own     map[string]bool // paths of files with a .symtab of ours
	tables  map[*target.Module][]elf.Symbol
}

func newSymbols(prof *profiler.Profiler) *symbols {
	s := &symbols{own: make(map[string]bool), tables: make(map[*target.Module][]elf.Symbol)}
	s.modules = prof.Modules()
	for _, m := range s.modules {
		all, _ := m.ELF.Symbols()
		s.own[m.Path] = len(all) > 0 && !strings.HasPrefix(m.Path, "/usr/lib") && m.Path != "[vdso]"
		s.tables[m] = all
	}
	return s
}

// name returns the function of ours at addr, or "~" in a library, or "?".
func (s *symbols) name(addr uint64) string {
	// The last one found is there now, where another one was before.
	for _, m := range slices.Backward(s.modules) {
		if !m.Contains(addr) {
			continue
		}
		if !s.own[m.Path] {
			return "~"
		}
		for _, sym := range s.tables[m] {
			at := addr - m.Bias
			if elf.ST_TYPE(sym.Info) == elf.STT_FUNC && at >= sym.Value && at < sym.Value+sym.Size {
				name, _, _ := strings.Cut(sym.Name, ".")
				return name
			}
		}
		return fmt.Sprintf("%s+0x%x", filepath.Base(m.Path), addr-m.Bias)
	}
	return fmt.Sprintf("?0x%x", addr)
}

// calls returns a stack in the truth's words: without the allocation function
// itself and quiet functions, and libraries' frames in a row as one "~".
func (s *symbols) calls(st live.Stack) []string {
	var all []string
	for i, pc := range st.PC {
		if i == 0 {
			continue
		}
		if !st.Exact[i] {
			pc--
		}
		name := s.name(pc)
		if strings.HasPrefix(name, "quiet_") || name == "~" && len(all) > 0 && all[len(all)-1] == "~" {
			continue
		}
		all = append(all, name)
	}
	return all
}

// start is how a process's and a thread's stack end below main, and that of a
// constructor.
var start = [][]string{{"~", "_start"}, {"~"}}

// matches compares a stack with the truth. Where truth says "~", any number
// of libraries' frames may be, none included.
func matches(got []string, truth []string) bool {
	for len(truth) > 0 {
		if truth[0] == "~" {
			truth = truth[1:]
			if len(got) > 0 && got[0] == "~" {
				got = got[1:]
			}
			continue
		}
		if len(got) == 0 || got[0] != truth[0] {
			return false
		}
		got, truth = got[1:], truth[1:]
	}
	return len(got) == 0
}

// stackIsRight compares the stack of a block with what the fixture says.
func (s *symbols) stackIsRight(st live.Stack, b fixture.Block) error {
	got := s.calls(st)
	if st.End.String() != b.End {
		if len(b.Calls)+1 < bpf.MaxFrames || st.End != bpf.StackTooDeep {
			return fmt.Errorf("stack ends %q, want %q", st.End, b.End)
		}
		// Cut at the limit: the innermost frames are all there.
		if len(st.PC) != bpf.MaxFrames || !matches(got, b.Calls[:bpf.MaxFrames-1]) {
			return fmt.Errorf("cut stack of %d frames is not the innermost part", len(st.PC))
		}
		return nil
	}
	if st.End != bpf.StackComplete {
		if !matches(got, b.Calls) {
			return fmt.Errorf("stack is %v, want %v", got, b.Calls)
		}
		return nil
	}
	for _, end := range start {
		if matches(got, append(slices.Clip(slices.Clone(b.Calls)), end...)) {
			return nil
		}
	}
	return fmt.Errorf("stack is %v, want %v and the start of a process or thread", got, b.Calls)
}

// sameFunction allows for aligned_alloc being memalign in glibc before 2.38.
func sameFunction(got, want string) bool {
	return got == want || got == "memalign" && want == "aligned_alloc"
}

// expect compares the live set with the fixture's truth: every block with its
// size, function and stack, and every counter. counters are those that differ
// from the fixture's or that it does not know.
func expect(t testing.TB, prof *profiler.Profiler, p *fixture.Process, counters map[bpf.Counter]uint64) *live.Snapshot {
	t.Helper()
	truth := p.Truth(t)
	s := snapshot(t, prof)
	names := newSymbols(prof)
	compareBlocks(t, s, names, truth)
	if truth.Loose {
		counters = withLoose(counters, s.Counters)
	}
	for i, got := range s.Counters {
		c := bpf.Counter(i)
		want, known := counters[c]
		if !known {
			want = truth.Counters[c.String()]
		}
		if got != want {
			t.Errorf("counter %q is %d, want %d", c, got, want)
		}
	}
	if objects := s.Counters[bpf.AllocatedObjects] - s.Counters[bpf.FreedObjects] - s.Counters[bpf.LiveFull]; objects != uint64(len(s.Blocks)) {
		t.Errorf("the account says %d live blocks, the live set has %d", objects, len(s.Blocks))
	}
	if bytes := s.Counters[bpf.AllocatedBytes] - s.Counters[bpf.FreedBytes] - s.Counters[bpf.LiveFullBytes]; bytes != s.Bytes() {
		t.Errorf("the account says %d live bytes, the live set has %d", bytes, s.Bytes())
	}
	return s
}

// withLoose takes the account as it is, where a library allocated and freed
// on its own.
func withLoose(counters map[bpf.Counter]uint64, got bpf.Counters) map[bpf.Counter]uint64 {
	loose := map[bpf.Counter]uint64{}
	for _, c := range []bpf.Counter{bpf.AllocatedObjects, bpf.AllocatedBytes, bpf.FreedObjects, bpf.FreedBytes, bpf.FreeUnknown} {
		loose[c] = got[c]
	}
	for c, n := range counters {
		loose[c] = n
	}
	return loose
}

func compareBlocks(t testing.TB, s *live.Snapshot, names *symbols, truth *fixture.Truth) {
	t.Helper()
	const most = 5
	wrong := 0
	fail := func(format string, args ...any) {
		t.Helper()
		if wrong++; wrong <= most {
			t.Errorf(format, args...)
		}
	}
	seen := make(map[uint64]bool)
	library := 0
	for _, b := range s.Blocks {
		st, ok := s.Stacks[b.Stack]
		if !ok {
			fail("block 0x%x has no stack", b.Address)
			continue
		}
		want, ok := truth.Blocks[b.Address]
		if !ok {
			if calls := names.calls(st); len(calls) > 0 && calls[0] == "~" && st.End == bpf.StackComplete {
				library++
				continue
			}
			fail("block 0x%x of %d bytes is not live: %s, %v", b.Address, b.Size, b.Function, names.calls(st))
			continue
		}
		seen[b.Address] = true
		if b.Size < want.Least || b.Size > want.Most {
			fail("block 0x%x has %d bytes, want %d to %d", b.Address, b.Size, want.Least, want.Most)
		}
		if !sameFunction(b.Function.String(), want.Function) {
			fail("block 0x%x is of %s, want %s", b.Address, b.Function, want.Function)
		}
		if err := names.stackIsRight(st, want); err != nil {
			fail("block 0x%x of %s: %v", b.Address, b.Function, err)
		}
	}
	if library > truth.Library {
		fail("libraries hold %d blocks, want at most %d", library, truth.Library)
	}
	for a, b := range truth.Blocks {
		if !seen[a] && !b.Old {
			fail("block 0x%x of %d bytes by %s in %v is missing", a, b.Least, b.Function, b.Calls)
		}
	}
	if wrong > most {
		t.Errorf("and %d more", wrong-most)
	}
}
