// SPDX-License-Identifier: Apache-2.0

package tree

import "fmt"

const routingTableClass = "Routing table"

// routingTable counts the two export journals of a BIRD 3's table
// (rt_res_memsize, nest/rt-table.c, and lfjour_memsize, lib/lockfree.c); the
// table itself does not count. They lie in the table wherever the version has
// them. struct lfjour begins with: a lock, a loop (addresses), the size of an
// item and their number in a block (32 bits each), the first and the last
// block, the first item to announce, an open one, the next sequence number.
func (w *walker) routingTable(c *class, addr uint64) (size, error) {
	const length = 64
	table := make(words, c.Size)
	if err := w.read(addr, table); err != nil {
		return size{}, err
	}
	var sum size
	journals := 0
	for at := w.l.header; at+length <= uint64(len(table)); at += 8 {
		j := table[at : at+length]
		if !isJournal(j) {
			continue
		}
		journals++
		s, err := w.journal(c, addr, addr+at+24, j)
		if err != nil {
			return size{}, err
		}
		sum.effective += s.effective
		sum.overhead += s.overhead
		at += length - 8
	}
	if journals != 2 {
		w.warn("a routing table has %d export journals, not 2: their pages may not be counted", journals)
	}
	return sum, nil
}

// journalHead is sizeof(struct lfjour_block): a list node, the number of items
// in it, a flag.
const journalHead = 32

// isJournal tells a struct lfjour by a number of items that is what fits into a
// page, and a list that is empty or of pages.
func isJournal(j words) bool {
	item, items := j.u32(16), j.u32(20)
	first, last := j.u64(24), j.u64(32)
	return item >= 16 && item <= 1024 && item%8 == 0 && items == (pageSize-journalHead)/item &&
		j.u64(8) != 0 && j.u64(8) < highest && j.u64(8)%8 == 0 && j.u64(0)%8 == 0 &&
		(first == 0 && last == 0 || isPage(first) && isPage(last))
}

// journal counts a journal's pages, a typed list at address list, and items.
func (w *walker) journal(c *class, table, list uint64, j words) (size, error) {
	item, items, last, firstItem, next := j.u32(16), j.u32(20), j.u64(32), j.u64(40), j.u64(56)
	shape, err := w.addShape(shape{object: uint32(item)})
	if err != nil {
		return size{}, err
	}
	var pages, prev uint64
	first := len(w.t.pages)
	err = w.chain(j.u64(24), 0, 28, func(at uint64, block words) error {
		if !isPage(at) || block.u64(8) != prev || block.u64(16) != list {
			return fmt.Errorf("journal's page at 0x%x is not linked where it should be: %w", at, ErrTorn)
		}
		pages++
		prev = at
		// Items fill the page from its head on; those that are done with stay.
		end := block.u32(24)
		if end > items {
			return fmt.Errorf("journal's page at 0x%x has %d items of %d: %w", at, end, items, ErrTorn)
		}
		return w.page(page{addr: at, owner: table, class: c.index, shape: shape, used: uint16(end), free: uint16((items - end) * item)})
	})
	if err != nil {
		return size{}, err
	}
	if prev != last {
		return size{}, fmt.Errorf("journal ends elsewhere: %w", ErrTorn)
	}
	if firstItem == 0 {
		for i := first; i < len(w.t.pages); i++ {
			w.t.pages[i].used = 0
		}
		return size{overhead: pages * pageSize}, nil
	}
	number, err := w.word(firstItem)
	if err != nil {
		return size{}, err
	}
	eff := (next - number) * item
	if number > next || eff > pages*pageSize {
		return size{}, fmt.Errorf("journal has items %d to %d of %d bytes in %d pages: %w", number, next, item, pages, ErrTorn)
	}
	// The last items count, down to the first that is still to be announced.
	left := next - number
	for i := len(w.t.pages) - 1; i >= first; i-- {
		p := &w.t.pages[i]
		p.used = uint16(min(uint64(p.used), left))
		left -= uint64(p.used)
	}
	if left > 0 {
		return size{}, fmt.Errorf("journal has %d items more than its pages: %w", left, ErrTorn)
	}
	return size{eff, pages*pageSize - eff}, nil
}
