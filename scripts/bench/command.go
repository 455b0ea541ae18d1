// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// command is a profiler that is a process of its own. What it says, on both outputs,
// is read line by line.
type command struct {
	cmd   *exec.Cmd
	lines chan string   // what it said and nobody has read; closed at its end
	ended chan struct{} // closed when it has been reaped
	err   error         // how it ended, once ended is closed
	last  string        // the last line that was read
	rss   int64         // the most memory that it had when it was looked at
	maps  int64         // the kernel's memory for its maps, when it was looked at
}

// mostUnread is how many lines are kept for await; further ones wait in the pipe.
const mostUnread = 1 << 16

// startCommand starts a program that does not outlive ctx.
func startCommand(ctx context.Context, name string, args ...string) (*command, error) {
	c := &command{
		cmd:   exec.CommandContext(ctx, name, args...),
		lines: make(chan string, mostUnread), ended: make(chan struct{}),
	}
	c.cmd.WaitDelay = 10 * time.Second
	// In a process group of its own, which ^C does not reach and that Close ends.
	c.cmd.SysProcAttr = &unix.SysProcAttr{Setpgid: true, Pdeathsig: unix.SIGKILL}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	c.cmd.Stdout, c.cmd.Stderr = w, w
	started := make(chan error)
	go func() {
		// The kernel's signal comes when the thread ends that started it: this one ends
		// with it (not unlocked, so that it is nobody else's).
		runtime.LockOSThread()
		err := c.cmd.Start()
		started <- err
		if err == nil {
			c.err = c.cmd.Wait()
			close(c.ended)
		}
	}()
	err = <-started
	w.Close()
	if err != nil {
		r.Close()
		return nil, err
	}
	go func() {
		defer close(c.lines)
		defer r.Close()
		s := bufio.NewScanner(r)
		for s.Scan() {
			c.lines <- s.Text()
		}
		io.Copy(io.Discard, r) // after a line that is too long
	}()
	return c, nil
}

// await reads until it says something.
func (c *command) await(ctx context.Context, text string) error {
	for {
		select {
		case line, ok := <-c.lines:
			if !ok {
				return fmt.Errorf("%s has ended before it said %q: %s", c.name(), text, c.last)
			}
			if c.last = line; strings.Contains(line, text) {
				return nil
			}
		case <-ctx.Done():
			return fmt.Errorf("%s has not said %q: %s", c.name(), text, c.last)
		}
	}
}

// wait waits for its end, and for it to be a good one.
func (c *command) wait(ctx context.Context) error {
	select {
	case <-c.ended:
	case <-ctx.Done():
		return fmt.Errorf("%s does not end", c.name())
	}
	for line := range c.lines {
		c.last = line
	}
	if c.err != nil {
		return fmt.Errorf("%s: %w: %s", c.name(), c.err, c.last)
	}
	return nil
}

// used fills in what it has used, after its end.
func (c *command) used(r *run) error {
	used, err := c.CPU()
	r.ToolCPU, r.ToolRSS, r.ToolMaps = used.Seconds(), c.rss, c.maps
	return err
}

// lookAtMaps reads how much memory its BPF maps take now.
func (c *command) lookAtMaps() (err error) {
	c.maps, err = mapMemory(c.cmd.Process.Pid)
	return err
}

// CPU is what it has used so far.
func (c *command) CPU() (time.Duration, error) {
	select {
	case <-c.ended:
		s := c.cmd.ProcessState
		return s.UserTime() + s.SystemTime(), nil
	default:
	}
	pid := c.cmd.Process.Pid
	if rss, err := peakRSS(pid); err == nil { // a process that ends has none any more
		c.rss = rss
	}
	used, err := processCPU(pid)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ESRCH) {
		<-c.ended
		return c.CPU()
	}
	return used, err
}

// Close kills it with its children.
func (c *command) Close() error {
	select {
	case <-c.ended:
		return nil
	default:
	}
	err := unix.Kill(-c.cmd.Process.Pid, unix.SIGKILL)
	<-c.ended
	return err
}

func (c *command) name() string { return filepath.Base(c.cmd.Path) }
