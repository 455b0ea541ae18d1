// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// place is a directory that a process under test can write to.
type place struct {
	here   string // as we see it
	inside string // as the process does
	root   string // the directory that the process runs in, "" for none
}

// other is another profiler, as its users run it.
type other struct {
	name    string
	needs   []string // files, any of which is there
	install string   // what brings it
	// begin is called before the process starts: what is added to its environment, and
	// what reads beside it, nil for nothing.
	begin func(ctx context.Context, found string, p place) ([]string, attached, error)
	// attach is called once the process runs; nil if begin is all.
	attach func(ctx context.Context, found string, v victim) (attached, error)
	// report is how many bytes it says are live, or leaked; after the process's end
	// with atEnd, else before.
	report func(ctx context.Context, p place, a attached) (int64, error)
	atEnd  bool
}

// victim is a process that another profiler is attached to.
type victim struct {
	pid  int
	libc string // its C library, as we see it
}

// errAbsent says that a profiler is not installed.
var errAbsent = errors.New("absent")

// find is the first of the files that it needs.
func (o other) find() (string, error) {
	for _, file := range o.needs {
		if !filepath.IsAbs(file) {
			if path, err := exec.LookPath(file); err == nil {
				return path, nil
			}
		} else if _, err := os.Stat(file); err == nil {
			return file, nil
		}
	}
	return "", fmt.Errorf("%w: %s", errAbsent, o.install)
}

// variant is the profiler beside a BIRD.
func (o other) variant() variant {
	v := variant{name: o.name, other: true}
	v.begin = func(ctx context.Context, p place) ([]string, attached, error) {
		found, err := o.find()
		if err != nil || o.begin == nil {
			return nil, nil, err
		}
		return o.begin(ctx, found, p)
	}
	if o.attach != nil {
		v.attach = func(ctx context.Context, s *subject) (attached, error) {
			found, err := o.find()
			if err != nil {
				return nil, err
			}
			libc, err := libcOf(s.bird.PID(), s.binary.Root)
			if err != nil {
				return nil, err
			}
			return o.attach(ctx, found, victim{s.bird.PID(), libc})
		}
	}
	return v
}

// libcOf is the C library that a process has mapped, as we see it.
func libcOf(pid int, root string) (string, error) {
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(maps)) {
		if i := strings.IndexByte(line, '/'); i >= 0 && strings.HasPrefix(filepath.Base(line), "libc.so.6") {
			path := strings.TrimSpace(line[i:])
			if root != "" && !strings.HasPrefix(path, root) {
				path = filepath.Join(root, path)
			}
			return path, nil
		}
	}
	return "", fmt.Errorf("process %d has no libc.so.6", pid)
}

// libraryDirs are where Debian has libraries.
var libraryDirs = []string{"/usr/lib/x86_64-linux-gnu", "/lib/x86_64-linux-gnu", "/usr/lib64", "/lib64"}

// preload is the environment by which a process loads a library before others. In a root
// it gets a copy, with what it needs and the root has not.
func preload(library string, p place, more ...string) ([]string, error) {
	if p.root == "" {
		return append(more, "LD_PRELOAD="+library), nil
	}
	pending, seen := []string{library}, []string{library}
	for len(pending) > 0 {
		path := pending[0]
		pending = pending[1:]
		data, err := os.ReadFile(path)
		if err == nil {
			err = os.WriteFile(filepath.Join(p.here, filepath.Base(path)), data, 0o755)
		}
		if err != nil {
			return nil, err
		}
		file, err := elf.Open(path)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", path, err)
		}
		needed, err := file.ImportedLibraries()
		file.Close()
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", path, err)
		}
		for _, name := range needed {
			if findLibrary(p.root, name) != "" || slices.Contains(seen, name) {
				continue
			}
			host := findLibrary("", name)
			if host == "" {
				return nil, fmt.Errorf("%s, which %s needs, is not there", name, path)
			}
			pending, seen = append(pending, host), append(seen, name)
		}
	}
	return append(more,
		"LD_PRELOAD="+filepath.Join(p.inside, filepath.Base(library)),
		"LD_LIBRARY_PATH="+p.inside), nil
}

// findLibrary is the path of a library below a root, "" if it is not there.
func findLibrary(root, name string) string {
	for _, dir := range libraryDirs {
		path := filepath.Join(root, dir, name)
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	return ""
}

// follower is a profiler that is a process of its own and says all at its end.
type follower struct{ *command }

func (f *follower) Flooded(context.Context) error { return f.lookAtMaps() }

func (f *follower) Finish(_ context.Context, r *run) error {
	return f.used(r)
}

// inside is a profiler in the process itself.
type inside struct{}

func (inside) CPU() (time.Duration, error)        { return 0, nil }
func (inside) Flooded(context.Context) error      { return nil }
func (inside) Finish(context.Context, *run) error { return nil }
func (inside) Close() error                       { return nil }
