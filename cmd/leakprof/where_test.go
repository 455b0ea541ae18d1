// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/google/pprof/profile"
	"golang.org/x/sys/unix"

	"leakprof/profiler/report"
	"leakprof/profiler/target"
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
	file := b.root + "/run/bird.pid"
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

// TestUpgraded: an upgrade has replaced BIRD's program by another version and its
// C library by another, and they still run: these are read and probed. The
// capability for that is named where it is missing.
func TestUpgraded(t *testing.T) {
	b := startContainer(t, "bird3-trixie")
	pid := strconv.Itoa(b.pid)
	was := start(t, "plan", "--pid", pid).wait()
	if was.status != exitDone {
		t.Fatalf("exit status %d\n%s", was.status, was.stderr)
	}
	newRoot := strings.TrimSuffix(birdPath(t, "bird2-sid"), "/usr/sbin/bird")
	for _, file := range []string{"/usr/sbin/bird", "/usr/lib/x86_64-linux-gnu/libc.so.6"} {
		data, err := os.ReadFile(newRoot + file)
		if err != nil {
			t.Fatal(err)
		}
		// As dpkg does it.
		if err := os.WriteFile(b.root+file+".dpkg-new", data, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(b.root+file+".dpkg-new", b.root+file); err != nil {
			t.Fatal(err)
		}
	}
	is := start(t, "plan", "--pid", pid).wait()
	if was.stdout != strings.ReplaceAll(is.stdout, " (deleted)", "") {
		t.Errorf("the plan was\n%s\nand is\n%s%s", was.stdout, is.stdout, is.stderr)
	}
	if got := start(t, "doctor", "--pid", pid, "--bmp", "").wait(); !strings.Contains(got.stdout, "/usr/sbin/bird, /usr/lib/x86_64-linux-gnu/libc.so.6 were replaced or deleted") {
		t.Errorf("the doctor says\n%s%s", got.stdout, got.stderr)
	}
	rights := []uintptr{unix.CAP_BPF, unix.CAP_PERFMON, unix.CAP_SYS_PTRACE, unix.CAP_DAC_READ_SEARCH}
	got := startAsNobody(t, rights, "plan", "--pid", pid).wait()
	if got.status != exitError || !strings.Contains(got.stderr, "libc.so.6") || !strings.Contains(got.stderr, "CAP_CHECKPOINT_RESTORE") || strings.Count(got.stderr, "\n") != 1 {
		t.Errorf("exit status %d\n%s", got.status, got.stderr)
	}
	b.churn(t)
	out := filepath.Join(t.TempDir(), "out")
	if got := start(t, attachBriefly(pid, "--bmp", "", "--out", out)...).wait(); got.status != exitDone {
		t.Fatalf("exit status %d\n%s", got.status, got.stderr)
	}
	d := followed(t, out)
	file, err := target.OpenModule(birdPath(t, "bird3-trixie"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	// Told by the code of the old file, which in the new one is elsewhere.
	if files := sourceFiles(t, filepath.Join(out, "settled.pb.gz")); !files["proto/static/static.c"] {
		t.Errorf("stacks are through %v", files)
	}
	if d.Target.BuildID != file.BuildID() || d.Target.BuildID == "" || !strings.HasPrefix(d.Target.Version, "3.1") {
		t.Errorf("the report is of %+v, BIRD's build ID is %s", d.Target, file.BuildID())
	}
}

// sourceFiles are the source files that the frames of a profile name.
func sourceFiles(t *testing.T, path string) map[string]bool {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	p, err := profile.Parse(f)
	if err != nil {
		t.Fatal(err)
	}
	files := make(map[string]bool)
	for _, fn := range p.Function {
		files[fn.Filename] = true
	}
	return files
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
