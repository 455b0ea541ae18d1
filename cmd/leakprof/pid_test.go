// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"leakprof/collector/lab"
)

// fakeProc makes a process file system of processes by their executables and
// command lines.
func fakeProc(t *testing.T, exes map[int]string) string {
	t.Helper()
	proc := t.TempDir()
	for pid, exe := range exes {
		dir := filepath.Join(proc, strconv.Itoa(pid))
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		args := strings.Join([]string{exe, "-s", fmt.Sprintf("/run/%d.ctl", pid), "\x1b[2J"}, "\x00") + "\x00"
		if err := os.WriteFile(filepath.Join(dir, "cmdline"), []byte(args), 0o644); err != nil {
			t.Fatal(err)
		}
		if exe == "" { // a thread of the kernel
			continue
		}
		if err := os.Symlink(exe, filepath.Join(dir, "exe")); err != nil {
			t.Fatal(err)
		}
	}
	return proc
}

func TestFindPID(t *testing.T) {
	proc := fakeProc(t, map[int]string{
		10: "/usr/sbin/bird", 11: "/usr/sbin/birdc", 12: "",
		20: "/opt/a/gobgpd (deleted)",
		30: "/usr/sbin/bird6", 31: "/srv/bird6",
		os.Getpid(): "/usr/bin/leakprof",
	})
	dir := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	fifo := filepath.Join(dir, "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		text  string
		want  int
		says  string
		usage bool
	}{
		{text: "4711", want: 4711},
		{text: "0", says: "a pid is a positive number", usage: true},
		{text: "-5", says: "a pid is a positive number", usage: true},
		{text: "99999999999999999999", says: "a pid is a positive number", usage: true},
		{text: "bird", want: 10},
		{text: "gobgpd", want: 20},
		{text: "leakprof", says: "no process runs a program of that name"},
		{text: "bird7", says: "no process runs a program of that name"},
		{text: "bird6", says: "2 run a program of that name; choose one by its number: 30 (/usr/sbin/bird6 -s /run/30.ctl ?[2J), 31 (/srv/bird6 -s /run/31.ctl ?[2J)", usage: true},
		{text: file("bird.pid", "4711\n"), want: 4711},
		{text: file("blanks.pid", " 4712 \n\n"), want: 4712},
		{text: file("empty.pid", ""), says: "it is empty"},
		{text: file("two.pid", "1\n2\n"), says: "does not hold a pid alone"},
		{text: file("zero.pid", "0\n"), says: "does not hold a pid alone"},
		{text: file("long.pid", strings.Repeat(" ", maxPIDFile)+"4711\n"), says: "bytes are too many"},
		{text: fifo, says: "not a regular file"},
		{text: dir, says: "not a regular file"},
		{text: filepath.Join(dir, "none.pid"), says: "no such file"},
	} {
		t.Run(c.text, func(t *testing.T) {
			got, err := findPIDIn(proc, c.text)
			if c.says == "" {
				if err != nil || got != c.want {
					t.Errorf("got %d, %v, want %d", got, err, c.want)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Fatalf("got %d, %v, want an error that says %q", got, err, c.says)
			}
			var usage usageError
			if errors.As(err, &usage) != c.usage {
				t.Errorf("%v: usage error %v, want %v", err, !c.usage, c.usage)
			}
		})
	}
}

// TestFindPIDMany: an error stays a line that can be read, however many
// processes there are and whatever they call themselves.
func TestFindPIDMany(t *testing.T) {
	exes := make(map[int]string)
	for i := range 3 * maxListed {
		exes[100+i] = "/" + strings.Repeat("d/", 500) + "bird"
	}
	_, err := findPIDIn(fakeProc(t, exes), "bird")
	if err == nil || !strings.Contains(err.Error(), "24 run a program of that name") || !strings.Contains(err.Error(), "and 16 more") {
		t.Fatalf("got %v", err)
	}
	if n := len(err.Error()); n > 1200 {
		t.Errorf("an error of %d bytes: %v", n, err)
	}
}

// TestPIDOfBIRD: a real BIRD is found by a file and by its name.
func TestPIDOfBIRD(t *testing.T) {
	bird := startBird(t, lab.Config{Binary: findBird(t, "bird2-sid"), Peers: 1})
	path := filepath.Join(t.TempDir(), "bird.pid")
	if err := os.WriteFile(path, fmt.Appendln(nil, bird.PID()), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, command := range []string{"tree", "plan"} {
		if got := start(t, command, "--pid", path).wait(); got.status != exitDone || got.stdout == "" {
			t.Errorf("%s: exit status %d\n%s", command, got.status, got.stderr)
		}
	}
	pids, err := processesNamed(procfs, "bird")
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(pids, bird.PID()) {
		t.Errorf("BIRD %d is not among those of its name: %v", bird.PID(), pids)
	}
}
