// SPDX-License-Identifier: Apache-2.0

package profiler

import (
	"os"
	"strconv"
	"strings"
)

// blockCost is what a live block costs in kernel memory, in bytes: an element
// of 48 + 8 + 24 bytes in the allocator's 96-byte class, and its bucket.
const blockCost = 96 + 16

// The default budget: an eighth of the memory that is available, but no more
// than a busy full-table router needs and no less than a small one.
const (
	budgetShare   = 8
	budgetLeast   = 64 << 20
	budgetMost    = 1 << 30
	availableLine = "MemAvailable:"
)

// DefaultMaxMemory is the live set's budget where the user names none.
func DefaultMaxMemory() uint64 {
	return min(max(available()/budgetShare, budgetLeast), budgetMost)
}

// available reads MemAvailable of /proc/meminfo (proc_meminfo(5)), in bytes.
func available() uint64 {
	b, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, availableLine); ok {
			kB, err := strconv.ParseUint(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
			if err == nil {
				return kB << 10
			}
		}
	}
	return 0
}

// blocksFor is how many live blocks fit in a budget. The kernel rounds the
// number of buckets up to a power of two, so the capacity is one.
func blocksFor(budget uint64) uint32 {
	n := uint64(1) << 10
	for n*2*blockCost <= budget && n < 1<<30 {
		n *= 2
	}
	return uint32(n)
}
