// SPDX-License-Identifier: Apache-2.0

package tree

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"
)

const (
	// windowSize is how much is read at once, bytes: what malloc and alloc_page
	// hand out in a row is mostly side by side.
	windowSize = 16 << 10
	// windowCount bounds what is kept: 32 MiB.
	windowCount = 2048
	// highest is where user space ends, with four levels of page tables.
	highest = 1 << 47
)

// window is a stretch of the process's memory as it was when it was read.
type window struct {
	start, end uint64 // addresses of what could be read
	data       []byte
}

// memory reads a process's memory through windows. A walk sees each window as
// it was when the walk came to it first, unless it had to make room meanwhile.
type memory struct {
	source   io.ReaderAt
	deadline time.Time
	reads    int    // of the source
	calls    uint   // of read
	head     uint64 // address of the last page's head that was read
	windows  [windowCount]window
}

var (
	errUnmapped = errors.New("is not mapped")
	errTimeout  = errors.New("it took too long")
)

// forget drops all windows.
func (m *memory) forget() {
	for i := range m.windows {
		m.windows[i].start, m.windows[i].end = 0, 0
	}
}

// read fills b from addr. Memory that is not mapped is a sign of a dead
// pointer: ErrTorn.
func (m *memory) read(addr uint64, b []byte) error {
	if addr >= highest || uint64(len(b)) > highest-addr {
		return fmt.Errorf("address 0x%x is none: %w", addr, ErrTorn)
	}
	if m.calls++; m.calls%(1<<16) == 0 && m.over() {
		return errTimeout
	}
	for len(b) > 0 {
		w, err := m.window(addr)
		if err != nil {
			return err
		}
		n := copy(b, w.data[addr-w.start:w.end-w.start])
		b, addr = b[n:], addr+uint64(n)
	}
	return nil
}

func (m *memory) over() bool { return time.Now().After(m.deadline) }

// readHead fills b from addr, the head of a page. Of pages that lie apart
// nothing but their heads is wanted.
func (m *memory) readHead(addr uint64, b []byte) error {
	w := &m.windows[addr/windowSize%windowCount]
	near := addr-m.head+windowSize <= 2*windowSize
	m.head = addr
	if near || addr >= w.start && addr < w.end || addr >= highest {
		return m.read(addr, b)
	}
	if m.calls++; m.calls%(1<<8) == 0 && m.over() {
		return errTimeout
	}
	m.reads++
	if n, _ := m.source.ReadAt(b, int64(addr)); n < len(b) {
		return fmt.Errorf("memory at 0x%x %w: %w", addr, errUnmapped, ErrTorn)
	}
	return nil
}

// window returns the window that holds addr.
func (m *memory) window(addr uint64) (*window, error) {
	w := &m.windows[addr/windowSize%windowCount]
	if addr >= w.start && addr < w.end {
		return w, nil
	}
	if m.over() {
		return nil, errTimeout
	}
	if w.data == nil {
		w.data = make([]byte, windowSize)
	}
	base := addr &^ (windowSize - 1)
	// What is mapped may begin or end inside the window.
	for _, start := range []uint64{base, addr &^ (pageSize - 1)} {
		m.reads++
		n, _ := m.source.ReadAt(w.data[:base+windowSize-start], int64(start))
		if w.start, w.end = start, start+uint64(max(n, 0)); addr < w.end {
			return w, nil
		}
	}
	w.end = w.start
	return nil, fmt.Errorf("memory at 0x%x %w: %w", addr, errUnmapped, ErrTorn)
}

func (m *memory) word(addr uint64) (uint64, error) {
	var b [8]byte
	err := m.read(addr, b[:])
	return binary.LittleEndian.Uint64(b[:]), err
}

// text reads a C string of at most limit bytes.
func (m *memory) text(addr uint64, limit int) (string, error) {
	var out []byte
	for len(out) <= limit {
		if addr >= highest {
			return "", fmt.Errorf("address 0x%x is none: %w", addr, ErrTorn)
		}
		w, err := m.window(addr)
		if err != nil {
			return "", err
		}
		for _, c := range w.data[addr-w.start : w.end-w.start] {
			if c == 0 {
				return string(out), nil
			}
			if c < ' ' || c == 0x7f {
				c = '?'
			}
			out = append(out, c)
			if len(out) > limit {
				break
			}
		}
		addr = w.end
	}
	return "", fmt.Errorf("string of more than %d bytes: %w", limit, ErrTorn)
}

// words is a structure that was read.
type words []byte

func (s words) u64(at uint64) uint64 { return binary.LittleEndian.Uint64(s[at:]) }
func (s words) u32(at uint64) uint64 { return uint64(binary.LittleEndian.Uint32(s[at:])) }
func (s words) u16(at uint64) uint64 { return uint64(binary.LittleEndian.Uint16(s[at:])) }
