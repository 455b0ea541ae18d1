// SPDX-License-Identifier: Apache-2.0

package profiler_test

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"

	"leakprof/bpf"
	"leakprof/profiler"
	"leakprof/profiler/internal/fixture"
	"leakprof/profiler/internal/kerneltest"
	"leakprof/profiler/plan"
)

// BenchmarkHit is what an allocation and its free cost the target: without
// probes, with an empty program at each, and with ours; and how long each of our
// programs runs. Each iteration is a round of all three, and the least of all
// rounds is reported, for others use the machine too: -benchtime 100x.
func BenchmarkHit(b *testing.B) {
	kerneltest.Needs(b, bpf.Multi())
	source, err := filepath.Abs("testdata/hits.c")
	if err != nil {
		b.Fatal(err)
	}
	path := fixture.BuildAllocators(b, 2, "gcc", "-O2", source)
	none, empty, ours := startCopy(b, path), startCopy(b, path), startCopy(b, path)
	options := profiler.Options{Plan: plan.Options{LinpoolObjects: true}, Partial: true}
	prof := attach(b, ours, options)
	other := attach(b, empty, options)
	if err := other.Detach(); err != nil {
		b.Fatal(err)
	}
	placeEmpty(b, empty, other.Plan.Sites)
	for _, kind := range []string{"block", "object", "page", "line"} {
		for _, shape := range []struct{ frames, paths int }{{5, 1}, {12, 1}, {25, 1}, {12, 16}} {
			name := fmt.Sprintf("%s/frames=%d", kind, shape.frames)
			if shape.paths > 1 {
				name += fmt.Sprintf("/paths=%d", shape.paths)
			}
			b.Run(name, func(b *testing.B) {
				const n = 2000
				command := fmt.Sprintf("%s %d %d %d", kind, shape.frames, n, shape.paths)
				var took [3][]float64
				programs := make(map[string][]float64)
				for b.Loop() {
					for i, p := range []*fixture.Process{none, empty, ours} {
						took[i] = append(took[i], nanoseconds(b, p, command)/n)
					}
					for name, ns := range runtimes(b, prof, func() { ours.Do(b, command) }) {
						programs[name] = append(programs[name], ns)
					}
				}
				b.ReportMetric(0, "ns/op")
				for i, name := range []string{"none", "empty", "ours"} {
					b.ReportMetric(slices.Min(took[i]), name+"-ns")
				}
				b.ReportMetric(median(took[2])-median(took[1]), "over-empty-median-ns")
				b.ReportMetric(slices.Min(took[2])-slices.Min(took[1]), "over-empty-ns")
				for name, ns := range programs {
					b.ReportMetric(slices.Min(ns), name+"-ns")
				}
			})
		}
	}
}

// startCopy starts a program and a libc of its own: what is probed in a file is
// probed for all processes that have it mapped, and each probe that is not ours
// costs too.
func startCopy(b *testing.B, path string) *fixture.Process {
	b.Helper()
	dir := b.TempDir()
	for _, from := range []string{path, "/lib/x86_64-linux-gnu/libc.so.6"} {
		data, err := os.ReadFile(from)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, filepath.Base(from)), data, 0o755)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	return fixture.Start(b, filepath.Join(dir, filepath.Base(path)), "LD_LIBRARY_PATH="+dir)
}

// placeEmpty places a program that does nothing at sites, on returns too.
func placeEmpty(b *testing.B, p *fixture.Process, sites []plan.Site) {
	b.Helper()
	program, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type: ebpf.Kprobe, AttachType: ebpf.AttachTraceUprobeMulti, License: "Dual BSD/GPL",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 0), asm.Return()},
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { program.Close() })
	for _, s := range sites {
		path, err := s.Module.AttachPath()
		if err != nil {
			b.Fatal(err)
		}
		offset, err := s.Module.FileOffset(s.Address + s.Offset)
		if err != nil {
			b.Fatal(err)
		}
		ex, err := link.OpenExecutable(path)
		if err != nil {
			b.Fatal(err)
		}
		attach := []func([]string, *ebpf.Program, *link.UprobeMultiOptions) (link.Link, error){ex.UprobeMulti}
		if s.Return {
			attach = append(attach, ex.UretprobeMulti)
		}
		if s.Return && returnOnly[s.Function] {
			attach = attach[1:]
		}
		for _, a := range attach {
			l, err := a(nil, program, &link.UprobeMultiOptions{Addresses: []uint64{offset}, PID: uint32(p.PID)})
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() { l.Close() })
		}
	}
}

// returnOnly are the functions at whose entry nothing is to be seen.
var returnOnly = map[string]bool{"sl_alloc": true}

// nanoseconds gives a command that answers with a time.
func nanoseconds(b *testing.B, p *fixture.Process, command string) float64 {
	b.Helper()
	answer := p.Do(b, command)
	if len(answer) != 1 {
		b.Fatalf("%q is answered by %q", command, answer)
	}
	ns, err := strconv.ParseFloat(answer[0], 64)
	if err != nil {
		b.Fatal(err)
	}
	return ns
}

func median(all []float64) float64 {
	return slices.Sorted(slices.Values(all))[len(all)/2]
}

// runtimes is how long each program runs meanwhile, on average, as the kernel
// measures it; that takes some 20 ns a run by itself.
func runtimes(b *testing.B, prof *profiler.Profiler, f func()) map[string]float64 {
	b.Helper()
	measuring, err := bpf.MeasureRuntime()
	if err != nil {
		b.Fatal(err)
	}
	defer measuring.Close()
	before := programRuns(b)
	f()
	mean := make(map[string]float64)
	for name, after := range programRuns(b) {
		if runs := after.Runs - before[name].Runs; runs > 100 {
			mean[name] = float64(after.Time-before[name].Time) / float64(runs)
		}
	}
	return mean
}

var programNames = make(map[ebpf.ProgramID]string)

// programRuns reads how often the programs of this process ran
// (proc_pid_fdinfo).
func programRuns(b *testing.B) map[string]bpf.Runtime {
	b.Helper()
	all := make(map[string]bpf.Runtime)
	files, err := os.ReadDir("/proc/self/fdinfo")
	if err != nil {
		b.Fatal(err)
	}
	seen := make(map[ebpf.ProgramID]bool)
	for _, f := range files {
		data, err := os.Open("/proc/self/fdinfo/" + f.Name())
		if err != nil {
			continue // that of the directory itself
		}
		fields := make(map[string]uint64)
		for s := bufio.NewScanner(data); s.Scan(); {
			if k, v, ok := strings.Cut(s.Text(), ":"); ok {
				fields[k], _ = strconv.ParseUint(strings.TrimSpace(v), 10, 64)
			}
		}
		data.Close()
		id := ebpf.ProgramID(fields["prog_id"])
		if _, ok := fields["run_cnt"]; !ok || seen[id] {
			continue
		}
		seen[id] = true
		if programNames[id] == "" {
			p, err := ebpf.NewProgramFromID(id)
			if err != nil {
				b.Fatal(err)
			}
			info, err := p.Info()
			p.Close()
			if err != nil {
				b.Fatal(err)
			}
			programNames[id] = info.Name
		}
		r := all[programNames[id]]
		r.Runs += fields["run_cnt"]
		r.Time += time.Duration(fields["run_time_ns"])
		all[programNames[id]] = r
	}
	return all
}
