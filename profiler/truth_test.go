// SPDX-License-Identifier: Apache-2.0

package profiler_test

import (
	"testing"

	"leakprof/bpf"
	"leakprof/profiler"
	"leakprof/profiler/internal/fixture"
)

// commands are what the fixture does in each build; after each its live set
// is compared.
var commands = []string{
	"mallocs", "reallocs", "aligned",
	"shapes", "assembled", "tail-calls", "long-jumps",
	"recurse 200", "recurse 400", "recurse-alloca 100", "recurse-alloca 300", "recurse-and-keep 60",
	"paths 6", "signals 5", "signals-on-altstack 5", "signals-anywhere 30", "signals-raised 5",
	"forks", "vforks", "contexts", "unreadable",
	// What libraries do on their own makes the account loose from here on.
	"library", "thread-stack",
}

func TestTruth(t *testing.T) {
	modes := map[bool]bpf.AttachMode{true: bpf.AttachMulti, false: bpf.AttachPerf}
	multi := true
	for _, compiler := range []string{"gcc", "clang"} {
		for _, flags := range []string{
			"-O0 -pie -fPIE", "-O1 -pie -fPIE", "-O2 -pie -fPIE", "-O3 -pie -fPIE",
			"-O0 -no-pie -fno-pie", "-O1 -no-pie -fno-pie", "-O2 -no-pie -fno-pie", "-O3 -no-pie -fno-pie",
			"-O2 -fno-omit-frame-pointer", "-O0 -fomit-frame-pointer", "-O2 -fcf-protection=full -mstackrealign",
		} {
			mode := modes[multi]
			multi = !multi
			t.Run(compiler+" "+flags, func(t *testing.T) {
				t.Parallel()
				p := fixture.Start(t, fixture.Build(t, compiler, flags))
				prof := attach(t, p, profiler.Options{Attach: mode, MaxMemory: 64 << 20})
				for _, c := range commands {
					p.Do(t, c)
					expect(t, prof, p, nil)
					if t.Failed() {
						t.Fatalf("after %q", c)
					}
				}
			})
		}
	}
}
