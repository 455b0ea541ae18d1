// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"leakprof/collector/lab"
)

// capabilities are those that units and images of ours may name.
var capabilities = map[string]uintptr{
	"CAP_BPF":                unix.CAP_BPF,
	"CAP_PERFMON":            unix.CAP_PERFMON,
	"CAP_SYS_PTRACE":         unix.CAP_SYS_PTRACE,
	"CAP_CHECKPOINT_RESTORE": unix.CAP_CHECKPOINT_RESTORE,
	"CAP_DAC_READ_SEARCH":    unix.CAP_DAC_READ_SEARCH,
}

// unitCapabilities returns the capabilities that the systemd unit gives.
func unitCapabilities(t *testing.T) []string {
	t.Helper()
	unit, err := os.ReadFile("../../scripts/systemd/leakprof.service")
	if err != nil {
		t.Fatal(err)
	}
	given := regexp.MustCompile(`(?m)^AmbientCapabilities=(.*)$`).FindSubmatch(unit)
	bound := regexp.MustCompile(`(?m)^CapabilityBoundingSet=(.*)$`).FindSubmatch(unit)
	if given == nil || bound == nil || string(given[1]) != string(bound[1]) {
		t.Fatalf("the unit gives %q and bounds by %q", given, bound)
	}
	return strings.Fields(string(given[1]))
}

// numbers returns capabilities by their names, which have to be among those that
// leakprof may ask for.
func numbers(t *testing.T, names []string) []uintptr {
	t.Helper()
	var all []uintptr
	for _, name := range names {
		number, ok := capabilities[name]
		if !ok {
			t.Fatalf("%s is not among the capabilities that leakprof may ask for", name)
		}
		all = append(all, number)
	}
	return all
}

// TestLeastCapabilities: with the capabilities of the unit an ordinary user
// follows a BIRD of root's, and with any one of them less, but for that for
// replaced files, does not, and is told which is missing.
func TestLeastCapabilities(t *testing.T) {
	bird := startBird(t, lab.Config{Binary: findBird(t, "bird2-sid"), Peers: 1})
	args := []string{
		"attach", "--pid", strconv.Itoa(bird.PID()), "--bmp", "", "--birdc", "none", "--settle", "100ms",
		"--interval", "100ms", "--cycles", "2", "--out", "out",
	}
	all := unitCapabilities(t)
	run := startAsNobody(t, numbers(t, all), args...)
	got := run.wait()
	if got.status != exitDone || !strings.Contains(got.stderr, "attached to pid") {
		t.Fatalf("with %v: exit status %d\n%s%s", all, got.status, got.stderr, got.stdout)
	}
	private(t, filepath.Join(run.Dir, "out"))
	for i, left := range all {
		if left == "CAP_CHECKPOINT_RESTORE" {
			continue // for files that were replaced: TestUpgraded
		}
		got := startAsNobody(t, numbers(t, slices.Delete(slices.Clone(all), i, i+1)), args...).wait()
		if got.status != exitError || strings.Count(got.stderr, "\n") != 1 || !strings.Contains(got.stderr, left) {
			t.Errorf("without %s: exit status %d\n%s", left, got.status, got.stderr)
		}
	}
}
