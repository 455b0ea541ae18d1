// SPDX-License-Identifier: Apache-2.0

package profiler_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"leakprof/bpf"
	"leakprof/profiler"
	"leakprof/profiler/plan"
	"leakprof/profiler/target"
)

// TestChangedCode: a process whose code was changed in memory is not probed.
func TestChangedCode(t *testing.T) {
	t.Parallel()
	p := startPlain(t)
	process, err := target.Open(p.PID)
	if err != nil {
		t.Fatal(err)
	}
	defer process.Close()
	modules, err := process.Modules()
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		for _, m := range modules {
			m.Close()
		}
	}()
	made, err := plan.New(process, modules, plan.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s := made.Sites[slices.IndexFunc(made.Sites, func(s plan.Site) bool { return s.Function == "valloc" })]
	memory, err := os.OpenFile(fmt.Sprintf("/proc/%d/mem", p.PID), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer memory.Close()
	for _, c := range []struct {
		now  byte
		want string
	}{{0xf4, "valloc"}, {0xcc, ""}} { // hlt, int3
		if _, err := memory.WriteAt([]byte{c.now}, int64(s.Module.Bias+s.Address)); err != nil {
			t.Fatal(err)
		}
		attached, err := profiler.Attach(t.Context(), profiler.Options{PID: p.PID, MaxMemory: 64 << 20, AnyProgram: true})
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("with 0x%x: %v, want an error about %q", c.now, err, c.want)
		}
		if err == nil {
			attached.Close()
		}
		if err := profiler.Prove(process, made, bpf.AttachBest); (err == nil) != (c.want == "") {
			t.Errorf("with 0x%x: the plan is proved: %v", c.now, err)
		}
	}
}
