// SPDX-License-Identifier: Apache-2.0

package tree

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	"leakprof/profiler/bird"
	"leakprof/profiler/target"
)

// Reader reads the tree of one process again and again. It is for one goroutine
// at a time, and keeps up to 32 MiB of what it has read.
type Reader struct {
	bird    *bird.Bird
	process *target.Process
	pid     int
	root    uint64
	options Options
	// variable says whether an address is in the program's data.
	variable func(addr uint64) bool
	memory

	walks, torn int
	lastTorn    error
	resources   int           // that the last walk came to
	fastest     time.Duration // of the walks that were not torn
	bfd         bool          // runs, by the last of them
	layout      Layout        // by the last of them
	stopped     bool          // the process stands still until the deadline
}

// NewReader finds the tree of the process p, in which b was found.
func NewReader(p *target.Process, b *bird.Bird, o Options) (*Reader, error) {
	o.Walks = cmp.Or(o.Walks, 6)
	o.Timeout = cmp.Or(o.Timeout, 10*time.Second)
	root, err := b.Root(p)
	if err != nil {
		return nil, fmt.Errorf("read resource tree: %w", err)
	}
	r := &Reader{bird: b, process: p, pid: p.PID, root: root, options: o, variable: b.Variable}
	r.source = p
	return r, nil
}

// Read reads the tree of the process p, in which b was found, until two walks
// agree, or while it is stopped.
func Read(p *target.Process, b *bird.Bird, o Options) (*Tree, error) {
	start := time.Now()
	r, err := NewReader(p, b, o)
	if err != nil {
		return nil, err
	}
	r.deadline = start.Add(r.options.Timeout)
	var t *Tree
	if o.Freeze > 0 {
		t, err = r.frozen(r.options)
	} else {
		t, err = r.quiet(r.options.Walks)
	}
	if err != nil {
		return nil, r.failed(err)
	}
	t.Duration = time.Since(start)
	return t, nil
}

// Walk walks through the tree once: it is not Consistent, unless the process
// stands still (WhileStopped). What tells is a second walk with the same
// Fingerprint. An error that wraps ErrTorn says that BIRD changed it meanwhile.
func (r *Reader) Walk() (*Tree, error) {
	start := time.Now()
	reads := r.reads
	if !r.stopped {
		r.deadline = start.Add(r.options.Timeout)
	}
	t, err := r.walk()
	if err != nil {
		return nil, r.failed(err)
	}
	t.Walks, t.Reads, t.Duration, t.Consistent = 1, r.reads-reads, time.Since(start), r.stopped
	return t, nil
}

// WalkPool walks once through another tree than that of BIRD's root pool: BIRD 2
// has one for each thread of BFD's, whose pool is in no list. A walk must have
// gone before.
func (r *Reader) WalkPool(pool uint64) (*Tree, error) {
	start := time.Now()
	if !r.stopped {
		r.deadline = start.Add(r.options.Timeout)
	}
	r.forget()
	w := r.walker(r.layout)
	if r.layout.MblockHeader == 0 {
		return nil, errors.New("read resource tree: the walk through the root pool is missing")
	}
	if err := w.run(pool); err != nil {
		return nil, r.failed(err)
	}
	w.t.Walks, w.t.Duration = 1, time.Since(start)
	return w.t, nil
}

func (r *Reader) failed(err error) error {
	if !r.process.Alive() {
		err = target.ErrGone
	}
	return fmt.Errorf("read resource tree: %w", err)
}

// quiet walks until two walks in a row find the same, at most walks times. The
// last tree is returned if none do.
func (r *Reader) quiet(walks int) (*Tree, error) {
	var last *Tree
	for range walks {
		t, err := r.walk()
		switch {
		case errors.Is(err, ErrTorn):
			r.lastTorn = err
			continue
		case err != nil:
			return nil, err
		}
		t.Consistent = last != nil && t.Fingerprint == last.Fingerprint
		if last = t; t.Consistent {
			break
		}
	}
	if last == nil {
		return nil, r.lastTorn
	}
	r.account(last)
	return last, nil
}

// account notes what the reading took.
func (r *Reader) account(t *Tree) {
	t.Walks, t.Torn, t.Reads = r.walks, r.torn, r.reads
}
