// SPDX-License-Identifier: Apache-2.0

package scratch

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"
)

// Process is a running program. It does nothing but what Call asks.
type Process struct {
	file    *os.File
	command *exec.Cmd
	in      io.WriteCloser
	out     *os.File
}

// ErrCrashed says that a program was ended by what it was asked to call.
var ErrCrashed = errors.New("it crashed")

// patience is how long a program may take to answer: it runs code that came
// from elsewhere.
const patience = 30 * time.Second

// Start runs the program. Close ends it.
func (b *Builder) Start() (*Process, error) {
	file, err := b.memoryFile()
	if err != nil {
		return nil, err
	}
	p := &Process{file: file, command: exec.Command(fmt.Sprintf("/proc/self/fd/%d", file.Fd()))}
	// The kernel opens the file before it closes descriptors.
	p.command.Env = []string{}
	in, err := p.command.StdinPipe()
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("start scratch program: %w", err)
	}
	out, child, err := os.Pipe()
	if err != nil {
		in.Close()
		file.Close()
		return nil, fmt.Errorf("start scratch program: %w", err)
	}
	p.in, p.out, p.command.Stdout = in, out, child
	err = p.command.Start()
	child.Close()
	if err != nil {
		out.Close()
		file.Close()
		return nil, fmt.Errorf("start scratch program: %w", err)
	}
	return p, nil
}

// PID is the process's number.
func (p *Process) PID() int { return p.command.Process.Pid }

// Path names the program's file to this process, so that probes can be placed
// in it.
func (p *Process) Path() string { return fmt.Sprintf("/proc/self/fd/%d", p.file.Fd()) }

// Request is what a program is asked: to call a function so many times with
// these arguments.
type request struct {
	Address   uint64
	Count     uint64
	Arguments [6]uint64
}

// Result is what came of it.
type Result struct {
	// NS is the CPU time of all calls, nanoseconds.
	NS uint64
	// Broken is after how many calls a register that a function preserves, rsp
	// among them, was not what it had been.
	Broken uint64
	// Value is what the last call returned.
	Value uint64
}

// Call calls a function. An error means that the program has crashed, or hangs;
// it is of no use any more.
func (p *Process) Call(f Function, count uint64, arguments [6]uint64) (r Result, err error) {
	if err := binary.Write(p.in, binary.LittleEndian, request{f.Address, count, arguments}); err != nil {
		return r, p.ended(err)
	}
	if err := p.out.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return r, fmt.Errorf("call in scratch program: %w", err)
	}
	if err := binary.Read(p.out, binary.LittleEndian, &r); err != nil {
		return r, p.ended(err)
	}
	return r, nil
}

// ended says how the program came to its end.
func (p *Process) ended(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return errors.New("call in scratch program: it does not come back")
	}
	p.in.Close()
	if end := p.command.Wait(); end != nil {
		return fmt.Errorf("call in scratch program: %w: %w", ErrCrashed, end)
	}
	return fmt.Errorf("call in scratch program: it ended: %w", err)
}

// Close ends the program.
func (p *Process) Close() error {
	p.in.Close()
	if p.command.ProcessState == nil {
		p.command.Process.Kill()
		p.command.Wait() // tells only that it was killed
	}
	return errors.Join(p.out.Close(), p.file.Close())
}
