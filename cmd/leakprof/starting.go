// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"leakprof/collector/birdc"
	"leakprof/profiler/target"
)

// starting is for how long after its start a BIRD may have no control socket: it
// opens one when it has read its configuration.
const starting = 10 * time.Second

// awaitControl is dialControl for a BIRD that may have just started.
func awaitControl(ctx context.Context, p *target.Process, path string) (*birdc.Conn, error) {
	for ; path != "none" && ctx.Err() == nil && p.Alive(); sleep(ctx, lookout) {
		if age, err := processAge(procfs, p.PID); err != nil || age > starting {
			break
		}
		c, err := tryControl(ctx, p, path)
		if err == nil {
			return c, nil
		} else if errors.Is(err, fs.ErrPermission) {
			break
		}
	}
	return dialControl(ctx, p, path)
}

func tryControl(ctx context.Context, p *target.Process, path string) (*birdc.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, greetingPatience)
	defer cancel()
	if path != "" {
		return birdc.Dial(ctx, path)
	}
	return findControl(ctx, p)
}

// processAge is for how long a process has run.
func processAge(proc string, pid int) (time.Duration, error) {
	text, err := os.ReadFile(filepath.Join(proc, strconv.Itoa(pid), "stat"))
	if err != nil {
		return 0, fmt.Errorf("read age of process %d: %w", pid, err)
	}
	// Fields, behind the name in parentheses: starttime is the 22nd
	// (proc_pid_stat(5)), in ticks since the machine was booted.
	const startTime, behindName = 22, 3
	const tick = time.Second / 100 // USER_HZ
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	if len(fields) <= startTime-behindName {
		return 0, fmt.Errorf("read age of process %d: unknown format", pid)
	}
	ticks, err := strconv.ParseInt(fields[startTime-behindName], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("read age of process %d: %w", pid, err)
	}
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &now); err != nil {
		return 0, fmt.Errorf("read age of process %d: %w", pid, err)
	}
	return time.Duration(now.Nano()) - time.Duration(ticks)*tick, nil
}
