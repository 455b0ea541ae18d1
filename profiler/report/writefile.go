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
	"strings"

	"golang.org/x/sys/unix"
)

// WriteFile writes a file that has its name only when it is complete: nobody
// ever sees a part of it, not even after a power failure. A writer that is killed
// leaves nothing, or, where it was about to replace a file or the file system has
// no files without a name, one that the next writer in that directory removes. Only the owner may read it (mode 0600): it tells what
// the router does.
func WriteFile(path string, content func(io.Writer) error) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("write %s: %w", path, err)
		}
	}()
	removeAbandoned(filepath.Dir(path))
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
		return locked(&file{File: os.NewFile(uintptr(fd), dir)}), nil
	case !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.EISDIR):
		return nil, err
	}
	return namedFile(dir)
}

func namedFile(dir string) (*file, error) {
	f, err := os.CreateTemp(dir, temporaryPrefix+"*") // mode 0600
	if err != nil {
		return nil, err
	}
	return locked(&file{f, f.Name()}), nil
}

// locked locks a file for as long as its writer lives: so others know that it is
// not abandoned (flock(2)). It is no error where that cannot be done.
func locked(f *file) *file {
	_ = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	return f
}

// temporaryPrefix is how the names begin that files have until they get theirs.
const temporaryPrefix = ".leakprof-"

// removeAbandoned removes from a directory what writers have left there that were
// killed: our own files, which nobody has locked. What cannot be removed stays.
func removeAbandoned(dir string) {
	d, err := os.Open(dir)
	if err != nil {
		return
	}
	defer d.Close()
	names, _ := d.Readdirnames(-1)
	for _, name := range names {
		if strings.HasPrefix(name, temporaryPrefix) && isAbandoned(d, name) {
			_ = unix.Unlinkat(int(d.Fd()), name, 0)
		}
	}
}

func isAbandoned(dir *os.File, name string) bool {
	fd, err := unix.Openat(int(dir.Fd()), name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	return unix.Fstat(fd, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFREG && int(st.Uid) == os.Geteuid() &&
		unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB) == nil
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
			f.temporary = filepath.Join(filepath.Dir(path), fmt.Sprintf("%s%08x", temporaryPrefix, rand.Uint32()))
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
