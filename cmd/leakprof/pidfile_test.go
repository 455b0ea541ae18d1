// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// numbered is a process in a made-up process file system: its number in its own
// pid namespace, its root directory, and its command line.
type numbered struct {
	own  int
	root string
	args []string
}

func numberedProc(t *testing.T, all map[int]numbered) string {
	t.Helper()
	proc := t.TempDir()
	for pid, p := range all {
		dir := filepath.Join(proc, strconv.Itoa(pid))
		numbers := fmt.Sprint(pid)
		if p.own != pid {
			numbers += fmt.Sprint("\t", p.own)
		}
		for _, err := range []error{
			os.Mkdir(dir, 0o755),
			os.Symlink(p.root, filepath.Join(dir, "root")),
			os.WriteFile(filepath.Join(dir, "status"), []byte("Name:\tbird\nNSpid:\t"+numbers+"\nVmRSS:\t1 kB\n"), 0o644),
			os.WriteFile(filepath.Join(dir, "cmdline"), []byte(strings.Join(p.args, "\x00")+"\x00"), 0o644),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	return proc
}

// TestFindByFile: the number in a pid file is one of the pid namespace of the
// process in whose root the file lies.
func TestFindByFile(t *testing.T) {
	top := t.TempDir()
	one, two, both := filepath.Join(top, "one"), filepath.Join(top, "two"), filepath.Join(top, "both")
	for path, content := range map[string]string{
		"run/bird.pid":      "4711\n",
		"one/run/bird.pid":  "7\n",
		"two/run/bird.pid":  "7\n",
		"both/run/bird.pid": "8\n",
		"gone/run/bird.pid": "4711\n",
	} {
		path = filepath.Join(top, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	// An absolute link is one within the root.
	if err := os.Symlink("/run", filepath.Join(one, "var")); err != nil {
		t.Fatal(err)
	}
	proc := numberedProc(t, map[int]numbered{
		4711: {4711, top, []string{"bird"}},
		100:  {4711, one, []string{"bird", "-P", "/run/bird.pid"}},
		101:  {7, one, []string{"bird", "-P", "/run/bird.pid"}},
		102:  {7, two, []string{"bird"}},
		103:  {7, top, []string{"sleep", "60"}},
		104:  {8, both, []string{"bird", "-fP", "/run/bird.pid"}},
		105:  {8, both, []string{"sleep", "60"}},
		106:  {9, both, []string{"bird", "-P/run/bird.pid"}},
	})
	for _, c := range []struct {
		file string
		want int
		says string
	}{
		{"run/bird.pid", 4711, ""},
		{"one/run/bird.pid", 101, ""},   // 103 has it in its root, too, but not the option
		{"both/run/bird.pid", 104, ""},  // as has 105
		{"gone/run/bird.pid", 4711, ""}, // in the root of all, by a longer name
		{"two/run/bird.pid", 0, "2 have the number 7 in their pid namespace, and the file in their root; choose one by its number here: 102 (bird), 103 (sleep 60)"},
	} {
		got, err := findByFile(proc, filepath.Join(top, c.file))
		var usage usageError
		switch {
		case c.says == "" && (err != nil || got != c.want):
			t.Errorf("%s: %d, %v, want %d", c.file, got, err, c.want)
		case c.says != "" && (!errors.As(err, &usage) || !strings.Contains(err.Error(), c.says)):
			t.Errorf("%s: %d, %v, want %q", c.file, got, err, c.says)
		}
	}
	// As a container's files are seen by way of proc.
	if got, err := findByFile(proc, filepath.Join(proc, "102/root/run/bird.pid")); err != nil || got != 102 {
		t.Errorf("got %d, %v, want 102", got, err)
	}
	// There /var leads to the root's own /run, and not to ours.
	if got, err := findByFile(proc, filepath.Join(proc, "101/root/var/bird.pid")); err != nil || got != 101 {
		t.Errorf("got %d, %v, want 101", got, err)
	}
	// Where nobody has it, the number is ours.
	if got, err := findByFile(t.TempDir(), filepath.Join(top, "one/run/bird.pid")); err != nil || got != 7 {
		t.Errorf("got %d, %v, want 7", got, err)
	}
}

func TestBirdArgument(t *testing.T) {
	for _, c := range []struct {
		args  string
		want  string
		local bool
	}{
		{"bird", "", false},
		{"bird -s /a", "/a", false},
		{"bird -s/a", "/a", false},
		{"bird -fs /a", "/a", false},
		{"bird -fs/a -c x", "/a", false},
		{"bird -c -s -f", "", false}, // -s is the configuration's name
		{"bird -cs", "", false},
		{"bird -s /a -s /b", "/b", false},
		{"bird -s", "", false},
		{"bird -l", "", true},
		{"bird -fl -s x", "x", true},
		{"bird -- -s /a", "", false},
		{"bird x -s /a", "", false},
	} {
		if got, local := birdArgument(strings.Fields(c.args), 's'); got != c.want || local != c.local {
			t.Errorf("%s: %q, %v, want %q, %v", c.args, got, local, c.want, c.local)
		}
	}
}
