// SPDX-License-Identifier: Apache-2.0

package profiler

import (
	"context"
	"errors"

	"leakprof/profiler/bird/pagecache"
	"leakprof/profiler/bird/tree"
	"leakprof/profiler/live"
	"leakprof/profiler/snapshot"
)

// sources are what is read of BIRD beside the live set. They are found at the
// first look: a BIRD that has not begun yet has neither.
type sources struct {
	tree      *tree.Reader
	freePages *pagecache.Cache
	freeErr   error
}

// Look takes a quiet snapshot of the live set, BIRD's resource tree and its
// lists of free pages. Of a program that is no BIRD, or has ended, there is the
// live set only; of a BIRD whose tree cannot be found Why says so. The first
// that is quiet takes in what was left when attaching: see Before.
// Without probes the live set is what a walk.Walker finds.
func (p *Profiler) Look(ctx context.Context, o snapshot.Options) (*snapshot.Snapshot, error) {
	src := snapshot.Source{Counters: p.Counters, Live: p.Snapshot}
	if p.BIRD == nil || !p.Process.Alive() {
		return snapshot.Take(ctx, src, o)
	}
	p.looking.Lock()
	defer p.looking.Unlock()
	noTree := p.findSources()
	if p.sources.tree != nil {
		src.Tree = p.sources.tree
	}
	if p.sources.freePages != nil {
		src.FreePages = p.sources.freePages
	}
	s, err := snapshot.Take(ctx, src, o)
	if err == nil && p.Walks() {
		p.walker.Refine(s)
	}
	if err == nil && s.Quiet && s.Tree != nil && errors.Is(p.Before.Unknown, errNeverStill) {
		if err := p.adoptAll(s.Tree); err != nil {
			return nil, err
		}
		s, err = snapshot.Take(ctx, src, o)
	}
	if err == nil && noTree != nil {
		s.Quiet, s.Why = false, noTree.Error()
	}
	if err == nil && s.Quiet && s.Tree != nil && p.Probes() {
		err = p.forgetLinpoolObjects(s)
	}
	return s, err
}

// forgetLinpoolObjects drops the records of objects on pages that no linpool
// has any more. BIRD 3 takes a new page for nearly every temporary linpool, so
// they would fill the map.
func (p *Profiler) forgetLinpoolObjects(s *snapshot.Snapshot) error {
	var gone []live.LinpoolObject
	for _, o := range s.Live.LinpoolObjects {
		if _, ok := s.Tree.LinpoolLive(o.Address); !ok {
			gone = append(gone, o)
		}
	}
	return live.ForgetLinpoolObjects(p.programs, gone)
}

// TreeReader reads BIRD's resource tree, for whoever looks between two looks;
// nil before the first, and where there is no tree.
func (p *Profiler) TreeReader() *tree.Reader { return p.sources.tree }

func (p *Profiler) findSources() error {
	s := &p.sources
	if s.tree == nil {
		reader, err := tree.NewReader(p.Process, p.BIRD, tree.Options{})
		if err != nil {
			return err
		}
		s.tree = reader
	}
	if s.freePages == nil && s.freeErr == nil {
		s.freePages, s.freeErr = pagecache.Find(p.Process, p.BIRD, p.Modules()[0])
	}
	return nil
}

// FreePagesUnknown says why BIRD's own lists of free pages cannot be read, nil
// if they can.
func (p *Profiler) FreePagesUnknown() error {
	p.looking.Lock()
	defer p.looking.Unlock()
	return p.sources.freeErr
}
