// SPDX-License-Identifier: Apache-2.0

package glibc

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"leakprof/profiler/internal/fixture"
	"leakprof/profiler/target"
)

// libraries are the C libraries to try, as flags of the linker: the machine's
// own, and those of the roots of scripts/bird-root.
func libraries(t testing.TB) map[string]string {
	t.Helper()
	all := map[string]string{"own": "", "static": "-static"}
	for _, root := range []string{"bird3-trixie", "bird2-sid"} {
		dir, err := filepath.Abs(filepath.Join("../../.bird", root))
		if err != nil {
			t.Fatal(err)
		}
		loader := filepath.Join(dir, "lib64/ld-linux-x86-64.so.2")
		if _, err := os.Stat(loader); err != nil {
			t.Fatalf("BIRD %s is missing: scripts/bird-root %s", root, root)
		}
		all[root] = "-Wl,--dynamic-linker=" + loader + " -Wl,-rpath=" + filepath.Join(dir, "lib/x86_64-linux-gnu")
	}
	return all
}

var (
	buildMutex sync.Mutex
	built      = make(map[string]string)
	buildDir   string
)

func TestMain(m *testing.M) {
	code := m.Run()
	if buildDir != "" {
		os.RemoveAll(buildDir)
	}
	os.Exit(code)
}

