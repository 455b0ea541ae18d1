// SPDX-License-Identifier: Apache-2.0

package main

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
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

// startAs runs the program as nobody, with some capabilities and nothing else of root.
func startAs(t *testing.T, names []string, args ...string) result {
	t.Helper()
	// Where the tests run is root's own.
	dir, err := os.MkdirTemp("", "leakprof-nobody-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	const nobody = 65534
	data, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	exe := filepath.Join(dir, "program")
	if err := os.WriteFile(exe, data, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(dir, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	var ambient []uintptr
	for _, name := range names {
		number, ok := capabilities[name]
		if !ok {
			t.Fatalf("%s is not among the capabilities that leakprof may ask for", name)
		}
		ambient = append(ambient, number)
	}
	var stdout, stderr strings.Builder
	c := exec.CommandContext(t.Context(), exe, args...)
	c.Dir, c.Stdout, c.Stderr = dir, &stdout, &stderr
	c.Env = []string{"XDG_RUNTIME_DIR=" + dir, "PATH=" + os.Getenv("PATH")}
	c.SysProcAttr = &syscall.SysProcAttr{
		Credential:  &syscall.Credential{Uid: nobody, Gid: nobody},
		AmbientCaps: ambient,
		Pdeathsig:   unix.SIGKILL,
	}
	c.Run()
	// Whoever runs as nobody writes as nobody.
	filepath.WalkDir(filepath.Join(dir, "out"), func(path string, _ fs.DirEntry, err error) error {
		var st unix.Stat_t
		if err == nil && unix.Lstat(path, &st) == nil && (st.Uid != nobody || st.Mode&0o077 != 0) {
			t.Errorf("%s: owner %d, mode %o", path, st.Uid, st.Mode)
		}
		return nil
	})
	return result{c.ProcessState.ExitCode(), stdout.String(), stderr.String()}
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
	got := startAs(t, all, args...)
	if got.status != exitDone || !strings.Contains(got.stderr, "attached to pid") {
		t.Fatalf("with %v: exit status %d\n%s%s", all, got.status, got.stderr, got.stdout)
	}
	for i, left := range all {
		if left == "CAP_CHECKPOINT_RESTORE" {
			continue // for files that were replaced: TestUpgraded
		}
		got := startAs(t, slices.Delete(slices.Clone(all), i, i+1), args...)
		if got.status != exitError || strings.Count(got.stderr, "\n") != 1 || !strings.Contains(got.stderr, left) {
			t.Errorf("without %s: exit status %d\n%s", left, got.status, got.stderr)
		}
	}
}
