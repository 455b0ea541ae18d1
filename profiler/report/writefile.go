// SPDX-License-Identifier: Apache-2.0

package report

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// WriteFile writes a file that has its name only when it is complete: nobody
// ever sees a part of it, not even after a power failure, and a writer that is
// killed leaves nothing. Only the owner may read it (mode 0600): it tells what
// the router does.
func WriteFile(path string, content func(io.Writer) error) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("write %s: %w", path, err)
		}
	}()
	f, err := unnamedFile(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer f.Close()
	w := bufio.NewWriterSize(f, 64<<10)
	if err := content(w); err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	return f.name(path)
}

// file is one that is being written: without a name until name gives it one, or,
// where the file system has none without (O_TMPFILE, open(2)), under another.
type file struct {
	*os.File
	temporary string // its name; "" for none
}

func unnamedFile(dir string) (*file, error) {
	fd, err := unix.Open(dir, unix.O_TMPFILE|unix.O_WRONLY|unix.O_CLOEXEC, 0o600)
	switch {
	case err == nil:
		return &file{File: os.NewFile(uintptr(fd), dir)}, nil
	case !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.EISDIR):
		return nil, err
	}
	f, err := os.CreateTemp(dir, ".leakprof-*") // mode 0600
	if err != nil {
		return nil, err
	}
	return &file{f, f.Name()}, nil
}

// name gives the file its name, in the place of what has it.
func (f *file) name(path string) error {
	if f.temporary == "" {
		err := f.link(path)
		if !errors.Is(err, unix.EEXIST) {
			return err
		}
		// A link replaces nothing, and a rename needs a name.
		for errors.Is(err, unix.EEXIST) {
			f.temporary = filepath.Join(filepath.Dir(path), fmt.Sprintf(".leakprof-%08x", rand.Uint32()))
			err = f.link(f.temporary)
		}
		if err != nil {
			f.temporary = ""
			return err
		}
	}
	if err := os.Rename(f.temporary, path); err != nil {
		return err
	}
	f.temporary = ""
	return nil
}

// link gives a file without a name its first one.
func (f *file) link(path string) error {
	// With an empty path in place of /proc it takes CAP_DAC_READ_SEARCH (linkat(2)).
	return unix.Linkat(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", f.Fd()), unix.AT_FDCWD, path, unix.AT_SYMLINK_FOLLOW)
}

// Close also removes a file that did not get its name.
func (f *file) Close() error {
	err := f.File.Close()
	if f.temporary != "" {
		err = errors.Join(err, os.Remove(f.temporary))
	}
	return err
}
