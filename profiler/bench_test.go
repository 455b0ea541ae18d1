// SPDX-License-Identifier: Apache-2.0

package profiler_test

import (
	"fmt"
	"os"
	"testing"
	"time"

	"leakprof/bpf"
	"leakprof/profiler"
	"leakprof/profiler/internal/fixture"
)

// BenchmarkSnapshot reads a live set of a million blocks.
func BenchmarkSnapshot(b *testing.B) {
	const blocks = 1_000_000
	p := startPlain(b)
	prof := attach(b, p, profiler.Options{})
	p.Do(b, fmt.Sprintf("bulk-allocate %d", blocks))
	b.ReportAllocs()
	for b.Loop() {
		if s := snapshot(b, prof); len(s.Blocks) != blocks+1 || s.Counters[bpf.LiveNoMemory] != 0 {
			b.Fatalf("%d blocks, %d without memory", len(s.Blocks), s.Counters[bpf.LiveNoMemory])
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/blocks, "ns/block")
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
