// SPDX-License-Identifier: Apache-2.0

package profiler_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"leakprof/bpf"
	"leakprof/profiler"
	"leakprof/profiler/internal/fixture"
	"leakprof/profiler/plan"
)

// tortureVariable in the environment asks for every build, and many operations.
const tortureVariable = "LEAKPROF_TORTURE"

// birdBuild is one way to build BIRD-shaped allocators and to follow them.
type birdBuild struct {
	generation      int
	compiler, flags string
	stripped        bool
	// late: the allocators have worked for a while when leakprof comes.
	late    bool
	threads int // besides the first, BIRD 3 only
	perf    bool
}

func (b birdBuild) String() string {
	name := fmt.Sprintf("%d %s %s", b.generation, b.compiler, b.flags)
	if b.stripped {
		name += " stripped"
	}
	if b.late {
		name += " late"
	}
	if b.threads > 0 {
		name += fmt.Sprintf(" %d threads", b.threads)
	}
	if b.perf {
		name += " perf events"
	}
	return name
}

const noHeader = " -Wl,--no-eh-frame-hdr"

// unoptimized says that no compiler has optimized: functions are then found by
// their symbols alone, and BIRD's free pages not at all.
func (b birdBuild) unoptimized() bool { return strings.Contains(b.flags, "-O0") }

// copies says that compilers may put copies of free_page where its argument
// cannot be told: the page layer may then be refused.
func (b birdBuild) copies() bool {
	return strings.Contains(b.flags, "LEAN") || strings.Contains(b.flags, "-O3") || b.compiler == "clang" && strings.Contains(b.flags, "-flto") || b.unoptimized() && b.stripped
}

// birdBuilds is a choice in which every property is with every generation and
// compiler at least once.
var birdBuilds = []birdBuild{
	{generation: 2, compiler: "gcc", flags: "-O2 -flto"},
	{generation: 2, compiler: "gcc", flags: "-O2 -flto -DLEAN"},
	{generation: 2, compiler: "gcc", flags: "-O2 -flto -no-pie -fno-pie", stripped: true, perf: true},
	{generation: 2, compiler: "gcc", flags: "-O0" + noHeader, late: true},
	{generation: 2, compiler: "gcc", flags: "-O3 -no-pie -fno-pie", late: true},
	{generation: 2, compiler: "gcc", flags: "-Os" + noHeader, stripped: true},
	{generation: 2, compiler: "clang", flags: "-O1", stripped: true, perf: true},
	{generation: 2, compiler: "clang", flags: "-O2 -flto", late: true},
	{generation: 3, compiler: "gcc", flags: "-O2 -flto", threads: 4, perf: true},
	{generation: 3, compiler: "gcc", flags: "-O2", stripped: true, late: true, threads: 3, perf: true},
	{generation: 3, compiler: "gcc", flags: "-O1 -no-pie -fno-pie" + noHeader, stripped: true},
	{generation: 3, compiler: "gcc", flags: "-O3 -flto -no-pie -fno-pie"},
	{generation: 3, compiler: "gcc", flags: "-O0", threads: 2},
	{generation: 3, compiler: "clang", flags: "-O2 -no-pie -fno-pie", threads: 4, late: true},
	{generation: 3, compiler: "clang", flags: "-Os -flto"},
	// A copy of free_page whose entry only the first page of a loop comes by.
	{generation: 3, compiler: "gcc", flags: "-O3 -flto -no-pie -fno-pie -DLEAN"},
}

// everyBirdBuild is the product of all properties.
func everyBirdBuild() (all []birdBuild) {
	n := 0
	for _, generation := range []int{2, 3} {
		for _, compiler := range []string{"gcc", "clang"} {
			for _, o := range []string{"-O0", "-O1", "-O2", "-O3", "-Os"} {
				for _, pie := range []string{"", " -no-pie -fno-pie"} {
					for _, lto := range []string{"", " -flto"} {
						for _, header := range []string{"", noHeader} {
							b := birdBuild{generation: generation, compiler: compiler, flags: o + pie + lto + header}
							if n%4 > 1 {
								b.flags += " -DLEAN"
							}
							// Every one of these goes with every one of those in some build.
							b.stripped, b.late, b.perf, b.threads = n%2 == 1, n%3 == 1, n%7 > 3, (generation-2)*(n%5)
							all = append(all, b)
							n++
						}
					}
				}
			}
		}
	}
	return all
}

// TestEveryByte lets BIRD-shaped allocators do random operations and compares
// plan, live set, resource tree and free pages with their own books.
func TestEveryByte(t *testing.T) {
	builds, batches, steps := birdBuilds, 4, 1500
	if os.Getenv(tortureVariable) != "" {
		builds, batches, steps = everyBirdBuild(), 6, 4000
	}
	for i, b := range builds {
		t.Run(b.String(), func(t *testing.T) {
			t.Parallel()
			seed := 100 * i
			path := fixture.BuildBIRD(t, b.generation, b.compiler, b.flags)
			run := path
			if b.stripped {
				run = fixture.Strip(t, path)
			}
			p := fixture.Start(t, run)
			if b.late {
				setUp(t, p, b)
				p.Do(t, fmt.Sprintf("run %d %d", seed, steps))
				p.Do(t, "epoch")
			}
			mode := bpf.AttachMulti
			if b.perf {
				mode = bpf.AttachPerf
			}
			prof := attach(t, p, profiler.Options{
				MaxMemory: smallMemory, Attach: mode, FromStart: !b.late,
				Plan: plan.Options{LinpoolObjects: true}, Partial: true,
			})
			if !b.late {
				setUp(t, p, b)
			}
			books := newAuditor(t, prof, p, path)
			t.Logf("pages %v, objects %v, lines %v; %v", books.pages, books.objects, books.lines, prof.Plan.Incomplete)
			if !books.pages && !b.copies() {
				t.Errorf("pages are not followed: %v", prof.Plan.Incomplete)
			}
			for n := range batches {
				p.Do(t, fmt.Sprintf("run %d %d", seed+n+1, steps))
				books.audit(t)
				if t.Failed() {
					t.Fatalf("after batch %d of seed %d", n, seed)
				}
			}
		})
	}
}

func setUp(t *testing.T, p *fixture.Process, b birdBuild) {
	t.Helper()
	p.Do(t, "init")
	if b.threads > 0 {
		p.Do(t, fmt.Sprintf("threads %d", b.threads))
	}
}
