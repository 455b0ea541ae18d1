// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"sync"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
	"kernel.org/pub/linux/libs/security/libcap/cap"

	"leakprof/bpf"
	"leakprof/profiler/privilege"
)

// The kernel measures how long programs run for whoever has CAP_SYS_ADMIN, which
// is nearly all there is to have. So that attach can do without, a process of its
// own has it and does nothing else: it reads "on" and "off" lines from its
// standard input, answers each with "ok" or what went wrong, and ends with the
// input.

const (
	maxMeterLine   = 512 // bytes of what it is told
	maxMeterAnswer = 1024
)

// meterCommand is that process.
func meterCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "meter",
		Short:  "Let the kernel measure the run time of programs, as told on standard input",
		Hidden: true,
		Args:   noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			// Whoever started it ends it, when a last look is taken.
			signal.Ignore(unix.SIGINT, unix.SIGTERM, unix.SIGHUP)
			if _, err := privilege.Keep(cap.SYS_ADMIN); err != nil {
				return err
			}
			return serveMeter(c.InOrStdin(), c.OutOrStdout(), bpf.MeasureRuntime)
		},
	}
}

// serveMeter measures as it is told by lines of in, until that ends.
func serveMeter(in io.Reader, out io.Writer, measure func() (io.Closer, error)) error {
	var running io.Closer
	stop := func() error {
		if running == nil {
			return nil
		}
		err := running.Close()
		running = nil
		return err
	}
	defer stop()
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, maxMeterLine)
	for lines.Scan() {
		err := stop()
		switch lines.Text() {
		case "on":
			if err == nil {
				running, err = measure()
			}
		case "off":
		default:
			err = fmt.Errorf("read line: %q is not on or off", lines.Text())
		}
		answer := "ok"
		if err != nil {
			running = nil
			answer = meterAnswer(err)
		}
		if _, err := fmt.Fprintln(out, answer); err != nil {
			return fmt.Errorf("answer: %w", err)
		}
	}
	return lines.Err()
}

// meterAnswer is an error in one line, which whoever reads it has room for.
func meterAnswer(err error) string {
	answer := strings.ReplaceAll(err.Error(), "\n", "; ")
	if len(answer) >= maxMeterAnswer {
		const more = "..."
		answer = strings.ToValidUTF8(answer[:maxMeterAnswer-1-len(more)], "") + more
	}
	return answer
}

// meter speaks to the process.
type meter struct {
	mu      sync.Mutex
	command *exec.Cmd
	in      io.WriteCloser
	answers *bufio.Scanner
}

// startMeter starts the process; it has the rights that we have now.
func startMeter() (*meter, error) {
	m := &meter{command: exec.Command("/proc/self/exe", "meter")}
	m.command.Stderr = os.Stderr
	var err error
	if m.in, err = m.command.StdinPipe(); err != nil {
		return nil, fmt.Errorf("start meter: %w", err)
	}
	out, err := m.command.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start meter: %w", err)
	}
	m.answers = bufio.NewScanner(out)
	m.answers.Buffer(nil, maxMeterAnswer)
	if err := m.command.Start(); err != nil {
		return nil, fmt.Errorf("start meter: %w", err)
	}
	return m, nil
}

// measure is bpf.MeasureRuntime, by the process.
func (m *meter) measure() (io.Closer, error) {
	if err := m.tell("on"); err != nil {
		return nil, err
	}
	return closerFunc(func() error { return m.tell("off") }), nil
}

func (m *meter) tell(line string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, err := fmt.Fprintln(m.in, line); err != nil {
		return fmt.Errorf("tell meter: %w", err)
	}
	if !m.answers.Scan() {
		return fmt.Errorf("tell meter: %w", errors.Join(m.answers.Err(), io.ErrUnexpectedEOF))
	}
	if answer := m.answers.Text(); answer != "ok" {
		return errors.New(answer)
	}
	return nil
}

// close ends the process.
func (m *meter) close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return errors.Join(m.in.Close(), m.command.Wait())
}

type closerFunc func() error

func (f closerFunc) Close() error { return f() }
