// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
	"kernel.org/pub/linux/libs/security/libcap/cap"

	"leakprof/profiler/report"
)

const nobody = 65534 // uid and gid

// startAsNobody starts the program as a common user with some capabilities, in
// the group that the control socket of a BIRD of root's belongs to, and in a
// directory of his own. It is killed with the test.
func startAsNobody(t *testing.T, capabilities []uintptr, args ...string) *running {
	t.Helper()
	if args[0] == "attach" && !slices.Contains(args, "--estimate") {
		args = append(slices.Clone(args), "--estimate", "0") // as start does
	}
	if err := os.Chmod(filepath.Dir(program), 0o711); err != nil {
		t.Fatal(err)
	}
	// Above t.TempDir() are directories of root's alone.
	dir, err := os.MkdirTemp("", "leakprof-nobody-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chown(dir, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), runDeadline)
	r := &running{Cmd: exec.CommandContext(ctx, program, args...), done: make(chan struct{})}
	r.Dir = dir
	r.Env = []string{"PATH=" + os.Getenv("PATH")}
	r.SysProcAttr = &syscall.SysProcAttr{
		Credential:  &syscall.Credential{Uid: nobody, Gid: nobody, Groups: []uint32{0}},
		AmbientCaps: capabilities,
	}
	r.begin(t, cancel)
	return r
}

// private fails the test unless all that is in a directory of nobody's is his
// alone.
func private(t *testing.T, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		var st unix.Stat_t
		if err == nil {
			err = unix.Lstat(path, &st)
		}
		if err == nil && (st.Uid != nobody || st.Mode&0o077 != 0) {
			t.Errorf("%s: owner %d, mode %o", path, st.Uid, st.Mode)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// TestFileCapabilities: with the capabilities of its file (setcap), and without
// CAP_DAC_READ_SEARCH among them, files are written and replaced all the same:
// such a process owns nothing in its own /proc, by which a file gets its name.
func TestFileCapabilities(t *testing.T) {
	dir, err := os.MkdirTemp("", "leakprof-setcap-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	data, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	result, err := os.ReadFile(filepath.Join(saved(t, "leak"), report.JSONFile))
	if err != nil {
		t.Fatal(err)
	}
	able := filepath.Join(dir, "leakprof")
	for _, f := range []struct {
		name string
		data []byte
		mode os.FileMode
	}{{able, data, 0o755}, {filepath.Join(dir, report.JSONFile), result, 0o644}} {
		if err := os.WriteFile(f.name, f.data, f.mode); err != nil {
			t.Fatal(err)
		}
	}
	rights := cap.NewSet()
	if err := errors.Join(
		rights.SetFlag(cap.Permitted, true, cap.BPF, cap.PERFMON, cap.SYS_PTRACE, cap.CHECKPOINT_RESTORE),
		rights.SetFlag(cap.Effective, true, cap.BPF, cap.PERFMON, cap.SYS_PTRACE, cap.CHECKPOINT_RESTORE),
		rights.SetFile(able), os.Chown(dir, nobody, nobody),
	); err != nil {
		t.Fatal(err)
	}
	page := filepath.Join(dir, "page.html")
	for range 2 {
		c := exec.CommandContext(t.Context(), able, "report", dir, "--html", page)
		c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	if info, err := os.Stat(page); err != nil || info.Size() == 0 || info.Mode() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 3 {
		t.Errorf("there are %v, %v", entries, err)
	}
}
