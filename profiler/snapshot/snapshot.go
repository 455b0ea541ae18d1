// SPDX-License-Identifier: Apache-2.0

// Package snapshot takes quiet snapshots: the live set, BIRD's resource tree
// and its lists of free pages, of one moment. It serves everything that
// compares them or follows pointers.
//
// BIRD is not stopped for it. A snapshot is quiet if the programs counted no
// event from before the first walk through the tree to behind the last, and
// both walks found the same. Where BIRD never rests, it may be stopped for a
// bounded time instead. Where neither is to be had, the snapshot says so, and
// why: nothing is guessed.
package snapshot

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"leakprof/bpf"
	"leakprof/profiler/bird/pagecache"
	"leakprof/profiler/bird/tree"
	"leakprof/profiler/live"
	"leakprof/profiler/target"
)

// Tree reads the resource tree: *tree.Reader.
type Tree interface {
	Walk() (*tree.Tree, error)
	WhileStopped(limit time.Duration, f func(end time.Time) error) (lasted time.Duration, err error)
}

// FreePages reads BIRD's lists of free pages: *pagecache.Cache.
type FreePages interface {
	Read() (*pagecache.Pages, error)
}

// Source is what a snapshot is taken of.
type Source struct {
	// Counters reads the programs' counters, all 0 where there are none, and Live
	// the live set.
	Counters func() (bpf.Counters, error)
	Live     func() (*live.Snapshot, error)
	// Tree is nil where the process is no BIRD.
	Tree Tree
	// FreePages is nil where the lists were not found.
	FreePages FreePages
}

// Options say how long to try.
type Options struct {
	// Attempts is how often to try at most; 0 is 20.
	Attempts int
	// Timeout is for how long to begin another attempt; 0 is 5 s.
	Timeout time.Duration
	// Freeze stops BIRD for at most this time, once, if the attempts beside it
	// were in vain; 0 never does.
	Freeze time.Duration
}

// Snapshot is BIRD's memory as the programs and as BIRD itself have it.
type Snapshot struct {
	// Live is the live set, without the pages of MissedReturns.
	Live *live.Snapshot
	// Tree is nil if no walk came to its end. It is Consistent if it was the same
	// before and after the live set was read.
	Tree *tree.Tree
	// FreePages is nil if the lists were not read; FreePagesErr says why.
	FreePages    *pagecache.Pages
	FreePagesErr error

	// Quiet says that Live, Tree and FreePages are of one moment, at which
	// nothing was on its way from one to the other as far as can be seen. Why
	// says what was in the way of it, "" if nothing.
	Quiet bool
	Why   string
	// Attempts is how many were needed.
	Attempts int
	// Frozen is for how long BIRD was stopped. Each of its threads may have been
	// stopped between taking memory and entering it in the tree.
	Frozen time.Duration
	// Duration is that of all attempts.
	Duration time.Duration
	// MissedReturns are pages that the live set had, and that are free by BIRD's
	// own lists: their return was not seen. Only a quiet snapshot can tell.
	MissedReturns []uint64

	gone bool // the process has ended
}

const (
	defaultAttempts = 20
	defaultTimeout  = 5 * time.Second
	// A BIRD that is busy with one thing is often done with it soon.
	firstPause, longestPause = 2 * time.Millisecond, 200 * time.Millisecond
)

// Take takes a snapshot. It is an error if the live set cannot be read, or if
// ctx ends first; whatever else is in the way makes a snapshot that is not
// Quiet.
func Take(ctx context.Context, src Source, o Options) (*Snapshot, error) {
	start := time.Now()
	o.Attempts, o.Timeout = cmp.Or(o.Attempts, defaultAttempts), cmp.Or(o.Timeout, defaultTimeout)
	var s *Snapshot
	pause := firstPause
	for attempts := 1; ; attempts++ {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("take snapshot: %w", context.Cause(ctx))
		}
		last, err := src.attempt(s)
		if err != nil {
			return nil, fmt.Errorf("take snapshot: %w", err)
		}
		s = last
		s.Attempts = attempts
		if s.Quiet || s.gone || attempts == o.Attempts || time.Since(start)+pause > o.Timeout {
			break
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
		pause = min(2*pause, longestPause)
	}
	if !s.Quiet && !s.gone && o.Freeze > 0 && s.Tree != nil {
		f, err := src.frozen(o.Freeze)
		switch {
		case err != nil:
			s.Why += "; " + err.Error()
		default:
			f.Attempts = s.Attempts + 1
			s = f
		}
	}
	s.settleReturns()
	s.Duration = time.Since(start)
	return s, nil
}

