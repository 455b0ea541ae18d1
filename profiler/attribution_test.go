// SPDX-License-Identifier: Apache-2.0

package profiler_test

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"leakprof/bpf"
	"leakprof/profiler"
	"leakprof/profiler/attribution"
	"leakprof/profiler/internal/fixture"
	"leakprof/profiler/live"
)

// strip splits a program into one without names and its debug file.
func strip(t *testing.T, program string) (stripped, debug string) {
	t.Helper()
	dir := t.TempDir()
	stripped, debug = filepath.Join(dir, filepath.Base(program)), filepath.Join(dir, "debug")
	for _, args := range [][]string{
		{"objcopy", "--only-keep-debug", program, debug},
		{"strip", "-o", stripped, program},
	} {
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v: apt-get install -y binutils\n%s", args, err, out)
		}
	}
	return stripped, debug
}

// TestAttribution compares the names that users see with the truth: the
// functions of the source, inlined ones among them, and its lines.
func TestAttribution(t *testing.T) {
	for _, test := range []struct {
		flags    string
		stripped bool // names are in a separate debug file
	}{
		{"-O0", false},
		{"-O2", false},
		{"-O2 -no-pie -fno-pie", false},
		{"-O2 -Wl,--build-id", true},
	} {
		t.Run(test.flags, func(t *testing.T) {
			t.Parallel()
			program := fixture.Build(t, "gcc", test.flags)
			var options attribution.Options
			if test.stripped {
				program, options.Debug.File = strip(t, program)
				options.Debug.Roots = []string{"/"} // may have libc6-dbg, with other names
			}
			p := fixture.Start(t, program)
			prof := attach(t, p, profiler.Options{MaxMemory: smallMemory})
			for _, c := range []string{"shapes", "signals 3", "tail-calls", "reallocs"} {
				p.Do(t, c)
			}
			s := snapshot(t, prof)
			heap, err := attribution.New(prof.Process, nil, options).Attribute(s, nil, nil, prof.Modules())
			if err != nil {
				t.Fatal(err)
			}
			if got := heap.Modules[0].DebugFile; got != options.Debug.File {
				t.Errorf("debug file %q, want %q", got, options.Debug.File)
			}
			bytes, objects := heap.Totals()
			if bytes != s.Bytes() || objects != uint64(len(s.Blocks)) || bytes != s.Counters[bpf.AllocatedBytes]-s.Counters[bpf.FreedBytes] {
				t.Errorf("%d bytes in %d objects, want %d in %d", bytes, objects, s.Bytes(), len(s.Blocks))
			}
			stacks := make(map[uint64]*attribution.Stack)
			for _, st := range heap.Stacks {
				stacks[st.Key] = st
			}
			blocks := make(map[uint64]live.Block)
			for _, b := range s.Blocks {
				blocks[b.Address] = b
			}
			for a, want := range p.Truth(t).Blocks {
				st := stacks[uint64(blocks[a].Stack)]
				if st == nil || !st.Complete {
					t.Errorf("block 0x%x has the stack %+v", a, st)
					continue
				}
				var got []string
				for i, f := range st.Frames() {
					if i == 0 {
						if f.Function != want.Function && !(f.Function == "memalign" && want.Function == "aligned_alloc") {
							t.Errorf("block 0x%x is of %q, want %s", a, f.Function, want.Function)
						}
						continue
					}
					if f.Module != "fixture" {
						if len(got) == 0 || got[len(got)-1] != "~" {
							got = append(got, "~")
						}
						continue
					}
					// t_malloc and its like are inlined into their callers.
					if strings.HasPrefix(f.Function, "quiet_") || f.Inlined {
						if f.Inlined && !strings.HasPrefix(f.Function, "t_") {
							t.Errorf("%s is inlined", f.Function)
						}
						continue
					}
					got = append(got, f.Function)
					if f.Function != "_start" && (f.Line == 0 || !strings.HasSuffix(f.File, ".c")) {
						t.Errorf("%s is at %s:%d", f.Function, f.File, f.Line)
					}
				}
				if !matches(got, append(want.Calls[:len(want.Calls):len(want.Calls)], "~", "_start")) {
					t.Errorf("block 0x%x: stack is %v, want %v", a, got, want.Calls)
				}
			}
		})
	}
}
