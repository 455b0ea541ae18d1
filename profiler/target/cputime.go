// SPDX-License-Identifier: Apache-2.0

package target

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// CPUTime returns the CPU time of all the process's threads, ended ones too,
// to the nanosecond: the clock of clock_getcpuclockid(3).
func (p *Process) CPUTime() (time.Duration, error) {
	const cpuclockSched = 2 // include/linux/posix-timers.h
	clock := int32(^p.PID<<3 | cpuclockSched)
	var ts unix.Timespec
	if err := unix.ClockGettime(clock, &ts); err != nil {
		return 0, fmt.Errorf("read cpu time of process %d: %w", p.PID, err)
	}
	return time.Duration(ts.Nano()), nil
}

// CPUWait returns for how long the process's threads have waited for a CPU
// while they could have run, those that live now: the second number of
// /proc/PID/task/TID/schedstat (Documentation/scheduler/sched-stats.rst). On a
// busy machine it is work that a profiler must not take for idleness.
func (p *Process) CPUWait() (time.Duration, error) {
	files, err := filepath.Glob(p.path("task/*/schedstat"))
	if err != nil || len(files) == 0 {
		return 0, fmt.Errorf("read scheduling of process %d: %w", p.PID, ErrGone)
	}
	var total time.Duration
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			continue // the thread has ended
		}
		var run, wait int64
		if n, _ := fmt.Sscan(string(b), &run, &wait); n == 2 {
			total += time.Duration(wait)
		}
	}
	return total, nil
}

// Threads counts the process's threads.
func (p *Process) Threads() (int, error) {
	all, err := os.ReadDir(p.path("task"))
	if err != nil {
		return 0, fmt.Errorf("count threads of process %d: %w", p.PID, err)
	}
	return len(all), nil
}
