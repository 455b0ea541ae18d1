// SPDX-License-Identifier: Apache-2.0

package pagecache

import (
	"encoding/binary"
	"fmt"
)

// stackHeads reads the tops of BIRD 3's stacks.
func (c *Cache) stackHeads(h *head) error {
	var err error
	if h.kept.first, err = c.word(c.at.Stack); err != nil {
		return err
	}
	if h.index.first, err = c.word(c.at.Index); err != nil {
		return err
	}
	threads, err := c.threads()
	if err != nil {
		return err
	}
	for _, t := range threads {
		if t.pointer == 0 {
			h.unread++
			continue
		}
		l := localHead{thread: t}
		if l.top, err = c.word(t.pointer + uint64(c.at.LocalStack)); err != nil {
			return fmt.Errorf("thread %d: %w: %w", t.id, err, errTorn)
		}
		if l.count, err = c.counter(t.pointer + uint64(c.at.LocalCount)); err != nil {
			return fmt.Errorf("thread %d: %w: %w", t.id, err, errTorn)
		}
		h.local = append(h.local, l)
	}
	return nil
}

// readStacks follows BIRD 3's stacks, in which each page begins with the address
// of the next.
func (c *Cache) readStacks(h *head, p *Pages) error {
	if h.kept.first == c.at.Cork {
		return fmt.Errorf("a thread is at the shared stack: %w", errTorn)
	}
	var links []byte
	var err error
	if links, err = c.readStack(h.kept.first, h.keptCount, p, links); err != nil {
		return fmt.Errorf("shared stack: %w", err)
	}
	p.Lost = h.keptCount - uint64(len(p.Kept))
	local := uint64(0)
	for _, l := range h.local {
		before := len(p.Kept)
		if links, err = c.readStack(l.top, l.count, p, links); err != nil {
			return fmt.Errorf("stack of thread %d: %w", l.id, err)
		}
		if err := c.ended(l.count, len(p.Kept)-before); err != nil {
			return fmt.Errorf("stack of thread %d: %w", l.id, err)
		}
		local += l.count
	}
	if local > h.keptLocal || local < h.keptLocal && h.unread == 0 {
		return fmt.Errorf("%d pages on the stacks of threads, %d counted: %w", local, h.keptLocal, errTorn)
	}
	p.Unread = h.keptLocal - local
	return c.unchanged(p.Kept, links)
}

// readStack appends the pages of a stack of at most so many to p.Kept, and what
// each begins with to links.
func (c *Cache) readStack(page, most uint64, p *Pages, links []byte) ([]byte, error) {
	var again loop
	for n := uint64(0); page != 0; n++ {
		if !isPage(page) || again.closed(page) {
			return nil, fmt.Errorf("page 0x%x: %w", page, errTorn)
		}
		if n >= min(most, maxPages) {
			return nil, fmt.Errorf("more than %d pages: %w", most, errTorn)
		}
		var b [8]byte
		if _, err := c.ReadAt(b[:], int64(page)); err != nil {
			return nil, fmt.Errorf("read page 0x%x: %w", page, errTorn)
		}
		p.Kept = append(p.Kept, page)
		links = append(links, b[:]...)
		page = binary.LittleEndian.Uint64(b[:])
	}
	return links, nil
}
