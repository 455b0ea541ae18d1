// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"leakprof/profiler/report"
)

// followed reads the report of a run that followed a BIRD at work.
func followed(t *testing.T, dir string) *report.Document {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, "report.json"))
	if err != nil {
		t.Fatal(err)
	}
	var d report.Document
	if err := json.Unmarshal(data, &d); err != nil {
		t.Fatal(err)
	}
	if q := d.StackQuality; q.Allocations < routes || q.Complete < q.Allocations*9/10 {
		t.Errorf("%d of %d allocations have whole stacks", q.Complete, q.Allocations)
	}
	return &d
}

// attachBriefly are the arguments of a run of two intervals, which does not wait
// for a BIRD at work to come to rest.
func attachBriefly(pid string, more ...string) []string {
	return append([]string{"attach", "--pid", pid, "--settle", "100ms", "--limit", "500ms", "--interval", "500ms", "--cycles", "2"}, more...)
}

// TestContainer: a BIRD in namespaces of its own is read, probed and asked from
// outside.
func TestContainer(t *testing.T) {
	b := startContainer(t, "bird3-trixie")
	b.churn(t)
	pid := strconv.Itoa(b.pid)
	file := fmt.Sprintf("/proc/%d/root/run/bird.pid", b.pid)
	for _, c := range []struct {
		args []string
		says string
	}{
		{[]string{"tree", "--pid", pid}, "Root"},
		{[]string{"plan", "--pid", file}, "malloc"},
		{[]string{"doctor", "--pid", file, "--bmp", ""}, "BIRD has its own: mount, pid, network; leakprof sees through"},
	} {
		if got := start(t, c.args...).wait(); got.status != exitDone || !strings.Contains(got.stdout, c.says) {
			t.Errorf("%v: exit status %d, want %q\n%s%s", c.args, got.status, c.says, got.stdout, got.stderr)
		}
	}
	out := filepath.Join(t.TempDir(), "out")
	got := start(t, attachBriefly(file, "--bmp", "", "--out", out)...).wait()
	if got.status != exitDone || strings.Contains(got.stderr, "no control socket") {
		t.Fatalf("exit status %d\n%s", got.status, got.stderr)
	}
	d := followed(t, out)
	if d.Target.PID != b.pid || d.Target.Version == "" {
		t.Errorf("the report is of %+v", d.Target)
	}
}

// TestSidecar: the program's image follows the BIRD of another container, whose
// pid and network namespace it shares, with the capabilities that the README
// names for it.
func TestSidecar(t *testing.T) {
	b := startContainer(t, "bird3-trixie")
	b.churn(t)
	rights := sidecarRights(t)
	// As BIRD's volume would have it: the number is that of this pid namespace.
	got, _ := b.runBeside(t, rights, "doctor", "--pid", "/proc/1/root/run/bird.pid")
	if got.status != exitDone || !strings.Contains(got.stdout, "control socket          /proc/1/root/run/bird.ctl") || !strings.Contains(got.stdout, "BIRD has a station at 127.0.0.1:11019") {
		t.Errorf("exit status %d\n%s%s", got.status, got.stdout, got.stderr)
	}
	got, out := b.runBeside(t, rights, attachBriefly("bird", "--out", "out")...)
	if got.status != exitDone || strings.Contains(got.stderr, "no control socket") {
		t.Fatalf("exit status %d\n%s%s", got.status, got.stdout, got.stderr)
	}
	if d := followed(t, filepath.Join(out, "out")); d.Target.PID != 1 || d.Target.Version == "" {
		t.Errorf("the report is of %+v", d.Target)
	}
}

// sidecarRights are the capabilities that the README gives the image.
func sidecarRights(t *testing.T) []string {
	t.Helper()
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`--cap-drop=all[^$]*?--cap-add=(\S+)`).FindSubmatch(readme)
	if m == nil {
		t.Fatal("the README runs no image with capabilities")
	}
	return strings.Split(string(m[1]), ",")
}

// TestOtherProc: a process file system that numbers processes otherwise than we
// do would have us follow another one.
func TestOtherProc(t *testing.T) {
	c := exec.Command("unshare", "--pid", "--fork", program, "tree", "--pid", "1")
	out, err := c.CombinedOutput()
	if c.ProcessState == nil {
		t.Fatalf("%v (apt-get install -y util-linux)", err)
	}
	if c.ProcessState.ExitCode() != exitError || !strings.Contains(string(out), "/proc is of another pid namespace") || strings.Count(string(out), "\n") != 1 {
		t.Errorf("exit status %d\n%s", c.ProcessState.ExitCode(), out)
	}
}
