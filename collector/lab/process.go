// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// command says what a process runs.
type command struct {
	root   string   // directory to chroot into, "" for none
	dir    string   // working directory, as seen from within root
	argv   []string // argv[0] is the file, as seen from within root
	env    []string // added to our own
	output *os.File // standard output and error, a regular file
	paused bool     // stop at the ELF entry point until resume
	net    *Namespace
}

// process is a child that dies with us. A child's parent death signal
// (PR_SET_PDEATHSIG) is sent when the parent *thread* ends, and ptrace(2)
// answers only the thread that traces; so one goroutine, locked to its thread,
// starts the child and stays until the child has ended.
type process struct {
	pid    int
	output string        // file of its standard output and error
	calls  chan func()   // to be called on the thread that may use ptrace
	exited chan struct{} // closed when the child is reaped
	traced atomic.Bool   // stands at its entry point

	mu        sync.Mutex // held to signal and to reap, so that no signal goes to a reused pid
	reaped    bool
	status    unix.WaitStatus
	usage     unix.Rusage
	lastWords string // last line of its output
}

// spawn starts cmd. With cmd.paused it returns when the child stands at its
// entry point; a closed cancel ends that wait by killing the child.
func spawn(cmd command, cancel <-chan struct{}) (*process, error) {
	p := &process{
		output: cmd.output.Name(),
		calls:  make(chan func()),
		exited: make(chan struct{}),
	}
	started := make(chan error)
	goOnOwnThread(func() { p.run(cmd, cancel, started) })
	if err := <-started; err != nil {
		return nil, err
	}
	return p, nil
}

// run is the life of a child, on a thread of its own.
func (p *process) run(cmd command, cancel <-chan struct{}, started chan<- error) {
	if err := cmd.net.enter(); err != nil {
		started <- err
		return
	}

	devNull, err := os.Open(os.DevNull)
	if err != nil {
		started <- err
		return
	}
	p.pid, err = syscall.ForkExec(cmd.argv[0], cmd.argv, &syscall.ProcAttr{
		Dir:   cmd.dir,
		Env:   append(os.Environ(), cmd.env...),
		Files: []uintptr{devNull.Fd(), cmd.output.Fd(), cmd.output.Fd()},
		Sys: &syscall.SysProcAttr{
			Chroot:    cmd.root,
			Setsid:    true, // a ^C in the terminal is for us, who then end the child in order
			Pdeathsig: syscall.SIGKILL,
			Ptrace:    cmd.paused,
		},
	})
	devNull.Close()
	if err != nil {
		started <- err
		return
	}

	if cmd.paused {
		entered, unwatched := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(unwatched)
			select {
			case <-cancel:
				p.signal(unix.SIGKILL)
			case <-entered:
			}
		}()
		err := p.runToEntry()
		close(entered)
		<-unwatched // a cancel that comes later is not meant for the child
		if err != nil {
			p.signal(unix.SIGKILL)
			p.reap()
			started <- fmt.Errorf("stop at entry point: %w", err)
			return
		}
	}

	// The watcher sees the end but leaves the child to be reaped by us.
	dead := make(chan struct{})
	go func() {
		defer close(dead)
		p.awaitEnd()
	}()
	p.traced.Store(cmd.paused)
	started <- nil
	for {
		select {
		case call := <-p.calls:
			call()
		case <-dead:
			p.reap()
			close(p.exited)
			return
		}
	}
}

// reap waits for the child's end and takes its status.
func (p *process) reap() {
	p.awaitEnd()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.reaped {
		return
	}
	for {
		_, err := unix.Wait4(p.pid, &p.status, 0, &p.usage)
		if err == nil && p.status.Stopped() {
			continue // a ptrace stop that came before the end
		}
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	p.reaped = true
	p.lastWords = lastLine(p.output)
}

// awaitEnd waits until the child has ended, and leaves it to be reaped. wait(2)
// would not do: it also returns, and takes away, the stops of the child that
// another thread of this process waits for which traces it for a moment.
func (p *process) awaitEnd() {
	fd, err := unix.PidfdOpen(p.pid, 0)
	if err != nil { // no descriptor left
		for errors.Is(unix.Waitid(unix.P_PID, p.pid, nil, unix.WEXITED|unix.WNOWAIT, nil), unix.EINTR) {
		}
		return
	}
	defer unix.Close(fd)
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	for {
		if _, err := unix.Poll(fds, -1); !errors.Is(err, unix.EINTR) {
			return
		}
	}
}

// signal sends sig unless the child was reaped.
func (p *process) signal(sig unix.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.reaped {
		unix.Kill(p.pid, sig)
	}
}

// terminate asks the child to end; one that stands at its entry point cannot
// listen and is killed.
func (p *process) terminate() {
	if p.traced.Load() {
		p.signal(unix.SIGKILL)
		return
	}
	p.signal(unix.SIGTERM)
}

// resume lets a child that stands at its entry point run on.
func (p *process) resume() error {
	return p.onThread(func() error {
		if !p.traced.Load() {
			return nil
		}
		if err := unix.PtraceDetach(p.pid); err != nil {
			return fmt.Errorf("detach: %w", err)
		}
		p.traced.Store(false)
		return nil
	})
}

// onThread calls f on the thread that started the child, the only one that
// ptrace answers, unless the child has ended.
func (p *process) onThread(f func() error) error {
	done := make(chan error, 1)
	select {
	case p.calls <- func() { done <- f() }:
		return <-done
	case <-p.exited:
		return errors.New(p.end())
	}
}

// end says how the child ended and what it said last; only after exited is
// closed.
func (p *process) end() string {
	how := fmt.Sprintf("exit status %d", p.status.ExitStatus())
	if p.status.Signaled() {
		how = "killed by " + unix.SignalName(p.status.Signal())
	}
	return how + ": " + p.lastWords
}

// succeeded tells whether the child ended with status 0; only after exited is
// closed.
func (p *process) succeeded() bool {
	return p.status.Exited() && p.status.ExitStatus() == 0
}

// cpuTime is what the child used, user and system; only after exited is closed.
func (p *process) cpuTime() time.Duration {
	return time.Duration(p.usage.Utime.Nano() + p.usage.Stime.Nano())
}
