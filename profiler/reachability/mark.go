// SPDX-License-Identifier: Apache-2.0

package reachability

import (
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"leakprof/profiler/target"
)

// look is one look for what can be reached.
type look struct {
	process  *target.Process
	table    *table
	modules  []*target.Module
	skip     span // of the program's variables
	deadline time.Time

	low, size    uint64 // where units are
	read, unread atomic.Uint64
}

// What holds a unit: the unit of index n-1, or with fromRoot the hit of that
// index.
const (
	unreached = 0
	fromRoot  = 1 << 31
	// doubtful is set where it was reached only from what may be dead.
	doubtful = 1 << 30
)

// hit is a word of a root that points into a unit.
type hit struct {
	address uint64
	root    int32 // index in reach.roots, byNumber for none
}

// byNumber stands for an address that is kept as a number.
const byNumber = -1

// reach is what a look found.
type reach struct {
	holder []uint32 // by unit
	// before has, for units that were first reached from one of another shape,
	// one of their own that points at them too: for an element in the middle of a
	// list that something else has the address of, the element before it.
	before       map[uint32]uint32
	hits         []hit
	roots        []root
	running      []int // threads
	waiting      int
	missing      []int // threads whose thread-local storage was not found
	read, unread uint64
}

// reached returns a bitmap of the units that were reached.
func (r *reach) reached() []uint64 {
	b := make([]uint64, (len(r.holder)+63)/64)
	for i, h := range r.holder {
		if h != unreached {
			b[i/64] |= 1 << (i % 64)
		}
	}
	return b
}

// run looks once.
func (l *look) run() (reach, error) {
	l.read.Store(0)
	l.unread.Store(0)
	l.bound()
	var r reach
	if err := l.findRoots(&r); err != nil {
		return reach{}, err
	}
	certain, dubious, err := l.readRoots(r.roots)
	if err != nil {
		return reach{}, err
	}
	return l.mark(r, append(certain, l.guards(r.roots)...), dubious)
}

// bound notes where units are.
func (l *look) bound() {
	if len(l.table.keys) > 0 {
		l.low = l.table.address(0)
		l.size = l.table.index[len(l.table.index)-1].end - l.low
	}
}

// mark follows pointers from what the roots point to.
func (l *look) mark(r reach, certain, dubious []found) (reach, error) {
	m := marker{reach: r, table: l.table, deadline: l.deadline}
	m.holder, m.before = make([]uint32, len(l.table.keys)), make(map[uint32]uint32)
	var err error
	if m.segments, err = l.sweep(); err != nil {
		return reach{}, err
	}
	m.start(certain, 0)
	if err := m.spread(0); err != nil {
		return reach{}, err
	}
	for i := range m.holder {
		if m.holder[i] == unreached && l.table.shape(uint32(i)).kind == numberedUnit {
			dubious = append(dubious, found{hit{0, byNumber}, uint32(i)})
		}
	}
	m.start(dubious, doubtful)
	if err := m.spread(doubtful); err != nil {
		return reach{}, err
	}
	m.read, m.unread = l.read.Load(), l.unread.Load()
	return m.reach, nil
}

// guards returns the resources that root_pool holds; it is a variable and no
// unit.
func (l *look) guards(roots []root) (all []found) {
	k := slices.IndexFunc(roots, func(r root) bool { return l.skip.start >= r.start && l.skip.start < r.end })
	if k < 0 {
		return nil
	}
	for i := range l.table.keys {
		if l.table.shape(uint32(i)).kind == guardUnit && l.table.ownerOf(uint32(i)) == noUnit {
			all = append(all, found{hit{l.skip.start, int32(k)}, uint32(i)})
		}
	}
	return all
}

// found is a unit that a root points to.
type found struct {
	hit
	unit uint32
}

// marker marks what can be reached.
type marker struct {
	reach
	table    *table
	segments []segment
	frontier []uint32
	deadline time.Time
}

// start marks what roots point to.
func (m *marker) start(all []found, flag uint32) {
	for _, f := range all {
		if m.holder[f.unit] != unreached {
			continue
		}
		m.hits = append(m.hits, f.hit)
		m.holder[f.unit] = fromRoot | flag | uint32(len(m.hits))
		m.frontier = append(m.frontier, f.unit)
	}
}

// edge is a pointer from one unit to another.
type edge struct{ from, to uint32 }

// maxBefore bounds reach.before. Where there are more, a holder that is named
// may be one of several.
const maxBefore = 1 << 18

// note keeps in before what visit found.
func (m *marker) note(beside []edge) {
	for _, e := range beside {
		if len(m.before) == maxBefore {
			return
		}
		m.before[e.to] = e.from
	}
}

// worthSharing is a number of units that is worth a goroutine.
const worthSharing = 1 << 12

// spread marks whatever the frontier holds, in rounds: so each unit's holder is
// the next one on a shortest way to a root.
func (m *marker) spread(flag uint32) error {
	var spare []uint32
	for rounds := 0; len(m.frontier) > 0; rounds++ {
		if rounds%(1<<16) == 0 && time.Now().After(m.deadline) {
			return errTimeout
		}
		now := m.frontier
		if len(now) < worthSharing {
			var beside []edge
			m.frontier, beside = m.visit(now, flag, spare[:0])
			m.note(beside)
			spare = now
			continue
		}
		workers := runtime.GOMAXPROCS(0)
		parts, beside := make([][]uint32, workers), make([][]edge, workers)
		var group sync.WaitGroup
		for w := range workers {
			group.Go(func() {
				parts[w], beside[w] = m.visit(now[len(now)*w/workers:len(now)*(w+1)/workers], flag, nil)
			})
		}
		group.Wait()
		m.frontier = spare[:0]
		for w := range workers {
			m.frontier = append(m.frontier, parts[w]...)
			m.note(beside[w])
		}
		spare = now
	}
	return nil
}

// visit marks what some units hold, and appends those that were not marked yet.
// beside are pointers to others, for reach.before.
func (m *marker) visit(units []uint32, flag uint32, next []uint32) (_ []uint32, beside []edge) {
	for _, i := range units {
		by := flag | (i + 1)
		mark := func(target uint32) {
			if h := &m.holder[target]; atomic.LoadUint32(h) == unreached && atomic.CompareAndSwapUint32(h, unreached, by) {
				next = append(next, target)
			} else if m.table.alike(i, target) && target != i && len(beside) < maxBefore {
				if by := atomic.LoadUint32(h); by&fromRoot != 0 || !m.table.alike(by&^doubtful-1, target) {
					beside = append(beside, edge{i, target})
				}
			}
		}
		for _, target := range m.segments[i/segmentUnits].of(i) {
			mark(target)
		}
		if o := m.table.ownerOf(i); o != noUnit {
			mark(o)
		}
		if m.table.shape(i).kind <= guardUnit {
			for _, part := range m.table.parts[i] {
				mark(part)
			}
		}
	}
	return next, beside
}
