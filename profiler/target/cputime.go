// SPDX-License-Identifier: Apache-2.0

package target

import (
	"fmt"
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
