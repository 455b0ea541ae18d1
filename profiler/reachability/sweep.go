// SPDX-License-Identifier: Apache-2.0

package reachability

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"leakprof/profiler/target"
)

const (
	// segmentUnits is how many units' pointers are kept together.
	segmentUnits = 1 << 14
	// bufferBytes is how much is read at once.
	bufferBytes = 1 << 20
	// mostVectors is IOV_MAX: the kernel takes no more in one call.
	mostVectors = 1024
	// nearBy is the gap between units that is rather read than left out, bytes.
	nearBy = 512
)

// segment has the pointers in segmentUnits units: unit i points to those from
// ends[i-1] to ends[i].
type segment struct {
	ends    []uint32
	targets []uint32
}

func (s *segment) of(i uint32) []uint32 {
	i %= segmentUnits
	first := uint32(0)
	if i > 0 {
		first = s.ends[i-1]
	}
	return s.targets[first:s.ends[i]]
}

// sweep reads all live memory once, in the order of its addresses, and returns
// where it points. A walk from pointer to pointer would have to read a list of
// a million elements one by one.
func (l *look) sweep() ([]segment, error) {
	n := (len(l.table.keys) + segmentUnits - 1) / segmentUnits
	all := make([]segment, n)
	var next atomic.Int64
	var failed atomic.Pointer[error]
	var group sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), max(n, 1)) {
		group.Go(func() {
			s := sweeper{look: l, buffer: make([]uint64, bufferBytes/8)}
			for failed.Load() == nil {
				k := int(next.Add(1)) - 1
				if k >= n {
					break
				}
				var err error
				if all[k], err = s.segment(uint32(k)); err != nil {
					failed.Store(&err)
				}
			}
			l.read.Add(s.read)
			l.unread.Add(s.unread)
		})
	}
	group.Wait()
	if err := failed.Load(); err != nil {
		return nil, *err
	}
	return all, nil
}

// holding returns what of a unit is read; the second range may be empty.
func (t *table) holding(i uint32) [2]span {
	s, at := t.shape(i), t.address(i)
	if gap := t.headers.positions; s.kind == socketUnit && s.from <= gap && gap+16 <= s.to {
		return [2]span{{at + s.from, at + gap}, {at + gap + 16, at + s.to}}
	}
	return [2]span{{at + s.from, at + s.to}}
}

// sweeper reads memory for one goroutine.
type sweeper struct {
	*look
	buffer       []uint64
	pieces       []piece
	remote       []unix.RemoteIovec
	held         uint64 // of the buffer, bytes
	targets      []uint32
	read, unread uint64
}

// piece is what of a unit is in the buffer.
type piece struct {
	unit   uint32
	at, to uint64 // in the buffer, words
}

func (s *sweeper) segment(k uint32) (segment, error) {
	if time.Now().After(s.deadline) {
		return segment{}, errTimeout
	}
	first := k * segmentUnits
	last := min(first+segmentUnits, uint32(len(s.table.keys)))
	out := segment{ends: make([]uint32, last-first)}
	s.targets = s.targets[:0]
	scan := func() error {
		if err := s.fill(); err != nil {
			return err
		}
		for _, p := range s.pieces {
			s.scan(p)
			out.ends[p.unit-first] = uint32(len(s.targets))
		}
		s.pieces, s.remote, s.held = s.pieces[:0], s.remote[:0], 0
		return nil
	}
	for i := first; i < last; i++ {
		for _, r := range s.table.holding(i) {
			for at := r.start; at < r.end; {
				room := s.want(i, at, r.end)
				if room == 0 {
					if err := scan(); err != nil {
						return segment{}, err
					}
				}
				at += room
			}
		}
	}
	if err := scan(); err != nil {
		return segment{}, err
	}
	for i := 1; i < len(out.ends); i++ {
		out.ends[i] = max(out.ends[i], out.ends[i-1])
	}
	out.targets = append(make([]uint32, 0, len(s.targets)), s.targets...)
	return out, nil
}

// want puts what of a unit's memory has room into the next reading, and returns
// how much that is, bytes.
func (s *sweeper) want(i uint32, at, end uint64) uint64 {
	gap := uint64(0)
	joined := false
	if n := len(s.remote); n > 0 {
		r := &s.remote[n-1]
		stop := uint64(r.Base) + uint64(r.Len)
		joined = at >= stop && at-stop <= nearBy
		if joined {
			gap = at - stop
		}
	}
	if s.held+gap+8 > bufferBytes || !joined && len(s.remote) == mostVectors {
		return 0
	}
	length := min(end-at, bufferBytes-s.held-gap)
	if joined {
		s.remote[len(s.remote)-1].Len += int(gap + length)
	} else {
		s.remote = append(s.remote, unix.RemoteIovec{Base: uintptr(at), Len: int(length)})
	}
	s.held += gap
	s.pieces = append(s.pieces, piece{i, s.held / 8, (s.held + length) / 8})
	s.held += length
	return length
}

// fill reads what is wanted. What cannot be read is zeros.
func (s *sweeper) fill() error {
	n, err := readVectors(s.process, s.buffer, s.remote)
	s.read += s.held
	s.unread += n
	return err
}

func (s *sweeper) scan(p piece) {
	last := p.unit
	for _, w := range s.buffer[p.at:p.to] {
		if w-s.low >= s.size {
			continue
		}
		if i, ok := s.table.find(w); ok && i != last && i != p.unit {
			s.targets = append(s.targets, i)
			last = i
		}
	}
}

// readVectors reads the vectors into the buffer, one behind the other, and
// returns how many bytes of them could not be read: they are zero.
func readVectors(p *target.Process, buffer []uint64, remote []unix.RemoteIovec) (unread uint64, err error) {
	bytes := unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(buffer))), len(buffer)*8)
	for len(remote) > 0 {
		total := 0
		for _, r := range remote {
			total += r.Len
		}
		local := []unix.Iovec{{Base: unsafe.SliceData(bytes), Len: uint64(total)}}
		n, err := unix.ProcessVMReadv(p.PID, local, remote, 0)
		switch {
		case errors.Is(err, unix.ESRCH):
			return unread, target.ErrGone
		case err != nil && !errors.Is(err, unix.EFAULT):
			return unread, fmt.Errorf("read memory of process %d: %w", p.PID, err)
		}
		// The kernel stops at the first page that it cannot read.
		got := max(n, 0)
		for len(remote) > 0 && got >= remote[0].Len {
			got -= remote[0].Len
			bytes = bytes[remote[0].Len:]
			remote = remote[1:]
		}
		if len(remote) == 0 {
			break
		}
		skip := min(remote[0].Len-got, pageSize-int(uint64(remote[0].Base)+uint64(got))%pageSize)
		clear(bytes[got : got+skip])
		unread += uint64(skip)
		bytes = bytes[got+skip:]
		rest := unix.RemoteIovec{Base: remote[0].Base + uintptr(got+skip), Len: remote[0].Len - got - skip}
		remote = append([]unix.RemoteIovec{rest}, remote[1:]...)
		if rest.Len == 0 {
			remote = remote[1:]
		}
	}
	return unread, nil
}
