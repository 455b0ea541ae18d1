// SPDX-License-Identifier: Apache-2.0

package bird_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"leakprof/profiler/bird"
	"leakprof/profiler/internal/fixture"
	"leakprof/profiler/target"
)

func TestMain(m *testing.M) { os.Exit(fixture.Run(m)) }

// start starts a program and returns what Find needs of it.
func start(t *testing.T, path string) (*fixture.Process, *target.Process, *target.Module) {
	t.Helper()
	f := fixture.Start(t, path)
	p, err := target.Open(f.PID)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	modules, err := p.Modules()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, m := range modules {
			m.Close()
		}
	})
	return f, p, modules[0]
}

func TestFind(t *testing.T) {
	for _, c := range []struct {
		flags      string
		generation bird.Generation
		header     uint64 // sizeof(struct mblock)
		event      uint64
	}{
		{"-DGENERATION=2", bird.BIRD2, 32, 56},
		{"-DGENERATION=3", bird.BIRD3, 0, 64},
		{"-DGENERATION=2 -no-pie -fno-pie", bird.BIRD2, 32, 56},
		{"-DGENERATION=3 -s -Wl,-z,relro,-z,now", bird.BIRD3, 0, 64},
	} {
		t.Run(c.flags, func(t *testing.T) {
			t.Parallel()
			f, p, exe := start(t, fixture.Compile(t, "gcc", "-O2 "+c.flags, "birdlike.c"))
			b, err := bird.Find(p, exe)
			if err != nil {
				t.Fatal(err)
			}
			if b.Generation != c.generation || b.MblockHeader != c.header {
				t.Errorf("generation %d, header of %d bytes; want %d, %d", b.Generation, b.MblockHeader, c.generation, c.header)
			}
			var memory, block, sized, stale, plain uint64
			if _, err := fmt.Sscanf(strings.ReplaceAll(f.Said[0], "0x", ""), "%x %x %x %x %x", &memory, &block, &sized, &stale, &plain); err != nil {
				t.Fatalf("fixture says %q: %v", f.Said, err)
			}
			want := map[string]uint64{"Pool": 80, "LinPool": 104, "Slab": 120, "Memory": 0, "Event": c.event}
			for a, got := range b.Classes {
				if size, ok := want[got.Name]; !ok || size != got.Size || got.Address != a {
					t.Errorf("class %q of %d bytes at 0x%x, 0x%x", got.Name, got.Size, got.Address, a)
				}
				if (got.Name == bird.MemoryClass) != (a == memory) {
					t.Errorf("class %q is at 0x%x, Memory at 0x%x", got.Name, a, memory)
				}
			}
			if len(b.Classes) != len(want) {
				t.Errorf("%d classes, want %d", len(b.Classes), len(want))
			}

			blocks, err := b.Classify(p, []uint64{block, sized, stale, plain, 8, sized}, []uint64{140, c.event, 200, 300, 100, 20})
			if err != nil {
				t.Fatal(err)
			}
			for i, want := range []bird.Block{
				{Class: "Memory", Payload: 100}, {Class: "Event"},
				{}, // says more than the block has room for
				{}, // no resource
				{}, // not mapped
				{}, // too small for a header
			} {
				if blocks[i] != want {
					t.Errorf("block %d is %+v, want %+v", i, blocks[i], want)
				}
			}
		})
	}
}

func TestFindNone(t *testing.T) {
	for _, c := range []struct{ name, path, want string }{
		{"another program", fixture.Build(t, "gcc", "-O2"), "Pool"},
		{"a class is missing", fixture.Compile(t, "gcc", "-DNO_MEMORY", "birdlike.c"), "Memory"},
		{"a class is there twice", fixture.Compile(t, "gcc", "-DTWICE", "birdlike.c"), "Slab"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, p, exe := start(t, c.path)
			b, err := bird.Find(p, exe)
			if !errors.Is(err, bird.ErrNotBIRD) || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %+v, %v; want %v and %q", b, err, bird.ErrNotBIRD, c.want)
			}
		})
	}
}
