// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// CPUTime is what BIRD has used of the processors so far, all threads together:
// to the nanosecond and without threads that have ended while BIRD runs
// (/proc/PID/task/*/schedstat), and what it used in all after it has ended.
func (b *Bird) CPUTime() (time.Duration, error) {
	select {
	case <-b.Exited():
		return b.process.cpuTime(), nil
	default:
	}
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", b.PID()))
	if err != nil {
		return 0, err
	}
	var total time.Duration
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // the thread has just ended
		}
		// Time on the processor and time spent waiting for one, in ns, and the
		// number of time slices (Documentation/scheduler/sched-stats.rst).
		onCPU, _, _ := strings.Cut(string(text), " ")
		ns, err := strconv.ParseInt(onCPU, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("read %s: %w", file, err)
		}
		total += time.Duration(ns)
	}
	if total == 0 {
		return 0, fmt.Errorf("read /proc/%d/task/*/schedstat: no time in it", b.PID())
	}
	return total, nil
}

// lastLogMax is how much of the log's end is looked at for its last line.
const lastLogMax = 4096

// lastLine is the last line of a log that is not empty.
func lastLine(file string) string {
	const none = "its log is empty"
	f, err := os.Open(file)
	if err != nil {
		return none
	}
	defer f.Close()
	if st, err := f.Stat(); err == nil && st.Size() > lastLogMax {
		f.Seek(-lastLogMax, io.SeekEnd)
	}
	text, _ := io.ReadAll(io.LimitReader(f, lastLogMax))
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	if last := strings.TrimSpace(lines[len(lines)-1]); last != "" {
		return last
	}
	return none
}

// tcpListen is TCP_LISTEN (include/net/tcp_states.h) as /proc/net/tcp prints it.
const tcpListen = "0A"

// listening tells whether some socket listens at an IPv4 address and port, in
// the network namespace of a process. It looks instead of connecting, which BIRD
// would log as an unknown peer.
func listening(pid int, at netip.AddrPort) (bool, error) {
	ip := at.Addr().As4()
	// The address is printed as a number in the machine's byte order.
	want := fmt.Sprintf("%08X:%04X", binary.NativeEndian.Uint32(ip[:]), at.Port())
	f, err := os.Open(fmt.Sprintf("/proc/%d/net/tcp", pid))
	if err != nil {
		return false, err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) > 3 && fields[1] == want && fields[3] == tcpListen {
			return true, nil
		}
	}
	return false, lines.Err()
}
