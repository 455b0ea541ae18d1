// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// identity tells a BIRD's next life from other BIRDs of the machine.
type identity struct {
	exe       string // path in its own root, without " (deleted)"
	arguments string // as the kernel keeps them, each with a zero byte
	dev, root uint64 // device and inode of its root
	group     string // its control groups, /proc/PID/cgroup
}

// noGroup is what is in /proc/PID/cgroup where nobody makes control groups.
const noGroup = "0::/\n"

// identify reads what is known of a process; the zero value where that is
// nothing, as of one that has ended.
func identify(proc string, pid int) identity {
	dir := filepath.Join(proc, strconv.Itoa(pid))
	exe, err := os.Readlink(filepath.Join(dir, "exe"))
	if err != nil {
		return identity{}
	}
	id := identity{exe: strings.TrimSuffix(exe, " (deleted)"), arguments: strings.Join(argumentsOf(proc, pid), "\x00")}
	var st unix.Stat_t
	if unix.Stat(filepath.Join(dir, "root"), &st) == nil {
		id.dev, id.root = st.Dev, st.Ino
	}
	if group, err := os.ReadFile(filepath.Join(dir, "cgroup")); err == nil {
		id.group = string(group)
	}
	return id
}

// continues says whether a process is the next life of one that has ended: the
// same program, which may be another file by now, started in the same way, in
// the same root or, as of a container that was started again, in the same control
// group.
func (id identity) continues(before identity) bool {
	return id.exe != "" && id.exe == before.exe && id.arguments == before.arguments &&
		(id.dev == before.dev && id.root == before.root || id.group == before.group && id.group != noGroup && id.group != "")
}

// life is a process that is to be followed.
type life struct {
	identity
	pid   int
	pidfd int
}

// openLife takes hold of a process.
func openLife(pid int) (*life, error) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return nil, fmt.Errorf("open process %d: %w", pid, err)
	}
	return &life{identity: identify(procfs, pid), pid: pid, pidfd: fd}, nil
}

func (l *life) close() { unix.Close(l.pidfd) }

// alive says whether the process still runs.
func (l *life) alive() bool { return !l.ended(0) }

// ended says whether the process has ended, and waits for that for so long.
func (l *life) ended(wait time.Duration) bool {
	fds := []unix.PollFd{{Fd: int32(l.pidfd), Events: unix.POLLIN}}
	n, err := unix.Poll(fds, int(wait.Milliseconds()))
	return n > 0 || err != nil && !errors.Is(err, unix.EINTR)
}

// wait waits for the end of the process, or of ctx.
func (l *life) wait(ctx context.Context) {
	for ctx.Err() == nil && !l.ended(lookout) {
	}
}

// next waits for the process that is to be followed next: what --pid means, or
// where that is several or a number, the one that continues the life before.
func (w *follower) next(ctx context.Context, known *identity) (*life, error) {
	said := ""
	for began := time.Now(); ; {
		pid, err := w.candidate(known)
		if err == nil {
			l, gone := openLife(pid)
			if gone == nil {
				return l, nil
			}
			// Of a number that is all there is; another one may come by its name.
			if _, number := strconv.Atoi(w.process); known == nil && number == nil {
				return nil, gone
			}
			// A file is there before BIRD's next life writes it anew, or for good.
			if err = errNotYet; known == nil && strings.Contains(w.process, "/") {
				err = fmt.Errorf("pid %d, which %s holds, does not run", pid, w.process)
			}
		}
		var usage usageError
		if known == nil && errors.As(err, &usage) {
			return nil, err
		}
		if err != nil && !errors.Is(err, errNotYet) && err.Error() != said {
			said = err.Error()
			say(os.Stderr, "waiting: %s", said)
		}
		wait := lookout
		if time.Since(began) > patientFor {
			wait = longLookout
		}
		if sleep(ctx, wait); ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
}

// errNotYet is that there is nothing to follow at the moment, of which nothing
// need be said.
var errNotYet = errors.New("it does not run")

// candidate is the process to follow now, if there is one.
func (w *follower) candidate(known *identity) (int, error) {
	_, err := strconv.Atoi(w.process)
	isNumber, isFile := err == nil, strings.Contains(w.process, "/")
	switch {
	case known == nil:
		return findPID(w.process)
	case isFile:
		// The file may be that of the life before, and its number another's by now.
		pid, err := findPID(w.process)
		if err == nil && filepath.Base(identify(procfs, pid).exe) != filepath.Base(known.exe) {
			return 0, errNotYet
		}
		return pid, err
	}
	name := w.process
	if isNumber {
		name = filepath.Base(known.exe)
	}
	pids, err := processesNamed(procfs, name)
	if err != nil {
		return 0, err
	}
	if len(pids) > 1 || isNumber {
		pids = slices.DeleteFunc(pids, func(pid int) bool { return !identify(procfs, pid).continues(*known) })
	}
	switch len(pids) {
	case 0:
		return 0, errNotYet
	case 1:
		return pids[0], nil
	}
	return 0, fmt.Errorf("find the next life of %s: %d processes may be it, until only one is left: %s", w.process, len(pids), list(procfs, pids))
}
