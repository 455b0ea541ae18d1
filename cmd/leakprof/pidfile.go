// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"leakprof/profiler/target"
)

const maxPIDFile = 64 // bytes; a pid has at most ten digits

// findByFile returns the process that a pid file is of. The number in it is one
// of the pid namespace of whoever wrote it, as BIRD does with -P: that of a
// container in a file that lies in the container's root. So it is a process
// which has that number where it is, and the file in its root. If there is none,
// or it cannot be told, the number is taken as one of our own namespace. Several
// are wrong usage.
func findByFile(proc, name string) (int, error) {
	number, file, err := readPIDFile(proc, name)
	if err != nil {
		return 0, err
	}
	all, err := processesNumbered(proc, number)
	if err != nil {
		return 0, fmt.Errorf("find process of %s: %w", name, err)
	}
	var having, writing []int
	for _, pid := range all {
		root := filepath.Join(proc, strconv.Itoa(pid), "root")
		if !liesIn(root, name, file) {
			continue
		}
		having = append(having, pid)
		if path, _ := birdArgument(argumentsOf(proc, pid), 'P'); path != "" && isFile(root, path, file) {
			writing = append(writing, pid)
		}
	}
	if len(writing) == 1 {
		return writing[0], nil
	}
	switch len(having) {
	case 0:
		return number, nil
	case 1:
		return having[0], nil
	}
	return 0, usageError{fmt.Errorf("find process of %s: %d have the number %d in their pid namespace, and the file in their root; choose one by its number here: %s", name, len(having), number, list(proc, having))}
}

// readPIDFile reads a file that holds a decimal pid and white space.
func readPIDFile(proc, name string) (pid int, file os.FileInfo, err error) {
	f, err := openPIDFile(proc, name)
	if err != nil {
		return 0, nil, fmt.Errorf("read pid file %s: %w", name, err)
	}
	defer f.Close()
	if file, err = f.Stat(); err != nil {
		return 0, nil, fmt.Errorf("read pid file: %w", err)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxPIDFile))
	if err != nil {
		return 0, nil, fmt.Errorf("read pid file: %w", err)
	}
	pid, err = strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil || pid <= 0 {
		return 0, nil, fmt.Errorf("read pid file %s: it does not hold a pid alone", name)
	}
	return pid, file, nil
}

// openPIDFile opens a pid file. Where it is named by way of a process's root in
// proc, links lead where they lead that process, and not out of its root.
func openPIDFile(proc, name string) (*os.File, error) {
	if rest, ok := strings.CutPrefix(name, proc+"/"); ok {
		pid, inside, ok := strings.Cut(rest, "/root/")
		if _, err := strconv.Atoi(pid); ok && err == nil {
			return target.OpenInRoot(filepath.Join(proc, pid, "root"), inside, maxPIDFile)
		}
	}
	return target.OpenRegular(name, maxPIDFile)
}

// processesNumbered returns the processes that have the number in the pid
// namespace in which they are themselves, in ascending order.
func processesNumbered(proc string, number int) ([]int, error) {
	entries, err := os.ReadDir(proc)
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if own, err := target.OwnNumber(filepath.Join(proc, e.Name(), "status")); err == nil && own == number {
			pids = append(pids, pid)
		}
	}
	slices.Sort(pids)
	return pids, nil
}

// liesIn says whether a file that we know by its name is in a root. A root's
// files have longer names here, by what leads to it, and their names there are
// the ends of those.
func liesIn(root, name string, file os.FileInfo) bool {
	name, err := filepath.Abs(name)
	if err != nil {
		return false
	}
	for at := 0; at >= 0; {
		name = name[at:]
		if isFile(root, name, file) {
			return true
		}
		if at = strings.IndexByte(name[1:], '/'); at >= 0 {
			at++
		}
	}
	return false
}

// isFile says whether a name leads to the file in a root.
func isFile(root, name string, file os.FileInfo) bool {
	f, err := target.OpenInRoot(root, name, maxPIDFile)
	if err != nil {
		return false
	}
	defer f.Close()
	info, err := f.Stat()
	return err == nil && os.SameFile(info, file)
}

// argumentsOf is the command line of a process, nil if it cannot be read.
func argumentsOf(proc string, pid int) []string {
	const limit = 1 << 20 // bytes
	f, err := os.Open(filepath.Join(proc, strconv.Itoa(pid), "cmdline"))
	if err != nil {
		return nil
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit))
	if err != nil {
		return nil
	}
	return strings.Split(strings.TrimSuffix(string(data), "\x00"), "\x00")
}
