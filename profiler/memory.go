// SPDX-License-Identifier: Apache-2.0

package profiler

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// The default budget: an eighth of the memory that is available, but no more
// than a busy full-table router needs and no less than a small one.
const (
	budgetShare   = 8
	budgetLeast   = 64 << 20
	budgetMost    = 4 << 30
	availableLine = "MemAvailable:"
)

// DefaultMaxMemory is the live set's budget where the user names none.
func DefaultMaxMemory() uint64 {
	return min(max(available()/budgetShare, budgetLeast), budgetMost)
}

// available reads MemAvailable of /proc/meminfo (proc_meminfo(5)), in bytes.
func available() uint64 { return meminfo(availableLine) }

// meminfo reads a line of /proc/meminfo, in bytes; 0 if it is not there.
func meminfo(name string) uint64 {
	b, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, name); ok {
			kB, err := strconv.ParseUint(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
			if err == nil {
				return kB << 10
			}
		}
	}
	return 0
}

// What has to be left to the machine, or to the control group that leakprof is
// in: below it the live set takes no more, well before the kernel looks for
// somebody to kill.
const (
	reserveShare = 20
	reserveLeast = 128 << 20
	reserveMost  = 512 << 20
)

// shortOfMemory says whether memory is so short that the live set must not
// grow. Once it is, half as much again has to be free before it is over.
func shortOfMemory(m memory, isShort bool) bool {
	if m.total == 0 {
		return false // not known
	}
	reserve := min(max(m.total/reserveShare, reserveLeast), reserveMost)
	reserve = min(reserve, m.total/4) // of a small group
	if isShort {
		reserve += reserve / 2
	}
	return m.available < reserve
}

// memory is how much there is and how much of it is left, bytes.
type memory struct{ total, available uint64 }

// machineMemory reads /proc/meminfo.
func machineMemory() memory {
	return memory{meminfo("MemTotal:"), meminfo(availableLine)}
}

// groupMemory reads the limit of the control group that this process is in
// (Documentation/admin-guide/cgroup-v2.rst); its maps are charged to it. The
// zero value if there is no limit.
func groupMemory() memory {
	b, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return memory{}
	}
	for line := range strings.Lines(string(b)) {
		path, ok := strings.CutPrefix(strings.TrimSpace(line), "0::")
		if !ok {
			continue
		}
		number := func(file string) uint64 {
			b, err := os.ReadFile(filepath.Join("/sys/fs/cgroup", path, file))
			if err != nil {
				return 0
			}
			n, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64)
			if err != nil { // "max"
				return 0
			}
			return n
		}
		limit, used := number("memory.max"), number("memory.current")
		return memory{limit, limit - min(used, limit)}
	}
	return memory{}
}
