// SPDX-License-Identifier: Apache-2.0

// Package target reads a running process from outside: its mappings, the ELF
// files behind them and its memory. It needs the right to ptrace the process
// (CAP_SYS_PTRACE, or the same user), never stops it, and never writes to it.
package target

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// ErrGone says that the process has ended, or that its pid now belongs to
// another one.
var ErrGone = errors.New("process has ended")

// nobodyError is ErrGone of a number that no process has: of one that has ended,
// or of none ever.
type nobodyError struct{}

func (nobodyError) Error() string        { return "no process has this number" }
func (nobodyError) Is(target error) bool { return target == ErrGone }

// Process is a running process, told from a later one with the same pid by
// its pidfd.
type Process struct {
	PID int
	// Exe is the path of the executable as the kernel names it, in the
	// target's own mount namespace, with " (deleted)" if it is.
	Exe string

	pidfd int
	mem   *os.File
}

// Open takes hold of the process pid. Close it after use. ErrGone if there is
// none.
func Open(pid int) (*Process, error) {
	if pid <= 0 {
		return nil, fmt.Errorf("open process %d: a pid is a positive number", pid)
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		err = nobodyError{}
	} else if of := threadOf(pid); err != nil && of > 0 {
		err = fmt.Errorf("it is a thread of process %d; give that number", of)
	}
	if err != nil {
		return nil, fmt.Errorf("open process %d: %w", pid, err)
	}
	p := &Process{PID: pid, pidfd: fd}
	if err := checkProc("/proc"); err != nil {
		p.Close()
		return nil, fmt.Errorf("open process %d: %w", pid, err)
	}
	if p.Exe, err = os.Readlink(p.path("exe")); err != nil {
		if errors.Is(err, fs.ErrNotExist) && p.Alive() {
			err = errors.New("it has none: it is a thread of the kernel")
		}
		err = p.Explain(fmt.Errorf("read executable of process %d: %w", pid, explain(err)))
		p.Close()
		return nil, err
	}
	if p.mem, err = os.Open(p.path("mem")); err != nil {
		err = p.Explain(fmt.Errorf("open memory of process %d: %w", pid, explain(err)))
		p.Close()
		return nil, err
	}
	return p, nil
}

// threadOf returns the process of a thread (Tgid, proc_pid_status(5)), 0 if the
// number is a process's own, or nobody's.
func threadOf(tid int) int {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", tid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(status)) {
		if text, ok := strings.CutPrefix(line, "Tgid:"); ok {
			if of, err := strconv.Atoi(strings.TrimSpace(text)); err == nil && of != tid {
				return of
			}
		}
	}
	return 0
}

// checkProc makes sure that the process file system at proc numbers processes as
// our own pid namespace does (pid_namespaces(7)): in another one the number would
// be another process's.
func checkProc(proc string) error {
	self, err := os.Readlink(filepath.Join(proc, "self"))
	if err == nil && self == strconv.Itoa(os.Getpid()) {
		return nil
	}
	return fmt.Errorf("%s is of another pid namespace than ours; mount the right one, as with unshare --mount-proc, or enter both, as with nsenter --mount --pid", proc)
}

// explain adds what to do.
func explain(err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%w; run as root, or with CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH", err)
	}
	return err
}

// Close lets go of the process.
func (p *Process) Close() error {
	if p.mem != nil {
		p.mem.Close()
	}
	return unix.Close(p.pidfd)
}

func (p *Process) path(name string) string {
	return filepath.Join("/proc", strconv.Itoa(p.PID), name)
}

// maxProcFile bounds a file of proc whose size the process decides, in bytes.
const maxProcFile = 16 << 20

// read reads a file of the process in proc.
func (p *Process) read(name string) ([]byte, error) {
	f, err := os.Open(p.path(name))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxProcFile))
}

// Alive says whether the process still runs; a zombie does not.
func (p *Process) Alive() bool {
	fds := []unix.PollFd{{Fd: int32(p.pidfd), Events: unix.POLLIN}}
	for {
		n, err := unix.Poll(fds, 0)
		if err == unix.EINTR {
			continue
		}
		return err == nil && n == 0
	}
}

// Wait blocks until the process ends or stop is closed, whichever is first,
// and says whether the process has ended.
func (p *Process) Wait(stop <-chan struct{}) bool {
	fds := []unix.PollFd{{Fd: int32(p.pidfd), Events: unix.POLLIN}}
	for {
		n, err := unix.Poll(fds, 200)
		if n > 0 {
			return true
		}
		if err != nil && err != unix.EINTR {
			return !p.Alive()
		}
		select {
		case <-stop:
			return false
		default:
		}
	}
}

// ReadAt reads the process's memory at address off, as io.ReaderAt does. It
// fails where nothing is mapped.
func (p *Process) ReadAt(b []byte, off int64) (int, error) {
	return p.mem.ReadAt(b, off)
}

// batchSize is IOV_MAX: the kernel takes no more vectors in one call.
const batchSize = 1024

// ReadBatch reads size bytes at each of addrs into one slice, the bytes for
// addrs[i] at i*size. ok[i] says whether they could be read. It costs one
// system call per 1024 addresses where all can be read.
func (p *Process) ReadBatch(addrs []uint64, size int) (data []byte, ok []bool, err error) {
	data = make([]byte, len(addrs)*size)
	ok = make([]bool, len(addrs))
	remote := make([]unix.RemoteIovec, 0, batchSize)
	for next := 0; next < len(addrs); {
		remote = remote[:0]
		for i := next; i < len(addrs) && len(remote) < batchSize; i++ {
			remote = append(remote, unix.RemoteIovec{Base: uintptr(addrs[i]), Len: size})
		}
		part := data[next*size : (next+len(remote))*size]
		local := []unix.Iovec{{Base: &part[0], Len: uint64(len(part))}}
		n, err := unix.ProcessVMReadv(p.PID, local, remote, 0)
		switch {
		case errors.Is(err, unix.ESRCH):
			return nil, nil, fmt.Errorf("read memory of process %d: %w", p.PID, ErrGone)
		case err != nil && !errors.Is(err, unix.EFAULT):
			return nil, nil, fmt.Errorf("read memory of process %d: %w", p.PID, err)
		}
		// The kernel stops at the first vector it cannot read whole; that
		// one is left out and the rest is taken up again behind it.
		whole := max(n, 0) / size
		for i := range whole {
			ok[next+i] = true
		}
		next += whole
		if whole < len(remote) {
			next++
		}
	}
	return data, ok, nil
}

// CommandLine returns the process's arguments, the program's name first.
func (p *Process) CommandLine() ([]string, error) {
	b, err := p.read("cmdline")
	if err != nil {
		return nil, fmt.Errorf("read command line: %w", err)
	}
	return strings.Split(strings.TrimSuffix(string(b), "\x00"), "\x00"), nil
}

// Root returns a path under which the process's own file system root is seen.
func (p *Process) Root() string { return p.path("root") }

// String returns the C string at addr, of at most limit bytes, and false if
// there is none.
func (p *Process) String(addr uint64, limit int) (string, bool) {
	b := make([]byte, limit)
	n, err := p.ReadAt(b, int64(addr))
	if n == 0 && err != nil && err != io.EOF {
		return "", false
	}
	end := bytes.IndexByte(b[:n], 0)
	if end < 0 {
		return "", false
	}
	return string(b[:end]), true
}
