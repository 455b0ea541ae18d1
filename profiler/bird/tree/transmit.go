// SPDX-License-Identifier: Apache-2.0

package tree

import "fmt"

// The classes "BMP TX buffers" (2.16, proto/bmp/bmp.c) and "CLI TX buffers"
// (3.1.8, nest/cli.c) stand for pages that wait to be sent. The resource has
// nothing but the address of its owner, in which the list of pages lies
// wherever the version has it. It is known by its shape, and by the number of
// pages, which the owner has too.

const (
	bmpBuffersClass = "BMP TX buffers"
	cliBuffersClass = "CLI TX buffers"
)

// bmpBuffers counts the pages of a struct bmp_proto: first, last (addresses),
// their number and its limit (32 bits each). A page has the next one's address
// and that of its first free byte, and then data.
func (w *walker) bmpBuffers(c *class, addr uint64) (size, error) {
	const reach = 4096 // of the list in the owner
	s := size{overhead: c.Size}
	owner, err := w.owner(addr, reach)
	if err != nil {
		return s, err
	}
	for at := uint64(0); at+24 <= reach; at += 8 {
		first, last := owner.u64(at), owner.u64(at+8)
		number, limit := owner.u32(at+16), owner.u32(at+20)
		if !isPage(first) || !isPage(last) || number == 0 || number > limit || !w.points(first, 8, first+16) {
			continue
		}
		var n, end uint64
		err := w.chain(first, 0, 16, func(at uint64, b words) error {
			if n++; !isPage(at) || n > number {
				return fmt.Errorf("page at 0x%x is none: %w", at, ErrTorn)
			}
			end = at
			return w.page(page{addr: at, owner: addr, class: c.index, free: roomTo(at, b.u64(8))})
		})
		if err != nil {
			return s, err
		}
		if n != number || end != last {
			return s, fmt.Errorf("%d pages, not %d: %w", n, number, ErrTorn)
		}
		s.effective = n * pageSize
		break
	}
	return s, nil
}

// cliBuffers counts the pages of a struct cli: first, the one being filled, the
// one being sent. A page has the next one's address, those of its first free
// and its first unsent byte, and that of its end.
func (w *walker) cliBuffers(c *class, addr uint64) (size, error) {
	const reach = 256
	s := size{overhead: c.Size}
	owner, err := w.owner(addr, reach)
	if err != nil {
		return s, err
	}
	for at := uint64(0); at+24 <= reach; at += 8 {
		first := owner.u64(at)
		if !isPage(first) || !isPage(owner.u64(at+8)) || !isPage(owner.u64(at+16)) || !w.points(first, 24, first+pageSize) {
			continue
		}
		err := w.chain(first, 0, 32, func(at uint64, b words) error {
			if !isPage(at) || b.u64(24) != at+pageSize {
				return fmt.Errorf("page at 0x%x is none: %w", at, ErrTorn)
			}
			s.effective += pageSize
			return w.page(page{addr: at, owner: addr, class: c.index, free: roomTo(at, b.u64(8))})
		})
		return s, err
	}
	return s, nil
}

// owner reads what the resource points to, up to reach bytes or as far as
// memory goes.
func (w *walker) owner(addr, reach uint64) (words, error) {
	at, err := w.word(addr + w.l.header)
	if err != nil {
		return nil, err
	}
	b := make(words, reach)
	for n := reach; n >= 128; n /= 2 {
		if err = w.read(at, b[:n]); err == nil {
			return b, nil
		}
	}
	return nil, err
}

func isPage(addr uint64) bool { return addr != 0 && addr%pageSize == 0 && addr < highest }

// points says whether the word at offset at of the page is an address from
// least to the page's end.
func (w *walker) points(page, at, least uint64) bool {
	v, err := w.word(page + at)
	return err == nil && v >= least && v <= page+pageSize
}

// roomTo returns what is free in a page whose first free byte is at next, bytes;
// 0 if that is not in it.
func roomTo(page, next uint64) uint16 {
	if next < page || next > page+pageSize {
		return 0
	}
	return uint16(page + pageSize - next)
}
