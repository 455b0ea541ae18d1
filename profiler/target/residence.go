// SPDX-License-Identifier: Apache-2.0

package target

import (
	"encoding/binary"
	"fmt"
	"io"
	"math/bits"
	"os"
)

const pageSize = 4096

// Bits of an entry of /proc/PID/pagemap
// (Documentation/admin-guide/mm/pagemap.rst).
const (
	pagePresent   = 1 << 63
	pageSwapped   = 1 << 62
	pageFile      = 1 << 61 // of a file, or shared
	pageExclusive = 1 << 56 // mapped by this process alone
)

// Residence says which pages of a stretch of a process's memory are resident.
type Residence struct {
	Start, End uint64 // addresses, whole pages
	pages      bitmap // bit i: page i counts as resident
	written    bitmap // bit i: page i is resident or in swap
}

type bitmap []uint64

func (b bitmap) set(i uint64)      { b[i/64] |= 1 << (i % 64) }
func (b bitmap) has(i uint64) bool { return b[i/64]&(1<<(i%64)) != 0 }

func (b bitmap) count() (n uint64) {
	for _, w := range b {
		n += uint64(bits.OnesCount64(w))
	}
	return n
}

// maxResidence bounds a stretch: 1 TiB is more than a router has.
const maxResidence = 1 << 40

// Residence reads which pages of the mapping u are resident.
//
// A page that was read but never written is the kernel's shared zero page:
// present, but no part of the RSS. Where the mapping's RSS shows that there are
// such pages, they are told by belonging to more than this process.
func (p *Process) Residence(u Usage) (*Residence, error) {
	f, err := os.Open(p.path("pagemap"))
	if err != nil {
		return nil, fmt.Errorf("read page map of process %d: %w", p.PID, explain(err))
	}
	defer f.Close()
	r, err := readResidence(f, u)
	if err != nil {
		return nil, fmt.Errorf("read page map of process %d: %w", p.PID, err)
	}
	return r, nil
}

func readResidence(pagemap io.ReaderAt, u Usage) (*Residence, error) {
	start, end := u.Start&^(pageSize-1), u.End&^(pageSize-1)
	if end < start || end-start > maxResidence {
		return nil, fmt.Errorf("%d bytes at 0x%x are no mapping", end-start, start)
	}
	n := (end - start) / pageSize
	present, own, written := make(bitmap, (n+63)/64), make(bitmap, (n+63)/64), make(bitmap, (n+63)/64)
	b := make([]byte, min(n, 1<<13)*8)
	for first := uint64(0); first < n; first += uint64(len(b) / 8) {
		b = b[:min(uint64(len(b)), (n-first)*8)]
		// Short where the process has ended meanwhile.
		if got, err := pagemap.ReadAt(b, int64((start/pageSize+first)*8)); got < len(b) {
			if err == nil || err == io.EOF {
				err = ErrGone
			}
			return nil, err
		}
		for i := range uint64(len(b) / 8) {
			e := binary.LittleEndian.Uint64(b[i*8:])
			if e&(pagePresent|pageSwapped) != 0 {
				written.set(first + i)
			}
			if e&pagePresent == 0 {
				continue
			}
			present.set(first + i)
			if e&(pageExclusive|pageFile) != 0 {
				own.set(first + i)
			}
		}
	}
	r := &Residence{Start: start, End: end, pages: present, written: written}
	if present.count()*pageSize > u.RSS {
		r.pages = own
	}
	return r, nil
}

// Bytes returns how many bytes from start to before end are resident.
func (r *Residence) Bytes(start, end uint64) (n uint64) {
	start, end = max(start, r.Start), min(end, r.End)
	for start < end {
		next := min((start/pageSize+1)*pageSize, end)
		i := (start - r.Start) / pageSize
		switch w := r.pages[i/64]; {
		case i%64 == 0 && end-start >= 64*pageSize && start%pageSize == 0 && (w == 0 || w == ^uint64(0)):
			next = start + 64*pageSize
			if w != 0 {
				n += next - start
			}
		case r.pages.has(i):
			n += next - start
		}
		start = next
	}
	return n
}

// Held returns the end of the run of pages from start on that have content,
// resident or in swap, but no more than end; it is start if its page has none.
func (r *Residence) Held(start, end uint64) uint64 {
	if start < r.Start {
		return start
	}
	at := start
	for at < min(end, r.End) && r.written.has((at-r.Start)/pageSize) {
		at = (at/pageSize + 1) * pageSize
	}
	return max(start, min(at, end))
}
