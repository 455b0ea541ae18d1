// SPDX-License-Identifier: Apache-2.0

package profiler_test

import (
	"debug/elf"
	"slices"
	"testing"

	"leakprof/bpf"
	"leakprof/profiler/internal/fixture"
	"leakprof/profiler/live"
	"leakprof/profiler/plan"
	"leakprof/profiler/target"
	"leakprof/profiler/unwind"
)

// pretend probes a function of the fixture as if it was one of libc's, for
// losses that no libc causes.
func pretend(t *testing.T, p *fixture.Process, function, as string) *bpf.Programs {
	t.Helper()
	process, err := target.Open(p.PID)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { process.Close() })
	modules, err := process.Modules()
	if err != nil {
		t.Fatal(err)
	}
	var areas []bpf.Area
	for _, m := range modules {
		t.Cleanup(func() { m.Close() })
		table, err := unwind.NewTable(m.ELF)
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range m.Areas {
			if a.Exec {
				areas = append(areas, bpf.Area{Start: a.Start, End: a.End, Bias: m.Bias, Table: table})
			}
		}
	}
	symbols, err := modules[0].ELF.Symbols()
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(symbols, func(s elf.Symbol) bool { return s.Name == function })
	if i < 0 {
		t.Fatalf("the fixture has no %s", function)
	}
	programs, err := bpf.Load(bpf.Config{PID: p.PID, Areas: areas})
	if err != nil {
		t.Fatalf("load (needs root): %v", err)
	}
	t.Cleanup(func() { programs.Close() })
	site := plan.Site{Event: plan.BlockAllocated, Function: as, Module: modules[0], Address: symbols[i].Value, Return: as != "free_page"}
	if err := programs.Attach(p.PID, []plan.Site{site}); err != nil {
		t.Fatal(err)
	}
	return programs
}

// counted returns the counters that are not zero.
func counted(t *testing.T, p *bpf.Programs) map[string]uint64 {
	t.Helper()
	s, err := live.Read(p)
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string]uint64)
	for i, n := range s.Counters {
		if n != 0 {
			all[bpf.Counter(i).String()] = n
		}
	}
	return all
}

func expectCounted(t *testing.T, p *bpf.Programs, want map[bpf.Counter]uint64) {
	t.Helper()
	got := counted(t, p)
	for c, n := range want {
		if got[c.String()] != n {
			t.Errorf("counter %q is %d, want %d", c, got[c.String()], n)
		}
		delete(got, c.String())
	}
	for c, n := range got {
		t.Errorf("counter %q is %d, want 0", c, n)
	}
}

// TestNestedTooDeep nests more calls in one another than are kept; the
// outermost counts all the same.
func TestNestedTooDeep(t *testing.T) {
	t.Parallel()
	const kept = 8 // MAX_PENDING
	p := startPlain(t)
	programs := pretend(t, p, "recurse", "malloc")
	p.Do(t, "recurse 7")
	expectCounted(t, programs, map[bpf.Counter]uint64{bpf.AllocatedObjects: 1, bpf.AllocatedBytes: 7})
	p.Do(t, "recurse 11") // 12 calls
	expectCounted(t, programs, map[bpf.Counter]uint64{
		bpf.AllocatedObjects: 2, bpf.AllocatedBytes: 7 + 11,
		bpf.PendingFull: 12 - kept, bpf.ReturnUnmatched: 12 - kept,
	})
}

// TestResultUnreadable has posix_memalign succeed with its pointer where
// nothing can be read.
func TestResultUnreadable(t *testing.T) {
	t.Parallel()
	p := startPlain(t)
	programs := pretend(t, p, "pretend_posix_memalign", "posix_memalign")
	p.Do(t, "pretend 3")
	expectCounted(t, programs, map[bpf.Counter]uint64{bpf.ResultReadFailed: 3})
}

// TestObjectWithoutEntry has objects returned by calls whose entries were not
// seen, as of those under way when the probes come: of an islab, nobody knows
// then. That says nothing against the function.
func TestObjectWithoutEntry(t *testing.T) {
	t.Parallel()
	p := startPlain(t)
	programs := pretend(t, p, "recurse", "isl_alloc")
	p.Do(t, "recurse 0")
	expectCounted(t, programs, map[bpf.Counter]uint64{bpf.ReturnUnmatched: 1})
	tests, err := programs.Tests()
	if err != nil || tests["isl_alloc"].Failed != 0 {
		t.Errorf("tests of the function: %+v (%v)", tests["isl_alloc"], err)
	}
}
