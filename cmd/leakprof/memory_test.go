// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"leakprof/collector/lab"
)

// TestOutOfMemory: a leakprof that gets no more memory ends, in whichever way,
// and leaves nothing; BIRD does not notice. The kernel's killer comes with
// LEAKPROF_TORTURE alone, for not everybody may make a control group.
func TestOutOfMemory(t *testing.T) {
	t.Parallel()
	bird := startBird(t, lab.Config{Binary: findBird(t, birds[0]), Peers: attachPeers})
	churn := startChurn(t, bird)
	before := tracesOf(t, bird)
	attach := []string{"attach", "--pid", strconv.Itoa(bird.PID()), "--bmp", "", "--birdc", controlUnderChurn(bird), "--max-memory", "64M"}
	tally := make(map[string]int)
	check := func(run *running, out string) {
		got := run.wait()
		how := "killed"
		if run.ProcessState.Exited() {
			how = fmt.Sprintf("exit status %d", got.status)
		}
		if lines := strings.Split(strings.TrimSpace(got.stderr), "\n"); how == "exit status 1" {
			how = lines[len(lines)-1]
		}
		tally[how]++
		before.gone(t)
		wholeReport(t, out)
		if t.Failed() {
			t.Fatalf("%s\n%s", how, got.stderr)
		}
	}
	for range rounds(1, 20) {
		out := filepath.Join(t.TempDir(), "out")
		run := start(t, append(attach, "--out", out)...)
		run.says(t, "attached to pid")
		limit := uint64(addressSpace(t, run.Process.Pid)) + rand.Uint64N(4<<20)
		if err := unix.Prlimit(run.Process.Pid, unix.RLIMIT_AS, &unix.Rlimit{Cur: limit, Max: limit}, nil); err != nil {
			t.Fatal(err)
		}
		time.Sleep(rand.N(200 * time.Millisecond))
		run.Process.Signal(os.Interrupt)
		check(run, out)
	}
	for range rounds(0, 40) {
		out := filepath.Join(t.TempDir(), "out")
		group := memoryGroup(t, 10<<20+rand.Int64N(60<<20))
		run := startIn(t, group, append(attach, "--duration", "1s", "--out", out)...)
		check(run, out)
	}
	for _, how := range slices.Sorted(maps.Keys(tally)) {
		t.Logf("%3d %s", tally[how], how)
	}
	churn.stop(t)
}

// addressSpace is how much a process has mapped, in bytes.
func addressSpace(t *testing.T, pid int) int64 {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		t.Fatal(err)
	}
	var pages int64
	if _, err := fmt.Sscan(string(b), &pages); err != nil {
		t.Fatal(err)
	}
	return pages * int64(os.Getpagesize())
}

// memoryGroup makes a control group, of either version, whose processes have so
// much memory together, in bytes, until the test ends.
func memoryGroup(t *testing.T, limit int64) string {
	t.Helper()
	root, file := "/sys/fs/cgroup", "memory.max"
	if _, err := os.Stat("/sys/fs/cgroup/memory/memory.limit_in_bytes"); err == nil {
		root, file = "/sys/fs/cgroup/memory", "memory.limit_in_bytes"
	}
	dir, err := os.MkdirTemp(root, "leakprof-test-")
	if err != nil {
		t.Fatalf("make a control group: %v: LEAKPROF_TORTURE wants a machine, and no container", err)
	}
	t.Cleanup(func() {
		if err := os.Remove(dir); err != nil {
			t.Error(err)
		}
	})
	if err := os.WriteFile(filepath.Join(dir, file), []byte(strconv.FormatInt(limit, 10)), 0); err != nil {
		t.Fatalf("bound a control group: %v", err)
	}
	return dir
}

// startIn starts the program in a control group.
func startIn(t *testing.T, group string, args ...string) *running {
	t.Helper()
	return startCommand(t, runDeadline, "sh", append([]string{"-c", `echo $$ > "$0/cgroup.procs" && exec "$@"`, group, program}, append(args, "--estimate", "0")...)...)
}
