// SPDX-License-Identifier: Apache-2.0

package profiler_test

import (
	"testing"

	"leakprof/bpf"
	"leakprof/profiler"
	"leakprof/profiler/bird/tree"
	quiet "leakprof/profiler/snapshot"
)

// startRestless starts each BIRD and attaches to it while it does not stand
// still, as far as leakprof can tell: a single walk proves nothing.
func startRestless(t *testing.T, f func(t *testing.T, b *labBIRD)) {
	for _, binary := range birds(t) {
		t.Run(binary.name, func(t *testing.T) {
			t.Parallel()
			b := startBIRD(t, binary, birdTest{late: true, routes: 1})
			var err error
			if b.prof, err = profiler.Attach(t.Context(), profiler.Options{PID: b.PID()}.WithWalks(1)); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { b.prof.Close() })
			if b.prof.Before.Unknown == nil || b.prof.Before.Blocks+b.prof.Before.Pages != 0 {
				t.Fatalf("taken in while BIRD was not at rest: %+v", b.prof.Before)
			}
			f(t, b)
		})
	}
}

// TestAdoptAtLook: what BIRD held when leakprof came, and did not show then, the
// first quiet look takes in. It misses nothing, and nothing that was freed
// meanwhile is in it.
func TestAdoptAtLook(t *testing.T) {
	startRestless(t, func(t *testing.T, b *labBIRD) {
		reconfigured.do(t, b) // blocks from before are freed, others come
		s, err := b.prof.Look(t.Context(), quiet.Options{Timeout: birdPatience, Attempts: 1000})
		if err != nil || !s.Quiet {
			t.Fatalf("look: %v, quiet %v: %s", err, s != nil && s.Quiet, s.Why)
		}
		if now := b.prof.Before; now.Unknown != nil || now.Blocks == 0 || now.Pages == 0 {
			t.Errorf("taken in: %+v", now)
		}
		b.compareWithTree(t, s)
	})
}

// TestAdoptBoth: where BIRD never rests, what is in two trees is taken in, but
// for what has been freed since.
func TestAdoptBoth(t *testing.T) {
	startRestless(t, func(t *testing.T, b *labBIRD) {
		before := b.tree(t)
		reconfigured.do(t, b)
		last := b.tree(t)
		back.do(t, b) // frees the configuration of the start
		if err := b.prof.AdoptBoth(before, last); err != nil {
			t.Fatal(err)
		}
		if now := b.prof.Before; now.Unknown == nil || now.Blocks == 0 || now.Pages == 0 {
			t.Errorf("taken in: %+v", now)
		}
		// The look that comes to know the rest finds none.
		taken := b.prof.Before
		s, err := b.prof.Look(t.Context(), quiet.Options{Timeout: birdPatience, Attempts: 1000})
		if err != nil || !s.Quiet {
			t.Fatalf("look: %v, quiet %v: %s", err, s != nil && s.Quiet, s.Why)
		}
		if now := b.prof.Before; now.Blocks != taken.Blocks || now.Pages != taken.Pages {
			t.Errorf("the look has taken in %d blocks and %d pages more", now.Blocks-taken.Blocks, now.Pages-taken.Pages)
		}
		b.compareWithTree(t, s)
	})
}

// tree reads BIRD's tree when it stands still.
func (b *labBIRD) tree(t *testing.T) *tree.Tree {
	t.Helper()
	read, err := tree.Read(b.prof.Process, b.prof.BIRD, tree.Options{Walks: 1000, Timeout: birdPatience})
	if err != nil || !read.Consistent {
		t.Fatalf("read tree: %v", err)
	}
	return read
}

// compareWithTree expects everything that is in the tree in the live set, and
// nothing from before leakprof in it that is not.
func (b *labBIRD) compareWithTree(t *testing.T, s *quiet.Snapshot) {
	t.Helper()
	if n := len(s.MissedReturns); n != 0 {
		t.Errorf("%d pages were live that BIRD has free", n)
	}
	inTree := make(map[uint64]string)
	for block := range s.Tree.Blocks() {
		inTree[block.Address] = "block of " + block.Class
	}
	for page := range s.Tree.Pages() {
		inTree[page.Address] = "page of " + page.Class
	}
	for _, l := range s.Live.Blocks {
		if l.Stack == bpf.StackBefore && inTree[l.Address] == "" {
			t.Errorf("%#x, %d bytes, is live and in no tree", l.Address, l.Size)
		}
		delete(inTree, l.Address)
	}
	for address, what := range inTree {
		t.Errorf("%s at %#x is not in the live set", what, address)
	}
}
