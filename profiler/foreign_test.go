// SPDX-License-Identifier: Apache-2.0

package profiler_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"

	"leakprof/profiler"
	"leakprof/profiler/bird"
	"leakprof/profiler/internal/fixture"
	"leakprof/profiler/plan"
	"leakprof/profiler/target"
)

const jemalloc = "/usr/lib/x86_64-linux-gnu/libjemalloc.so.2"

// TestForeignAllocator: a program that does not use libc's malloc is refused
// in one line that says whose it uses.
func TestForeignAllocator(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat(jemalloc); err != nil {
		t.Fatalf("%v (apt-get install -y libjemalloc2)", err)
	}
	for _, c := range []struct {
		name  string
		start func() *fixture.Process
		want  string // in the error
	}{
		{"preloaded jemalloc", func() *fixture.Process { return startPlain(t, "LD_PRELOAD="+jemalloc) }, "libjemalloc"},
		{"static", func() *fixture.Process { return fixture.Start(t, fixture.Build(t, "gcc", "-O2 -static")) }, "fixture"},
		{"static PIE", func() *fixture.Process { return fixture.Start(t, fixture.Build(t, "gcc", "-O2 -static-pie")) }, "fixture"},
		{"stripped static", func() *fixture.Process { return fixture.Start(t, fixture.Build(t, "gcc", "-O2 -static -s")) }, "fixture"},
		{"own malloc", func() *fixture.Process { return startOwnMalloc(t, "-O2") }, "fixture"},
		{"own malloc, not exported", func() *fixture.Process { return startOwnMalloc(t, "-O2 -fvisibility=hidden") }, "fixture"},
		// A library that calls malloc, and here would get libc's, is no proof.
		{"own malloc, beside a library", func() *fixture.Process {
			return startOwnMalloc(t, "-O2 -fvisibility=hidden", "LD_PRELOAD="+fixture.Compile(t, "gcc", "-O2 -shared -fPIC", "calloc_only.c"))
		}, "fixture"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := c.start()
			_, err := profiler.Attach(context.Background(), profiler.Options{PID: p.PID, AnyProgram: true})
			if !errors.Is(err, plan.ErrForeignAllocator) {
				t.Fatalf("got %v, want %v", err, plan.ErrForeignAllocator)
			}
			if msg := err.Error(); strings.Contains(msg, "\n") || !strings.Contains(msg, c.want) {
				t.Errorf("got %q, want one line that names %s", msg, c.want)
			}
		})
	}
}

func startOwnMalloc(t *testing.T, flags string, env ...string) *fixture.Process {
	t.Helper()
	return fixture.Start(t, fixture.Compile(t, "gcc", flags, "own_malloc.c"), env...)
}

// TestCallocOnly follows a program that calls another function of libc's than
// malloc, and that alone.
func TestCallocOnly(t *testing.T) {
	t.Parallel()
	p := fixture.Start(t, fixture.Compile(t, "gcc", "-O2", "calloc_only.c"))
	prof := attach(t, p, profiler.Options{MaxMemory: smallMemory})
	p.Do(t, "x")
	if s := snapshot(t, prof); len(s.Blocks) != 1 || s.Bytes() != 21 {
		t.Errorf("%d blocks of %d bytes, want one of 21", len(s.Blocks), s.Bytes())
	}
}

func TestNoBIRD(t *testing.T) {
	t.Parallel()
	p := startPlain(t)
	_, err := profiler.Attach(context.Background(), profiler.Options{PID: p.PID})
	if !errors.Is(err, bird.ErrNotBIRD) {
		t.Errorf("got %v, want %v", err, bird.ErrNotBIRD)
	}
}

func TestNoProcess(t *testing.T) {
	p := startPlain(t)
	p.Kill()
	for _, pid := range []int{p.PID, -1, 0} {
		_, err := profiler.Attach(context.Background(), profiler.Options{PID: pid, AnyProgram: true})
		if err == nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("process %d: got %v", pid, err)
		}
		if pid == p.PID && !errors.Is(err, target.ErrGone) {
			t.Errorf("process %d: got %v, want %v", pid, err, target.ErrGone)
		}
	}
}

// TestCancelled: a cancelled context leaves nothing attached.
func TestCancelled(t *testing.T) {
	p := startPlain(t)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := profiler.Attach(ctx, profiler.Options{PID: p.PID, AnyProgram: true}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
}