// attempt takes one snapshot beside BIRD. The tree is taken from the one before
// if it cannot be read now.
func (src *Source) attempt(before *Snapshot) (*Snapshot, error) {
	first, err := src.Counters()
	if err != nil {
		return nil, err
	}
	s := &Snapshot{}
	t1, err1 := src.walk()
	if s.Live, err = src.Live(); err != nil {
		return nil, err
	}
	s.readFreePages(src)
	t2, err2 := src.walk()
	last, err := src.Counters()
	if err != nil {
		return nil, err
	}
	s.Tree = cmp.Or(t2, t1)
	if s.Tree == nil && before != nil {
		s.Tree = before.Tree
	}
	switch moved := events(last) - events(first); {
	case err2 != nil:
		s.Why, s.gone = err2.Error(), errors.Is(err2, target.ErrGone)
	case err1 != nil:
		s.Why = err1.Error()
	case moved != 0:
		s.Why = fmt.Sprintf("%d blocks and pages came or went while BIRD was read", moved)
	case s.Live.Torn != "":
		s.Why = s.Live.Torn
	case t1 != nil && t1.Fingerprint != t2.Fingerprint:
		s.Why = "BIRD changed its resources while they were read"
	case s.FreePagesErr != nil && errors.Is(s.FreePagesErr, pagecache.ErrBusy):
		s.Why = s.FreePagesErr.Error()
	default:
		if s.Quiet = true; t2 != nil {
			t2.Consistent = true
		}
	}
	return s, nil
}

func (src *Source) walk() (*tree.Tree, error) {
	if src.Tree == nil {
		return nil, nil
	}
	return src.Tree.Walk()
}

// events counts what came into the live set and went out of it: two readings
// that are equal have nothing between them.
func events(c bpf.Counters) uint64 { return c[bpf.AllocatedObjects] + c[bpf.FreedObjects] }

func (s *Snapshot) readFreePages(src *Source) {
	if src.FreePages == nil {
		s.FreePagesErr = errors.New("BIRD's lists of free pages were not found")
		return
	}
	s.FreePages, s.FreePagesErr = src.FreePages.Read()
}

// frozen takes one while BIRD is stopped, for at most limit. What reads the
// kernel's maps cannot be interrupted: so it runs beside, and BIRD is let go in
// time even if it is not done.
func (src *Source) frozen(limit time.Duration) (*Snapshot, error) {
	type reading struct {
		s   *Snapshot
		err error
	}
	var s *Snapshot
	var beside sync.WaitGroup
	defer beside.Wait()
	lasted, err := src.Tree.WhileStopped(limit, func(end time.Time) error {
		done := make(chan reading, 1)
		beside.Go(func() {
			s := &Snapshot{}
			var err error
			if s.Live, err = src.Live(); err == nil {
				s.readFreePages(src)
			}
			done <- reading{s, err}
		})
		t, err := src.Tree.Walk()
		if err != nil {
			return err
		}
		select {
		case r := <-done:
			if r.err != nil {
				return r.err
			}
			s = r.s
			s.Tree = t
		case <-time.After(time.Until(end)):
			return fmt.Errorf("read the live set while BIRD is stopped: it takes longer than the %v allowed", limit)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	s.Quiet, s.Frozen = true, lasted
	if s.Live.Moved != 0 {
		s.Quiet, s.Why = false, fmt.Sprintf("%d blocks and pages came or went while BIRD was stopped", s.Live.Moved)
	}
	return s, nil
}

// settleReturns takes out of the live set what BIRD has on its lists of free
// pages.
func (s *Snapshot) settleReturns() {
	if !s.Quiet || s.FreePages == nil || s.Tree == nil {
		return
	}
	free := make(map[uint64]bool)
	for _, list := range [][]uint64{s.FreePages.Kept, s.FreePages.Cold, s.FreePages.Index} {
		for _, p := range list {
			free[p] = true
		}
	}
	isMissed := func(b live.Block) bool {
		if b.Function != bpf.FunctionAllocPage || !free[b.Address] {
			return false
		}
		// What is in the tree is not free, whatever a list says.
		_, held := s.Tree.Page(b.Address)
		return !held
	}
	for _, b := range s.Live.Blocks {
		if isMissed(b) {
			s.MissedReturns = append(s.MissedReturns, b.Address)
		}
	}
	if len(s.MissedReturns) > 0 {
		corrected := *s.Live
		corrected.Blocks = slices.DeleteFunc(slices.Clone(s.Live.Blocks), isMissed)
		s.Live = &corrected
	}
}
