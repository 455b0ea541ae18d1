// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// tick is the unit of CPU times in /proc: USER_HZ, which is 100 on all machines that
// we run on.
const tick = 10 * time.Millisecond

// cpuClock is the CPU time of a process, to the nanosecond and with threads that have
// ended: its clock, of which clock_getcpuclockid(3) has the number. /proc/PID/task has the
// same of those that run.
func cpuClock(pid int) (time.Duration, error) {
	const sched = 2 // CPUCLOCK_SCHED in include/linux/posix-timers_types.h
	var t unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|sched), &t); err != nil {
		return 0, fmt.Errorf("read CPU clock of process %d: %w", pid, err)
	}
	return time.Duration(t.Nano()), nil
}

// isRunning says whether some thread of a process runs, or waits for a processor
// (proc_pid_stat(5), state R): one that gets none uses no CPU time either.
func isRunning(pid int) (bool, error) {
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	if err != nil || len(files) == 0 {
		return false, fmt.Errorf("read states of process %d: it has no threads (%v)", pid, err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			continue // the thread has just ended
		}
		stat := string(data)
		if strings.HasPrefix(stat[strings.LastIndexByte(stat, ')')+1:], " R") {
			return true, nil
		}
	}
	return false, nil
}

// machineBusy is the CPU time that all processors together have used since boot
// (proc_stat(5)).
func machineBusy() (time.Duration, error) {
	data, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, err
	}
	return parseBusy(string(data))
}

// parseBusy reads the line of all processors: user, nice, system, idle, iowait, irq,
// softirq, steal. Guests' time is in that of user already; what is stolen nobody
// here has used.
func parseBusy(stat string) (time.Duration, error) {
	line, _, _ := strings.Cut(stat, "\n")
	fields := strings.Fields(line)
	if len(fields) < 8 || fields[0] != "cpu" {
		return 0, fmt.Errorf("read /proc/stat: its first line is %q", line)
	}
	var ticks uint64
	for _, i := range []int{1, 2, 3, 6, 7} {
		n, err := strconv.ParseUint(fields[i], 10, 64)
		if err != nil {
			return 0, fmt.Errorf("read /proc/stat: %w", err)
		}
		ticks += n
	}
	return time.Duration(ticks) * tick, nil
}

// ownCPU is what this process has used: its speakers and its station.
func ownCPU() (time.Duration, error) {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return 0, fmt.Errorf("read own CPU time: %w", err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), nil
}

// processCPU is what a process, with its children that have ended, has used.
func processCPU(pid int) (time.Duration, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	return parseProcessCPU(string(data))
}

// parseProcessCPU reads proc_pid_stat(5): the name in parentheses may have anything in
// it, so fields count from the last parenthesis on.
func parseProcessCPU(stat string) (time.Duration, error) {
	const utime = 14 - 3 // the field's number less that of the first behind the name
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	if len(fields) < utime+4 {
		return 0, fmt.Errorf("read /proc/PID/stat: %q", stat)
	}
	var ticks int64
	for _, f := range fields[utime : utime+4] { // utime, stime, cutime, cstime
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("read /proc/PID/stat: %w", err)
		}
		ticks += n
	}
	return time.Duration(ticks) * tick, nil
}

// peakRSS is the most memory that a process has had resident, in bytes. ru_maxrss
// would be at least that of who started it.
func peakRSS(pid int) (int64, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	return parsePeakRSS(string(data))
}

func parsePeakRSS(status string) (int64, error) {
	for line := range strings.Lines(status) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kB, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			if err != nil {
				return 0, fmt.Errorf("read VmHWM: %w", err)
			}
			return kB << 10, nil
		}
	}
	return 0, fmt.Errorf("read VmHWM: there is none")
}

// mapMemory is the kernel's memory for the BPF maps that a process has open, in bytes
// (proc_pid_fdinfo: memlock, since Linux 6.4 what they really take).
func mapMemory(pid int) (sum int64, err error) {
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/fdinfo/*", pid))
	if err != nil {
		return 0, err
	}
	seen := make(map[string]bool)
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			continue // closed meanwhile
		}
		id, bytes := parseMap(string(data))
		if id != "" && !seen[id] {
			seen[id] = true
			sum += bytes
		}
	}
	return sum, nil
}

// parseMap reads the number and the memory of a map from its fdinfo; "" of what is no
// map.
func parseMap(fdinfo string) (id string, bytes int64) {
	for line := range strings.Lines(fdinfo) {
		key, value, _ := strings.Cut(line, ":")
		switch value = strings.TrimSpace(value); key {
		case "map_id":
			id = value
		case "memlock":
			bytes, _ = strconv.ParseInt(value, 10, 64)
		}
	}
	return id, bytes
}

// instant is what everybody has used up to some moment.
type instant struct {
	at                  time.Time
	bird, machine, ours time.Duration
	tool                time.Duration
}

// foreignPercent is how much of the machine's processors others used between two
// instants: whoever is neither BIRD nor the harness nor the profiler.
func foreignPercent(from, to instant) float64 {
	wall := to.at.Sub(from.at)
	if wall <= 0 {
		return 0
	}
	known := to.bird - from.bird + to.ours - from.ours + to.tool - from.tool
	foreign := max(to.machine-from.machine-known, 0)
	return 100 * foreign.Seconds() / (wall.Seconds() * float64(runtime.NumCPU()))
}
