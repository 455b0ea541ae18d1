// SPDX-License-Identifier: Apache-2.0

package pagecache

import (
	"encoding/binary"
	"fmt"
	"slices"
)

// list is the head of a list of lib/lists.h (BIRD 2), or the top of a stack
// (BIRD 3), which has no tail.
type list struct{ first, last uint64 }

// head is what BIRD's lists begin at, and how long they are by its own counts.
type head struct {
	kept, index          list
	keptCount, keptLocal uint64
	cold, indexes, total uint64 // where counted
	local                []localHead
	unread               int // threads
}

// localHead is the top of a thread's own stack and its count.
type localHead struct {
	thread
	top, count uint64
}

func (h *head) equal(o *head) bool {
	return h.kept == o.kept && h.index == o.index && h.keptCount == o.keptCount && h.keptLocal == o.keptLocal &&
		h.cold == o.cold && h.indexes == o.indexes && h.total == o.total &&
		slices.Equal(h.local, o.local) && h.unread == o.unread
}

func (c *Cache) word(addr uint64) (uint64, error) {
	var b [8]byte
	if _, err := c.ReadAt(b[:], int64(addr)); err != nil {
		return 0, fmt.Errorf("read address 0x%x: %w", addr, err)
	}
	return binary.LittleEndian.Uint64(b[:]), nil
}

// counter reads an int, of which BIRD's counts are never negative for long. It
// is 0 where there is none.
func (c *Cache) counter(addr uint64) (uint64, error) {
	if addr == 0 {
		return 0, nil
	}
	var b [4]byte
	if _, err := c.ReadAt(b[:], int64(addr)); err != nil {
		return 0, fmt.Errorf("read address 0x%x: %w", addr, err)
	}
	n := int32(binary.LittleEndian.Uint32(b[:]))
	if n < 0 {
		return 0, fmt.Errorf("a count is %d: %w", n, errTorn)
	}
	return uint64(n), nil
}

func (c *Cache) head() (*head, error) {
	h := &head{}
	for _, n := range []struct {
		to *uint64
		at uint64
	}{{&h.cold, c.at.Cold}, {&h.indexes, c.at.Indexes}, {&h.total, c.at.Total}, {&h.keptCount, c.at.Kept}, {&h.keptLocal, c.at.KeptLocally}} {
		var err error
		if *n.to, err = c.counter(n.at); err != nil {
			return nil, err
		}
	}
	if c.at.Generation == 2 {
		return h, c.globalHead(h)
	}
	return h, c.stackHeads(h)
}
