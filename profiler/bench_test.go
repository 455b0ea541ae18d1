// SPDX-License-Identifier: Apache-2.0

package profiler_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"leakprof/bpf"
	"leakprof/profiler"
	"leakprof/profiler/internal/fixture"
)

// BenchmarkSnapshot reads a live set of five million blocks, or objects on pages of 31,
// from 30 call stacks, while the target allocates and frees.
func BenchmarkSnapshot(b *testing.B) {
	const live = 5_000_000
	source, err := filepath.Abs("testdata/many.c")
	if err != nil {
		b.Fatal(err)
	}
	path := fixture.BuildAllocators(b, 2, "gcc", "-O2", source)
	for _, c := range []struct {
		kind         string
		bytes, least int // so many blocks and pages
	}{{"blocks", 32, live}, {"objects", 128, live / 31}} {
		b.Run(c.kind, func(b *testing.B) {
			p := fixture.Start(b, path)
			prof := attach(b, p, profiler.Options{Partial: true, AnyProgram: true, MaxMemory: 2 << 30})
			p.Do(b, fmt.Sprintf("%s %d %d", c.kind, c.bytes, live))
			p.Send(b, "churn 64 1000000000")
			b.ReportAllocs()
			before := ownTime(b)
			for b.Loop() {
				s, err := prof.Snapshot()
				if err != nil {
					b.Fatal(err)
				}
				if len(s.Blocks) < c.least || len(s.Stacks) < 30 || s.Moved == 0 || s.Counters[bpf.LiveNoMemory]+s.Counters[bpf.LiveFull]+s.Counters[bpf.SlotsFull] != 0 {
					b.Fatalf("%d blocks, %d stacks, %d moved, %v", len(s.Blocks), len(s.Stacks), s.Moved, s.Counters)
				}
			}
			b.ReportMetric((ownTime(b)-before).Seconds()/float64(b.N), "cpu-s/op")
		})
	}
}

// ownTime is how long this process ran on CPUs.
func ownTime(b *testing.B) time.Duration {
	b.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// cpuTime is how long the fixture ran on a CPU, which says more than the time
// by the clock on a machine that others use too (proc_pid_schedstat, in
// Documentation/scheduler/sched-stats.rst).
func cpuTime(b *testing.B, p *fixture.Process) time.Duration {
	b.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/schedstat", p.PID))
	if err != nil {
		b.Fatal(err)
	}
	var ns int64
	if _, err := fmt.Sscan(string(data), &ns); err != nil {
		b.Fatal(err)
	}
	return time.Duration(ns)
}

// BenchmarkPair is a malloc and its free in the target, without leakprof and
// with it attached in both ways, on a stack of five frames.
func BenchmarkPair(b *testing.B) {
	for _, m := range append([]struct {
		name string
		mode bpf.AttachMode
	}{{name: "detached"}}, modes...) {
		b.Run(m.name, func(b *testing.B) {
			p := startPlain(b)
			if m.name != "detached" {
				attach(b, p, profiler.Options{MaxMemory: smallMemory, Attach: m.mode})
			}
			p.Do(b, "pairs 10")
			before := cpuTime(b, p)
			b.ResetTimer()
			p.Do(b, fmt.Sprintf("pairs %d", b.N))
			b.ReportMetric(float64(cpuTime(b, p)-before)/float64(b.N), "cpu-ns/op")
		})
	}
}

// BenchmarkAttach is all from a pid to probes in place, and back.
func BenchmarkAttach(b *testing.B) {
	for _, m := range modes {
		b.Run(m.name, func(b *testing.B) {
			p := startPlain(b)
			for b.Loop() {
				prof := attach(b, p, profiler.Options{MaxMemory: smallMemory, Attach: m.mode})
				if err := prof.Detach(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
