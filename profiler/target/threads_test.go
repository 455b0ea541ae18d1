// SPDX-License-Identifier: Apache-2.0

package target

import (
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"leakprof/profiler/internal/fixture"
)

func TestOwnNumber(t *testing.T) {
	for content, want := range map[string]int{
		"Name:\tbird\nNSpid:\t4711\t12\t7\nThreads:\t1\n": 7,
		"NSpid:\t4711\n":    4711,
		"NSpid:\n":          0,
		"NSpid:\t1 x\n":     0,
		"Name:\tNSpid: 4\n": 0,
		"":                  0,
	} {
		path := filepath.Join(t.TempDir(), "status")
		must(t, os.WriteFile(path, []byte(content), 0o644))
		if got, err := OwnNumber(path); got != want || (err == nil) != (want != 0) {
			t.Errorf("%q: %d, %v, want %d", content, got, err, want)
		}
	}
}

// TestThreadList: threads have the numbers that they have here, and those that
// they have where they are.
func TestThreadList(t *testing.T) {
	self, err := Open(os.Getpid())
	must(t, err)
	defer self.Close()
	all, err := self.ThreadList()
	must(t, err)
	if !slices.Contains(all, Thread{os.Getpid(), os.Getpid()}) {
		t.Errorf("%d is not among %v", os.Getpid(), all)
	}
	f := fixture.StartIn(t, syscall.CLONE_NEWPID, fixture.Compile(t, "gcc", "-O2", "calloc_only.c"))
	other, err := Open(f.PID)
	must(t, err)
	defer other.Close()
	if all, err := other.ThreadList(); err != nil || !slices.Equal(all, []Thread{{f.PID, 1}}) {
		t.Errorf("got %v, %v, want %d as 1", all, err, f.PID)
	}
}
