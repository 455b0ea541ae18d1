// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"leakprof/profiler/report"
)

const otherOutput = "choose another with --out DIR"

// usualReport is what the files of a run take together, in bytes: those of a
// BIRD with a thousand stacks are some 2 MB.
const usualReport = 8 << 20

// makeOut makes an output directory, which gets its name from the pid if it has
// none, and looks whether it can be written into: hours later is too late to find
// that it cannot. made says that it was not there before.
func makeOut(out *string, pid int) (made bool, err error) {
	if *out == "" {
		*out = fmt.Sprintf("leakprof-%d", pid)
	}
	_, err = os.Lstat(*out)
	made = errors.Is(err, fs.ErrNotExist)
	if err := os.MkdirAll(*out, 0o700); err != nil {
		return false, fmt.Errorf("make output directory: %w; %s", err, otherOutput)
	}
	if err := unix.Faccessat(unix.AT_FDCWD, *out, unix.W_OK|unix.X_OK, unix.AT_EACCESS); err != nil {
		return made, fmt.Errorf("write into %s: %w; %s", *out, err, otherOutput)
	}
	return made, nil
}

// littleRoom says that a report may not fit into a directory; "" if it will, or
// if that cannot be told.
func littleRoom(dir string) string {
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return ""
	}
	room := fs.Bavail * uint64(fs.Bsize)
	if room >= usualReport {
		return ""
	}
	return fmt.Sprintf("%s has room for %s, and a report may take %s; %s", dir, report.Size(int64(room)), report.Size(usualReport), otherOutput)
}

// explainFull says what to do about a file that did not fit.
func explainFull(err error) error {
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return fmt.Errorf("%w; make room there, or %s", err, otherOutput)
	}
	return err
}
