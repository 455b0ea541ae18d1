// SPDX-License-Identifier: Apache-2.0

package attribution

import (
	"encoding/binary"

	"leakprof/profiler/live"
	"leakprof/profiler/target"
)

// Room inside arrays that BIRD never shrinks, such as the hash table of a
// routing table that was full once, is no retained content: nothing is in
// it. It shows as zeros.
const (
	// emptyLeast is the smallest block looked into, in bytes: smaller ones are
	// objects, not arrays.
	emptyLeast = 4096
	// emptyMost bounds what is read from the process for one snapshot.
	emptyMost = 512 << 20
	// emptyWords is the shortest run of zeros that counts, in 8-byte words:
	// half of the smallest array, so that padding within objects does not.
	emptyWords = emptyLeast / 2 / 8
)

// emptyBytes returns how many bytes of each block that is asked for lie in long
// runs of zeros. Blocks beyond emptyMost in total count as full.
func emptyBytes(p *target.Process, blocks []live.Block, ask func(i int) bool) []uint64 {
	empty := make([]uint64, len(blocks))
	var read uint64
	buffer := make([]byte, 1<<20)
	for i, b := range blocks {
		if b.Size < emptyLeast || read+b.Size > emptyMost || !ask(i) {
			continue
		}
		read += b.Size
		run := uint64(0)
		for off := uint64(0); off < b.Size; {
			part := buffer[:min(uint64(len(buffer)), b.Size-off)]
			if n, _ := p.ReadAt(part, int64(b.Address+off)); n < len(part) {
				run, empty[i] = 0, 0 // freed meanwhile
				break
			}
			empty[i] += zeroRuns(part, &run)
			off += uint64(len(part))
		}
		empty[i] += endRun(&run)
	}
	return empty
}

// zeroRuns counts the bytes of long zero runs that end in b; run carries the
// one under way, in words, from one call to the next.
func zeroRuns(b []byte, run *uint64) (bytes uint64) {
	for ; len(b) >= 8; b = b[8:] {
		if binary.LittleEndian.Uint64(b) == 0 {
			*run++
		} else {
			bytes += endRun(run)
		}
	}
	return bytes
}

func endRun(run *uint64) (bytes uint64) {
	if *run >= emptyWords {
		bytes = 8 * *run
	}
	*run = 0
	return bytes
}
