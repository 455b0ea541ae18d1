// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"leakprof/profiler/target"
	"leakprof/profiler/terminal"
)

// pidHelp describes the flag --pid of the commands that look at one process.
const pidHelp = "the BIRD to look at: a `PID`, the name of its program, or a pid file (with a / in it), also of a container"

const (
	procfs          = "/proc"
	maxListed       = 8   // processes, in an error
	maxListedLength = 100 // characters of a command line, in an error
)

// findPID returns the process that the value of --pid means: a number, the
// path of a pid file, or the name of a program that one process runs. Whether
// that is a BIRD, whoever opens it says. Several matches are wrong usage.
func findPID(text string) (int, error) {
	return findPIDIn(procfs, text)
}

// findPIDIn is findPID with the process file system mounted at proc.
func findPIDIn(proc, text string) (int, error) {
	if pid, err := strconv.Atoi(text); err == nil || errors.Is(err, strconv.ErrRange) {
		if err != nil || pid <= 0 {
			return 0, usageError{fmt.Errorf("--pid %s: a pid is a positive number", text)}
		}
		return pid, nil
	}
	if strings.Contains(text, "/") {
		return findByFile(proc, text)
	}
	pids, err := processesNamed(proc, text)
	if err != nil {
		return 0, fmt.Errorf("find process %q: %w", text, err)
	}
	switch len(pids) {
	case 0:
		return 0, fmt.Errorf("find process %q: no process runs a program of that name; give its number, as in --pid 4711, or a pid file, as in --pid /run/bird/bird.pid", text)
	case 1:
		return pids[0], nil
	}
	return 0, usageError{fmt.Errorf("find process %q: %d run a program of that name; choose one by its number: %s", text, len(pids), list(proc, pids))}
}

// list names processes for an error.
func list(proc string, pids []int) string {
	var all []string
	for _, pid := range pids[:min(len(pids), maxListed)] {
		all = append(all, fmt.Sprintf("%d (%s)", pid, commandLine(proc, pid)))
	}
	if n := len(pids) - len(all); n > 0 {
		all = append(all, fmt.Sprintf("and %d more", n))
	}
	return strings.Join(all, ", ")
}

// processesNamed returns the processes, other than our own, whose executable
// has the name, in ascending order. Of a process whose executable we may not
// see, the name that the kernel shows to everyone counts.
func processesNamed(proc, name string) ([]int, error) {
	entries, err := os.ReadDir(proc)
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		// Whoever ends meanwhile is not found, and neither are threads of the
		// kernel, which have no executable.
		exe, err := os.Readlink(filepath.Join(proc, e.Name(), "exe"))
		switch {
		case err == nil:
			// The kernel says so where the file was replaced.
			if strings.TrimSuffix(filepath.Base(exe), " (deleted)") == name {
				pids = append(pids, pid)
			}
		case errors.Is(err, fs.ErrPermission):
			comm, err := os.ReadFile(filepath.Join(proc, e.Name(), "comm"))
			// TASK_COMM_LEN is 16, with the zero at the end.
			if err == nil && strings.TrimSuffix(string(comm), "\n") == name[:min(len(name), 15)] {
				pids = append(pids, pid)
			}
		}
	}
	slices.Sort(pids)
	return pids, nil
}

// commandLine returns what tells a process from others of its name, fit for a
// line of an error.
func commandLine(proc string, pid int) string {
	f, err := os.Open(filepath.Join(proc, strconv.Itoa(pid), "cmdline"))
	if err != nil {
		return "ended"
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, 4*maxListedLength))
	if err != nil {
		return "ended"
	}
	// A process chooses what this says.
	text := []rune(terminal.Line(strings.ReplaceAll(strings.TrimRight(string(data), "\x00"), "\x00", " ")))
	if len(text) > maxListedLength {
		return string(text[:maxListedLength]) + "..."
	}
	return string(text)
}

// runs refuses a process that is stopped: it would be waited for in vain.
func runs(pid int) error {
	p, err := target.Open(pid)
	if err != nil {
		return err
	}
	defer p.Close()
	stopped, err := p.Stopped()
	if err == nil && stopped {
		err = fmt.Errorf("attach to pid %d: it is stopped; let it run with kill -CONT %d", pid, pid)
	}
	return err
}
