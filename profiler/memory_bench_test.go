// SPDX-License-Identifier: Apache-2.0

package profiler_test

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"

	"leakprof/bpf"
	"leakprof/profiler"
	"leakprof/profiler/internal/fixture"
	"leakprof/profiler/internal/kerneltest"
)

// BenchmarkMemory is what ten million live objects take of memory: all that is
// charged to the control group in which leakprof is, by the kernel for its maps
// and by leakprof itself, at rest and at most while a snapshot is read. The target
// is in another group. With -short it is a tenth of them.
func BenchmarkMemory(b *testing.B) {
	kerneltest.Needs(b, bpf.Multi())
	source, err := filepath.Abs("testdata/many.c")
	if err != nil {
		b.Fatal(err)
	}
	path := fixture.BuildAllocators(b, 2, "gcc", "-O2", source)
	objects := 10_000_000
	if testing.Short() {
		objects /= 10
	}
	for _, c := range []struct {
		kind         string
		bytes, count int
		per          string // the unit whose memory is limited
	}{
		{"blocks", 32, objects, "block"},
		{"pages", 4096, objects / 8, "page"},
		{"objects", 584, objects, "page"}, // 6 on a page
		{"objects", 488, objects, "slot"}, // 8
		{"objects", 256, objects, "slot"}, // 15
		{"objects", 128, objects, "slot"}, // 31
		{"objects", 64, objects, "slot"},  // 62
	} {
		name := fmt.Sprintf("%s=%d/bytes=%d", c.kind, c.count, c.bytes)
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				p := startCopy(b, path)
				group := ownGroup(b)
				prof, err := profiler.Attach(b.Context(), profiler.Options{PID: p.PID, AnyProgram: true, Partial: true, MaxMemory: 8 << 30})
				if err != nil {
					b.Fatal(err)
				}
				before := group.used(b)
				p.Do(b, fmt.Sprintf("%s %d %d", c.kind, c.bytes, c.count))
				full := group.used(b)
				s := snapshot(b, prof)
				held := group.used(b)
				units := float64(c.count)
				if c.per == "page" {
					units = 0
					for i := range s.Blocks {
						if s.Blocks[i].IsPage() {
							units++
						}
					}
				}
				lost := s.Counters[bpf.LiveFull] + s.Counters[bpf.LiveNoMemory] + s.Counters[bpf.SlotsFull] + s.Counters[bpf.NotAccepted]
				if live := len(s.Blocks); lost != 0 || c.kind != "objects" && live < c.count {
					b.Fatalf("%d live, %d without room", live, lost)
				}
				most := group.peak(b)
				runtime.KeepAlive(s)
				if err := prof.Close(); err != nil {
					b.Fatal(err)
				}
				p.Kill()
				for metric, bytes := range map[string]uint64{"kernel": full, "with-snapshot": held, "peak": most} {
					b.ReportMetric((float64(bytes)-float64(before))/units, metric+"-B/"+c.per)
				}
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}

// group is a memory control group, of either version.
type group struct{ dir, usage, most, procs string }

// ownGroup moves this process into a control group of its own until the end of
// the benchmark.
func ownGroup(b *testing.B) *group {
	b.Helper()
	g := &group{usage: "memory.current", most: "memory.peak"}
	root := "/sys/fs/cgroup"
	if _, err := os.Stat(root + "/memory/memory.usage_in_bytes"); err == nil {
		root += "/memory"
		g.usage, g.most = "memory.usage_in_bytes", "memory.max_usage_in_bytes"
	}
	dir, err := os.MkdirTemp(root, "leakprof-bench-")
	if err != nil {
		b.Fatalf("make a memory control group (needs root, and /sys/fs/cgroup to be writable): %v", err)
	}
	g.dir = dir
	move := func(to string) error {
		return os.WriteFile(filepath.Join(to, "cgroup.procs"), []byte(strconv.Itoa(os.Getpid())), 0)
	}
	b.Cleanup(func() {
		if err := move(root); err != nil {
			b.Error(err)
		}
		// What is charged to it may be freed later: the group stays as long as
		// that, without a name.
		if err := os.Remove(dir); err != nil {
			b.Error(err)
		}
	})
	if err := move(dir); err != nil {
		b.Fatal(err)
	}
	return g
}

func (g *group) read(b *testing.B, file string) uint64 {
	b.Helper()
	data, err := os.ReadFile(filepath.Join(g.dir, file))
	if err != nil {
		b.Fatal(err)
	}
	n, err := strconv.ParseUint(strings.TrimSpace(string(data)), 10, 64)
	if err != nil {
		b.Fatal(err)
	}
	return n
}

// used is what is used now, without what waits to be collected.
func (g *group) used(b *testing.B) uint64 {
	b.Helper()
	debug.FreeOSMemory()
	return g.read(b, g.usage)
}

// most is what was used at most.
func (g *group) peak(b *testing.B) uint64 { return g.read(b, g.most) }
