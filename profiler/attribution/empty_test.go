// SPDX-License-Identifier: Apache-2.0

package attribution

import (
	"os"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"leakprof/profiler/live"
	"leakprof/profiler/target"
)

// words are a block's content: n words of zeros or of something.
type words struct {
	n    int
	full bool
}

func block(parts ...words) []byte {
	var b []byte
	for _, p := range parts {
		part := make([]byte, 8*p.n)
		if p.full {
			for i := range part {
				part[i] = 1
			}
		}
		b = append(b, part...)
	}
	return b
}

func TestEmptyBytes(t *testing.T) {
	self, err := target.Open(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	defer self.Close()
	const run = emptyWords
	for _, c := range []struct {
		name  string
		block []byte
		want  uint64
	}{
		{"all zeros", block(words{2 * run, false}), 16 * run},
		{"all full", block(words{2 * run, true}), 0},
		{"a header in front", block(words{5, true}, words{2 * run, false}), 16 * run},
		{"half", block(words{2 * run, true}, words{run, false}), 8 * run},
		{"runs too short", block(words{run, true}, words{run - 1, false}, words{run, true}, words{run - 1, false}), 0},
		{"two runs", block(words{run, false}, words{1, true}, words{run + 3, false}), 8 * (2*run + 3)},
		{"too small a block", block(words{2*run - 1, false}), 0},
		{"across the reading buffer", block(words{1 << 17, true}, words{3, false}, words{1 << 17, false}, words{1, true}), 8 * (3 + 1<<17)},
		{"an odd end", append(block(words{2 * run, false}), 1, 2, 3), 16 * run},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := live.Block{Address: uint64(uintptr(unsafe.Pointer(&c.block[0]))), Size: uint64(len(c.block))}
			if got := emptyBytes(self, []live.Block{b}, all); got[0] != c.want {
				t.Errorf("%d bytes of %d, want %d", got[0], len(c.block), c.want)
			}
		})
	}
	// A large block whose end goes away while it is read.
	const half = 2 << 20
	area, err := unix.MmapPtr(-1, 0, nil, 2*half, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		t.Fatal(err)
	}
	*(*uint64)(unsafe.Add(area, half/4)) = 1 // ends a run that counts already
	if err := unix.MunmapPtr(unsafe.Add(area, half), half); err != nil {
		t.Fatal(err)
	}
	if got := emptyBytes(self, []live.Block{{Address: uint64(uintptr(area)), Size: 2 * half}}, all); got[0] != 0 {
		t.Errorf("a block that is freed meanwhile has %d empty bytes", got[0])
	}
	gone := live.Block{Address: 1 << 46, Size: 1 << 20}
	if got := emptyBytes(self, []live.Block{gone}, all); got[0] != 0 {
		t.Errorf("a block that is gone has %d empty bytes", got[0])
	}
}

// all asks for every block.
func all(int) bool { return true }
