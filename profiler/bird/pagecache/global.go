// SPDX-License-Identifier: Apache-2.0

package pagecache

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"leakprof/profiler/target"
)

// Offsets in struct free_pages (sysdep/unix/alloc.c of BIRD 2.0.11 to 2.20),
// bytes. A list has head, null and tail.
const (
	globalKept  = 0
	globalIndex = 24
	globalMin   = 48 // unsigned short, then max
	globalMax   = 50
	globalCount = 52 // unsigned int
	globalHook  = 80 // of the event cleanup
	globalSize  = 112

	listNull = 8
	listTail = 16
)

func (c *Cache) globalBytes() ([]byte, error) {
	b := make([]byte, globalSize)
	if _, err := c.ReadAt(b, int64(c.at.Global)); err != nil {
		return nil, fmt.Errorf("read struct free_pages at 0x%x: %w", c.at.Global, err)
	}
	return b, nil
}

// checkGlobal looks at what stands in struct free_pages from the program's
// start: the least and greatest number of pages kept, and the hook of the event
// that sees to them.
func (c *Cache) checkGlobal(exe *target.Module) error {
	b, err := c.globalBytes()
	if err != nil {
		return err
	}
	least, most := binary.LittleEndian.Uint16(b[globalMin:]), binary.LittleEndian.Uint16(b[globalMax:])
	if least == 0 || most/4 <= least {
		return fmt.Errorf("0x%x is no struct free_pages: keeps %d to %d pages", c.at.Global, least, most)
	}
	hook := binary.LittleEndian.Uint64(b[globalHook:])
	for _, a := range exe.Areas {
		if a.Exec && hook >= a.Start && hook < a.End {
			return nil
		}
	}
	return fmt.Errorf("0x%x is no struct free_pages: hook of its event is 0x%x", c.at.Global, hook)
}

func (c *Cache) globalHead(h *head) error {
	b, err := c.globalBytes()
	if err != nil {
		return err
	}
	read := func(at int) (list, error) {
		word := func(off int) uint64 { return binary.LittleEndian.Uint64(b[at+off:]) }
		if word(listNull) != 0 {
			return list{}, fmt.Errorf("list at 0x%x is none: %w", c.at.Global+uint64(at), errTorn)
		}
		return list{word(0), word(listTail)}, nil
	}
	if h.kept, err = read(globalKept); err != nil {
		return err
	}
	if h.index, err = read(globalIndex); err != nil {
		return err
	}
	h.keptCount = uint64(binary.LittleEndian.Uint32(b[globalCount:]))
	return nil
}

// readGlobal follows BIRD 2's list of kept pages, whose nodes (next, prev) are
// at the beginning of each page.
func (c *Cache) readGlobal(h *head, p *Pages) error {
	if h.kept == (list{}) { // resource_sys_init has not run yet
		return c.ended(h.keptCount, 0)
	}
	addr := c.at.Global + globalKept
	prev, end := addr, addr+listNull
	var nodes []byte
	for page := h.kept.first; page != end; {
		if !isPage(page) {
			return fmt.Errorf("kept page 0x%x: %w", page, errTorn)
		}
		if uint64(len(p.Kept)) >= min(h.keptCount, maxPages) {
			return fmt.Errorf("more than %d pages are kept: %w", h.keptCount, errTorn)
		}
		var node [16]byte
		if _, err := c.ReadAt(node[:], int64(page)); err != nil {
			return fmt.Errorf("read kept page 0x%x: %w", page, errTorn)
		}
		if back := binary.LittleEndian.Uint64(node[8:]); back != prev {
			return fmt.Errorf("kept page 0x%x links back to 0x%x, not 0x%x: %w", page, back, prev, errTorn)
		}
		p.Kept = append(p.Kept, page)
		nodes = append(nodes, node[:]...)
		prev, page = page, binary.LittleEndian.Uint64(node[:])
	}
	if h.kept.last != prev {
		return fmt.Errorf("list of kept pages ends at 0x%x, not 0x%x: %w", prev, h.kept.last, errTorn)
	}
	if err := c.ended(h.keptCount, len(p.Kept)); err != nil {
		return err
	}
	return c.unchanged(p.Kept, nodes)
}

func (c *Cache) ended(counted uint64, listed int) error {
	if counted != uint64(listed) {
		return fmt.Errorf("%d pages are listed, %d counted: %w", listed, counted, errTorn)
	}
	return nil
}

// unchanged reads the beginning of each page again.
func (c *Cache) unchanged(pages []uint64, before []byte) error {
	if len(pages) == 0 {
		return nil
	}
	again, _, err := c.ReadBatch(pages, len(before)/len(pages))
	if err != nil {
		return err
	}
	if !bytes.Equal(again, before) {
		return fmt.Errorf("links of %d pages: %w", len(pages), errTorn)
	}
	return nil
}