// build compiles testdata/blocks.c.
func build(t testing.TB, flags string) string {
	t.Helper()
	buildMutex.Lock()
	defer buildMutex.Unlock()
	if path := built[flags]; path != "" {
		return path
	}
	var err error
	if buildDir == "" {
		if buildDir, err = os.MkdirTemp("", "leakprof-glibc-"); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(buildDir, fmt.Sprintf("blocks%d", len(built)))
	args := append([]string{"-O1", "-Wall", "-Werror", "-pthread", "-o", path, "testdata/blocks.c"}, strings.Fields(flags)...)
	if out, err := exec.Command("gcc", args...).CombinedOutput(); err != nil {
		t.Fatalf("compile (apt-get install -y gcc libc6-dev): %v\n%s", err, out)
	}
	built[flags] = path
	return path
}

func start(t testing.TB, flags string, env ...string) (*fixture.Process, *target.Process) {
	t.Helper()
	f := fixture.Start(t, build(t, flags), env...)
	p, err := target.Open(f.PID)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return f, p
}

func walk(t testing.TB, p *target.Process) *Heap {
	t.Helper()
	usage, err := p.Usage()
	if err != nil {
		t.Fatal(err)
	}
	h, err := Walk(p, usage, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// foreign is how many blocks the C library may have for itself: of the loader,
// and of each thread.
const foreign = 8

// check compares the heap with what the program says it has.
func check(t *testing.T, f *fixture.Process, p *target.Process, threads uint64) {
	t.Helper()
	lines := f.Do(t, "truth")
	h := walk(t, p)
	if !h.Consistent || len(h.Doubts) > 0 {
		t.Errorf("consistent: %v, doubts %q", h.Consistent, h.Doubts)
	}
	var inUse, free, mappings, mapped uint64
	if _, err := fmt.Sscanf(lines[0], "arena %d %d %d %d", &inUse, &free, &mappings, &mapped); err != nil {
		t.Fatal(err)
	}
	wrong := 0
	for _, line := range lines[1:] {
		var addr, size, usable uint64
		if _, err := fmt.Sscanf(line, "block 0x%x %d %d", &addr, &size, &usable); err != nil {
			t.Fatal(err)
		}
		c, ok := h.Find(addr)
		if !ok || c.State() != InUse || c.Usable() != usable {
			if wrong++; wrong < 5 {
				t.Errorf("block 0x%x of %d bytes, usable %d: found %v, %v, usable %d", addr, size, usable, ok, c.State(), c.Usable())
			}
		}
	}
	if wrong > 0 {
		t.Errorf("%d of %d blocks are wrong", wrong, len(lines)-1)
	}
	sums := h.Sums()
	var gotMapped, gotMappings, others uint64
	for c := range h.Chunks() {
		if c.Mapped() {
			start, end := c.Extent()
			gotMapped += end - start
			gotMappings++
		}
		if c.State() == InUse {
			others++
		}
	}
	others -= uint64(len(lines) - 1)
	t.Logf("%d blocks, %d others, %v, %d mappings, %d arenas, %d walks in %v", len(lines)-1, others, sums, gotMappings, h.Arenas, h.Walks, h.Duration)
	if others > foreign*(1+threads) {
		t.Errorf("%d chunks more than blocks are in use", others)
	}
	// glibc 2.43 adds a few bytes to its sum at each realloc.
	if gotMappings != mappings || gotMapped > mapped || mapped-gotMapped >= pageSize {
		t.Errorf("%d bytes in %d mappings, malloc says %d in %d", gotMapped, gotMappings, mapped, mappings)
	}
	// malloc counts what its threads keep as in use, and fastbins as free.
	if got := sums[Free].Bytes + sums[Top].Bytes; got > free || got+sums[Cached].Bytes < free {
		t.Errorf("%d bytes free, and %d cached, malloc says %d", got, sums[Cached].Bytes, free)
	}
	// In other arenas malloc counts the arena itself and the heads of its heaps.
	heads := inUse + free - (total(sums) - gotMapped)
	if others := uint64(max(h.Arenas, 1) - 1); heads > 4096*others || others == 0 && heads != 0 {
		t.Errorf("%d bytes in all, malloc says %d", total(sums)-gotMapped, inUse+free)
	}
}

func total(sums map[State]Sum) (n uint64) {
	for _, s := range sums {
		n += s.Bytes
	}
	return n
}

// TestBlocks compares the walk with the truth of a program.
func TestBlocks(t *testing.T) {
	for name, flags := range libraries(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, p := start(t, flags)
			check(t, f, p, 0)
			f.Do(t, "few 1 1000")
			check(t, f, p, 0)
			for i := range 3 {
				f.Do(t, fmt.Sprintf("run %d 3000", i+2))
				check(t, f, p, 0)
			}
			f.Do(t, "fill 5000")
			check(t, f, p, 0)
			f.Do(t, "drop")
			check(t, f, p, 0)
			f.Do(t, "run 7 3000")
			check(t, f, p, 0)
		})
	}
}

// TestThreads has threads with arenas of their own, and with one for all.
func TestThreads(t *testing.T) {
	for name, flags := range libraries(t) {
		for _, env := range []string{"ONE_ARENA=1", "MALLOC_ARENA_MAX=3", "GLIBC_TUNABLES=glibc.malloc.tcache_count=2"} {
			t.Run(name+" "+env, func(t *testing.T) {
				t.Parallel()
				f, p := start(t, flags, env)
				f.Do(t, "run 1 5000")
				f.Do(t, "threads 3")
				check(t, f, p, 3)
			})
		}
	}
}

// TestBusy walks the heap of a program that never stops changing it: the result
// says so, or there is none.
func TestBusy(t *testing.T) {
	f, p := start(t, "", "ONE_ARENA=1")
	f.Do(t, "run 1 2000")
	f.Send(t, "busy")
	for range 20 {
		usage, err := p.Usage()
		if err != nil {
			t.Fatal(err)
		}
		h, err := Walk(p, usage, Options{})
		switch {
		case errors.Is(err, ErrTorn) || errors.Is(err, ErrNotGlibc) && errors.Is(err, errNoArena):
		case err != nil:
			t.Error(err)
		case !h.Consistent && len(h.Doubts) == 0:
			t.Error("a heap that was not consistent leaves no doubt")
		}
	}
	f.Kill()
	if _, err := Walk(p, []target.Usage{{Mapping: target.Mapping{Start: 1 << 20, End: 2 << 20, Path: "[heap]"}}}, Options{}); !errors.Is(err, target.ErrGone) {
		t.Errorf("a process that has ended: %v", err)
	}
}

func TestMusl(t *testing.T) {
	p, err := target.Open(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	for _, path := range []string{"/lib/ld-musl-x86_64.so.1", "/lib/libc.musl-x86_64.so.1"} {
		_, err := Walk(p, []target.Usage{{Mapping: target.Mapping{Path: path}}}, Options{})
		if !errors.Is(err, ErrNotGlibc) || !strings.Contains(err.Error(), "musl") {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// BenchmarkWalk walks a heap of a million chunks, as often as it takes to find
// twice the same.
func BenchmarkWalk(b *testing.B) {
	f, p := start(b, "")
	f.Do(b, "fill 1000000")
	usage, err := p.Usage()
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		h, err := Walk(p, usage, Options{})
		if err != nil {
			b.Fatal(err)
		}
		if len(h.chunks) < 900_000 || !h.Consistent {
			b.Fatalf("%d chunks", len(h.chunks))
		}
		b.ReportMetric(float64(len(h.chunks)), "chunks")
	}
}
