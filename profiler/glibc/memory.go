// SPDX-License-Identifier: Apache-2.0

package glibc

import (
	"encoding/binary"
	"fmt"
	"io"
)

const (
	pageSize   = 4096
	windowSize = 256 << 10 // bytes read at once
	highest    = 1 << 47   // end of user space, with four levels of page tables
)

// window reads memory forward: in long stretches where one is read to its end,
// in short ones where most is jumped over.
type window struct {
	source io.ReaderAt
	// held returns the end of the pages from an address on that have content:
	// to read what was never written would make the kernel map it.
	held  held
	room  [windowSize]byte
	start uint64 // address of room
	read  uint64 // bytes in it
	next  uint64 // how much to read
}

// at returns n bytes at addr, valid until the next call; n is small.
func (w *window) at(addr, n uint64) ([]byte, error) {
	if addr >= w.start && addr-w.start+n <= w.read {
		return w.room[addr-w.start:][:n], nil
	}
	if addr >= highest {
		return nil, fmt.Errorf("0x%x is no address: %w", addr, ErrTorn)
	}
	w.next = min(2*w.next, windowSize)
	if end := w.start + w.read; w.next == 0 || addr > end {
		w.next = pageSize
	}
	end := max(w.held(addr, addr+w.next), addr+n)
	got, err := w.source.ReadAt(w.room[:end-addr], int64(addr))
	w.start, w.read = addr, uint64(max(got, 0))
	if w.read < n {
		return nil, fmt.Errorf("read 0x%x: %w: %w", addr, err, ErrTorn)
	}
	return w.room[:n], nil
}

// words reads n words at addr.
func words(r io.ReaderAt, addr uint64, n int) ([]uint64, error) {
	if addr >= highest {
		return nil, fmt.Errorf("0x%x is no address: %w", addr, ErrTorn)
	}
	b := make([]byte, n*8)
	if got, err := r.ReadAt(b, int64(addr)); got < len(b) {
		return nil, fmt.Errorf("read 0x%x: %w: %w", addr, err, ErrTorn)
	}
	out := make([]uint64, n)
	for i := range out {
		out[i] = binary.LittleEndian.Uint64(b[i*8:])
	}
	return out, nil
}
