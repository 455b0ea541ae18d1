// SPDX-License-Identifier: Apache-2.0

package target

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Stopped says whether the process is stopped, by a signal or a debugger, so
// that it does nothing until it is told to go on: states T and t of
// proc_pid_stat(5).
func (p *Process) Stopped() (bool, error) {
	s, err := p.stat()
	if err != nil {
		return false, p.Explain(fmt.Errorf("read state of process %d: %w", p.PID, err))
	}
	return s.state == "T" || s.state == "t", nil
}

// Age returns for how long the process has run, to a hundredth of a second.
func (p *Process) Age() (time.Duration, error) {
	s, err := p.stat()
	var now unix.Timespec
	if err == nil {
		err = unix.ClockGettime(unix.CLOCK_BOOTTIME, &now)
	}
	if err != nil {
		return 0, p.Explain(fmt.Errorf("read age of process %d: %w", p.PID, err))
	}
	return time.Duration(now.Nano()) - s.start, nil
}

func (p *Process) stat() (stat, error) {
	b, err := os.ReadFile(p.path("stat"))
	if err != nil {
		return stat{}, err
	}
	return parseStat(b)
}

// stat is some of proc_pid_stat(5).
type stat struct {
	state string        // one letter
	start time.Duration // when the process began, since the machine was booted
}

func parseStat(b []byte) (stat, error) {
	// The numbers of fields; the name before them, in parentheses, may have any
	// character.
	const state, startTime = 3, 22
	const tick = time.Second / 100 // USER_HZ
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	if len(fields) <= startTime-state {
		return stat{}, fmt.Errorf("%d fields are too few", len(fields))
	}
	ticks, err := strconv.ParseInt(fields[startTime-state], 10, 64)
	if err != nil {
		return stat{}, err
	}
	return stat{fields[0], time.Duration(ticks) * tick}, nil
}
