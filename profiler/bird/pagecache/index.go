// SPDX-License-Identifier: Apache-2.0

package pagecache

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// indexLayout is where struct empty_pages (sysdep/unix/alloc.c) has what, bytes:
// the count of addresses (unsigned int), and the addresses, up to the page's
// end. It begins with a node (BIRD 2), or the address of the next (BIRD 3).
type indexLayout struct{ count, pages uint64 }

func (c *Cache) indexLayout() indexLayout {
	if c.at.Generation == 2 {
		return indexLayout{16, 24}
	}
	return indexLayout{8, 16}
}

// maxIndexes bounds the index pages, of which each has some 500 addresses.
const maxIndexes = maxPages / 500

// readIndex reads the index pages and the addresses in them. Only the first may
// have room left: BIRD fills it before it makes another one, and empties it
// before it takes it away.
func (c *Cache) readIndex(h *head, p *Pages) error {
	prev, end := uint64(0), uint64(0)
	if c.at.Generation == 2 {
		if h.index == (list{}) {
			return nil // resource_sys_init has not run yet
		}
		prev = c.at.Global + globalIndex
		end = prev + listNull
	}
	most := uint64(maxIndexes)
	if c.at.Indexes != 0 {
		most = min(most, h.indexes)
	}
	l := c.indexLayout()
	full := (pageSize - l.pages) / 8
	var before [][]byte
	var again loop
	for page := h.index.first; page != end; {
		if !isPage(page) || again.closed(page) {
			return fmt.Errorf("index page 0x%x: %w", page, errTorn)
		}
		if uint64(len(before)) >= most {
			return fmt.Errorf("more than %d index pages: %w", most, errTorn)
		}
		b := make([]byte, pageSize)
		if _, err := c.ReadAt(b, int64(page)); err != nil {
			return fmt.Errorf("read index page 0x%x: %w", page, errTorn)
		}
		if back := binary.LittleEndian.Uint64(b[8:]); c.at.Generation == 2 && back != prev {
			return fmt.Errorf("index page 0x%x links back to 0x%x, not 0x%x: %w", page, back, prev, errTorn)
		}
		n := uint64(binary.LittleEndian.Uint32(b[l.count:]))
		if n > full || n < full && len(before) > 0 {
			return fmt.Errorf("index page 0x%x has %d addresses of %d: %w", page, n, full, errTorn)
		}
		b = b[:l.pages+8*n]
		for at := l.pages; at < uint64(len(b)); at += 8 {
			cold := binary.LittleEndian.Uint64(b[at:])
			if !isPage(cold) {
				return fmt.Errorf("cold page 0x%x: %w", cold, errTorn)
			}
			p.Cold = append(p.Cold, cold)
		}
		p.Index = append(p.Index, page)
		before = append(before, b)
		prev, page = page, binary.LittleEndian.Uint64(b)
	}
	if c.at.Generation == 2 && h.index.last != prev {
		return fmt.Errorf("list of index pages ends at 0x%x, not 0x%x: %w", prev, h.index.last, errTorn)
	}
	if c.at.Cold != 0 {
		if err := c.ended(h.cold, len(p.Cold)); err != nil {
			return fmt.Errorf("cold pages: %w", err)
		}
	}
	if c.at.Indexes != 0 {
		if err := c.ended(h.indexes, len(p.Index)); err != nil {
			return fmt.Errorf("index pages: %w", err)
		}
	}
	for i, page := range p.Index {
		b := make([]byte, len(before[i]))
		if _, err := c.ReadAt(b, int64(page)); err != nil || !bytes.Equal(b, before[i]) {
			return fmt.Errorf("index page 0x%x: %w", page, errTorn)
		}
	}
	return nil
}
