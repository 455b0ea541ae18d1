// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"leakprof/collector/lab"
	"leakprof/profiler/report"
)

// smallDisk mounts a file system of so many bytes until the test ends.
func smallDisk(t *testing.T, bytes int) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("leakprof-test", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=700,size="+strconv.Itoa(bytes)); err != nil {
		t.Fatalf("mount a small file system: %v: run as root", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// TestDiskFull: a report that does not fit is printed all the same, the error
// names the file and what to do, and no part of a file is left. Of intervals
// each says so, and the run goes on.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	bird := startBird(t, lab.Config{Binary: findBird(t, birds[0]), Peers: 1})
	for _, c := range []struct {
		name  string
		pages int
		args  []string
		warns string
	}{
		{"nothing fits", 0, nil, ""},
		{"some fit", 12, nil, ""},
		{"intervals", 12, []string{"--interval", "500ms", "--settle", "100ms", "--cycles", "2"}, "leakprof: warning: write "},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			disk := smallDisk(t, max(c.pages, 1)*os.Getpagesize())
			out := filepath.Join(disk, "out")
			if c.pages == 0 {
				if err := os.WriteFile(filepath.Join(disk, "other"), make([]byte, os.Getpagesize()), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			args := []string{"attach", "--pid", strconv.Itoa(bird.PID()), "--bmp", "", "--birdc", bird.Control(), "--max-memory", "64M", "--out", out, "--duration", "1s"}
			if c.args != nil {
				args = append(args[:len(args)-2], c.args...)
			}
			got := start(t, args...).wait()
			if got.status != exitError {
				t.Errorf("exit status %d, want %d", got.status, exitError)
			}
			lines := strings.Split(strings.TrimSpace(got.stderr), "\n")
			if last := lines[len(lines)-1]; !strings.HasPrefix(last, "leakprof: write "+out+"/") || !strings.HasSuffix(last, ": no space left on device; make room there, or choose another with --out DIR") {
				t.Errorf("the last line is %q", last)
			}
			if want := "leakprof: warning: " + out + " has room for "; !strings.Contains(got.stderr, want) {
				t.Errorf("no %q in\n%s", want, got.stderr)
			}
			if !strings.Contains(got.stderr, c.warns) {
				t.Errorf("no %q in\n%s", c.warns, got.stderr)
			}
			if !strings.Contains(got.stdout, "INCOMPLETE: ") && !strings.Contains(got.stdout, "CLEAN: ") || strings.Contains(got.stdout, "go tool pprof") {
				t.Errorf("printed is\n%s", got.stdout)
			}
			if _, err := os.Stat(filepath.Join(out, report.JSONFile)); err == nil {
				t.Errorf("%s is there", report.JSONFile)
			}
			wholeReport(t, out)
		})
	}
}

// TestOutputDirectory: what cannot be written into is refused at once.
func TestOutputDirectory(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	readOnly := smallDisk(t, 64<<10)
	if err := unix.Mount("", readOnly, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	for dir, says := range map[string]string{
		file:     "make output directory: mkdir " + file + ": not a directory; choose another with --out DIR",
		readOnly: "write into " + readOnly + ": read-only file system; choose another with --out DIR",
	} {
		if _, err := makeOut(&dir, 1); err == nil || err.Error() != says {
			t.Errorf("%s: error %v, want %s", dir, err, says)
		}
	}
	for bytes, want := range map[int]bool{1 << 20: true, 16 << 20: false} {
		if got := littleRoom(smallDisk(t, bytes)); (got != "") != want {
			t.Errorf("of a disk of %d bytes it says %q", bytes, got)
		}
	}
}

// TestOutputFirst: an output directory that cannot be had is said before BIRD's
// hits are counted, and one that was made for nothing is not left.
func TestOutputFirst(t *testing.T) {
	t.Parallel()
	bird := startBird(t, lab.Config{Binary: findBird(t, birds[1])})
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	attach := func(out string, more ...string) result {
		return start(t, append([]string{"attach", "--pid", strconv.Itoa(bird.PID()), "--bmp", "", "--out", out}, more...)...).wait()
	}
	got := attach(file, "--estimate", "10m")
	if got.status != exitError || !strings.Contains(got.stderr, "make output directory: mkdir "+file) {
		t.Errorf("exit status %d\n%s", got.status, got.stderr)
	}
	dir := filepath.Join(t.TempDir(), "out")
	got = attach(dir, "--birdc", file)
	if got.status != exitError {
		t.Errorf("with no control socket: exit status %d\n%s", got.status, got.stderr)
	}
	if _, err := os.Lstat(dir); err == nil {
		t.Errorf("%s is left", dir)
	}
}
