// SPDX-License-Identifier: Apache-2.0

package profiler_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"

	"leakprof/profiler"
	"leakprof/profiler/internal/fixture"
	"leakprof/profiler/internal/kerneltest"
	"leakprof/profiler/plan"
	"leakprof/profiler/target"
)

// victimVariable makes the test binary follow a process until it is killed,
// instead of running tests. It holds the pid and the index in modes.
const victimVariable = "LEAKPROF_TEST_FOLLOW"

func followUntilKilled() int {
	var pid, mode int
	if _, err := fmt.Sscan(os.Getenv(victimVariable), &pid, &mode); err != nil {
		fmt.Println(err)
		return 1
	}
	prof, err := profiler.Attach(context.Background(), profiler.Options{PID: pid, AnyProgram: true, Attach: modes[mode].mode})
	if err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println("attached")
	for {
		if _, err := prof.Snapshot(); err != nil {
			fmt.Println(err)
			return 1
		}
	}
}

// TestKilled kills a profiler with SIGKILL while its target allocates: no
// breakpoint stays behind, and the target runs on.
func TestKilled(t *testing.T) {
	for i, m := range modes {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			kerneltest.NeedsMode(t, m.mode)
			p := startPlain(t)
			sites := plannedSites(t, p)
			p.Do(t, "start-loop 3")
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d %d", victimVariable, p.PID, i))
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
			line, err := bufio.NewReader(out).ReadString('\n')
			if line != "attached\n" {
				t.Fatalf("the profiler says %q (%v)", line, err)
			}
			if n := changedSites(t, p, sites); n != len(sites) {
				t.Fatalf("%d of %d sites hold a breakpoint", n, len(sites))
			}
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			cmd.Wait()
			for deadline := time.Now().Add(patience); changedSites(t, p, sites) > 0; time.Sleep(10 * time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatalf("%d sites hold a breakpoint after %v", changedSites(t, p, sites), patience)
				}
			}
			p.Do(t, "stop-loop")
			p.Do(t, "reallocs")
			p.Truth(t)
			// And it can be followed anew.
			p.Do(t, "epoch")
			prof := attach(t, p, profiler.Options{MaxMemory: smallMemory})
			p.Do(t, "mallocs")
			compareBlocks(t, snapshot(t, prof), newSymbols(prof), p.Truth(t))
		})
	}
}

// site is a probed place: its address in the process and the file's bytes.
type site struct {
	address int64
	want    []byte
}

func plannedSites(t *testing.T, p *fixture.Process) (sites []site) {
	t.Helper()
	process, err := target.Open(p.PID)
	if err != nil {
		t.Fatal(err)
	}
	defer process.Close()
	modules, err := process.Modules()
	if err != nil {
		t.Fatal(err)
	}
	made, err := plan.New(process, modules, plan.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range made.Sites {
		off, err := s.Module.FileOffset(s.Address + s.Offset)
		if err != nil {
			t.Fatal(err)
		}
		want := make([]byte, 16)
		if _, err := s.Module.Reader.ReadAt(want, int64(off)); err != nil {
			t.Fatal(err)
		}
		sites = append(sites, site{int64(s.Module.Bias + s.Address + s.Offset), want})
	}
	for _, m := range modules {
		m.Close()
	}
	if len(sites) < 8 {
		t.Fatalf("%d sites planned", len(sites))
	}
	return sites
}

// changedSites counts the sites whose bytes in memory are not the file's.
func changedSites(t *testing.T, p *fixture.Process, sites []site) (n int) {
	t.Helper()
	mem, err := os.Open(fmt.Sprintf("/proc/%d/mem", p.PID))
	if err != nil {
		t.Fatal(err)
	}
	defer mem.Close()
	for _, s := range sites {
		got := make([]byte, len(s.want))
		if _, err := mem.ReadAt(got, s.address); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, s.want) {
			n++
		}
	}
	return n
}

// TestDetach takes the probes away at once, and what was collected stays.
func TestDetach(t *testing.T) {
	for _, m := range modes {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			p := startPlain(t)
			sites := plannedSites(t, p)
			prof := attach(t, p, profiler.Options{MaxMemory: smallMemory, Attach: m.mode})
			p.Do(t, "keep 5")
			if err := prof.Detach(); err != nil {
				t.Fatal(err)
			}
			if n := changedSites(t, p, sites); n > 0 {
				t.Errorf("%d sites hold a breakpoint", n)
			}
			p.Do(t, "keep 5")
			if s := snapshot(t, prof); len(s.Blocks) != 5 {
				t.Errorf("%d blocks, want the 5 from before", len(s.Blocks))
			}
		})
	}
}
