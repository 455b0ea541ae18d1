// SPDX-License-Identifier: Apache-2.0

package main

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"leakprof/profiler/report"
	"leakprof/profiler/target"
)

// TestCycleExec makes cycles of reconfigurations, while routes are in.
func TestCycleExec(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	got := start(t, "lab", "--bird", birdPath(t, birds[0]), "--bmp=false", "--routes", "2000", "--cycles", "2", "--settle", "300ms", "--out", out,
		"--cycle-exec", `test -S "$LEAKPROF_SOCKET" && kill -HUP $LEAKPROF_PID`).wait()
	if got.status != exitDone {
		t.Fatalf("exit status %d\n%s", got.status, got.stderr)
	}
	d := readReport(t, out)
	var names []string
	for _, p := range d.Phases {
		names = append(names, p.Name)
		if p.Name == "settled" && (p.Routes == nil || *p.Routes != 8000) {
			t.Errorf("%v routes after cycle %d, want 8000", p.Routes, p.Cycle)
		}
	}
	if got, want := strings.Join(names, " "), "baseline running settled running settled"; got != want {
		t.Errorf("phases %s, want %s", got, want)
	}
	if d.Verdict != report.Clean {
		t.Errorf("verdict %s: %s", d.Verdict, d.VerdictSentence)
	}
}

// TestCycleExecFails: a command that fails ends the run, in its own words.
func TestCycleExecFails(t *testing.T) {
	got := start(t, "lab", "--bird", birdPath(t, birds[0]), "--attach=false", "--routes", "10", "--settle", "100ms", "--out", t.TempDir(), "--cycle-exec", "echo first; echo no such thing >&2; exit 3").wait()
	if want := "in cycle 1: exit status 3: no such thing"; got.status != exitError || !strings.Contains(got.stderr, want) {
		t.Errorf("exit status %d, want %q in\n%s", got.status, want, got.stderr)
	}
}

// TestCycleExecSocket: the command of a cycle has the socket that is in the
// process's root at that time, and no link leads it out of there.
func TestCycleExecSocket(t *testing.T) {
	root, outside := t.TempDir(), filepath.Join(t.TempDir(), "ctl")
	data, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "leakprof"), data, 0o755); err != nil {
		t.Fatal(err)
	}
	// Anything that runs in a root and waits.
	c := exec.Command("/leakprof", "meter")
	c.SysProcAttr = &syscall.SysProcAttr{Chroot: root}
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		c.Wait()
	})
	p, err := target.Open(c.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	inode := make(map[string]uint64)
	for _, path := range []string{outside, filepath.Join(root, "one"), filepath.Join(root, "two")} {
		l, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		var st unix.Stat_t
		if err := unix.Stat(path, &st); err != nil {
			t.Fatal(err)
		}
		inode[path] = st.Ino
	}
	ctl := filepath.Join(root, "ctl")
	for _, c := range []struct{ leads, to string }{
		{"one", filepath.Join(root, "one")},
		{"/two", filepath.Join(root, "two")},
		{outside, ""},
		{strings.Repeat("../", 20) + outside[1:], ""},
		{"none", ""},
	} {
		os.Remove(ctl)
		if err := os.Symlink(c.leads, ctl); err != nil {
			t.Fatal(err)
		}
		got := filepath.Join(t.TempDir(), "inode")
		err := cycleCommand("stat -L -c %i $LEAKPROF_SOCKET >"+got, p, p.Root()+"/ctl")(t.Context())
		found, _ := os.ReadFile(got)
		switch {
		case c.to == "" && (err == nil || len(found) > 0 || !strings.Contains(err.Error(), "in cycle 1: find socket")):
			t.Errorf("%s: has %s, %v", c.leads, found, err)
		case c.to != "" && (err != nil || strings.TrimSpace(string(found)) != strconv.FormatUint(inode[c.to], 10)):
			t.Errorf("%s: has %s, %v, want %d", c.leads, found, err, inode[c.to])
		}
	}
	// One that the user has named is the user's.
	if err := cycleCommand("test $LEAKPROF_SOCKET = "+outside, p, outside)(t.Context()); err != nil {
		t.Error(err)
	}
}
