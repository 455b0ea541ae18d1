// SPDX-License-Identifier: Apache-2.0

package snapshot

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"leakprof/bpf"
	"leakprof/profiler/bird/pagecache"
	"leakprof/profiler/bird/tree"
	"leakprof/profiler/live"
	"leakprof/profiler/target"
)

// script is a process whose readings are written down: each reading takes the
// next, and the last one goes on.
type script struct {
	events  []uint64
	trees   []any // fingerprints, or errors
	live    live.Snapshot
	liveErr error
	pages   *pagecache.Pages
	busy    []error // of the free pages
	slow    time.Duration
	refused error

	stopped bool
}

func take[T any](list *[]T) (v T) {
	if len(*list) > 0 {
		v = (*list)[0]
	}
	if len(*list) > 1 {
		*list = (*list)[1:]
	}
	return v
}

func (s *script) Counters() (c bpf.Counters, err error) {
	c[bpf.AllocatedObjects], c[bpf.FreedObjects] = take(&s.events), 7
	return c, nil
}

func (s *script) Live() (*live.Snapshot, error) {
	if s.stopped {
		time.Sleep(s.slow)
	}
	l := s.live
	l.Blocks = slices.Clone(l.Blocks)
	return &l, s.liveErr
}

func (s *script) Walk() (*tree.Tree, error) {
	switch v := take(&s.trees).(type) {
	case int:
		return &tree.Tree{Fingerprint: uint64(v), Consistent: s.stopped}, nil
	case error:
		return nil, v
	}
	return &tree.Tree{}, nil
}

func (s *script) WhileStopped(limit time.Duration, f func(time.Time) error) (time.Duration, error) {
	if s.refused != nil {
		return 0, s.refused
	}
	start := time.Now()
	s.stopped = true
	return time.Since(start) + 1, f(start.Add(limit))
}

func (s *script) Read() (*pagecache.Pages, error) {
	if err := take(&s.busy); err != nil {
		return nil, err
	}
	return s.pages, nil
}

func (s *script) source() Source {
	return Source{Counters: s.Counters, Live: s.Live, Tree: s, FreePages: s}
}

func TestTake(t *testing.T) {
	torn := fmt.Errorf("read: %w", tree.ErrTorn)
	for _, c := range []struct {
		name     string
		s        script
		o        Options
		quiet    bool
		attempts int
		why      string
		tree     uint64 // fingerprint
		frozen   bool
	}{
		{"still", script{trees: []any{1}}, Options{}, true, 1, "", 1, false},
		{"an event in the first attempt", script{events: []uint64{1, 2}, trees: []any{1}}, Options{}, true, 2, "", 1, false},
		{"events all the time", script{events: seq(10), trees: []any{1}}, Options{Attempts: 3}, false, 3, "1 blocks and pages", 1, false},
		{"the tree changes once", script{trees: []any{1, 2}}, Options{}, true, 2, "", 2, false},
		{"the tree changes all the time", script{trees: []any{1, 2, 3, 4, 5, 6, 7}}, Options{Attempts: 3}, false, 3, "changed its resources", 6, false},
		{"torn at first", script{trees: []any{torn, 1}}, Options{}, true, 2, "", 1, false},
		{"torn at last", script{trees: []any{1, torn}}, Options{Attempts: 2}, false, 2, tree.ErrTorn.Error(), 1, false},
		{"never readable", script{trees: []any{torn}}, Options{Attempts: 2, Freeze: time.Second}, false, 2, tree.ErrTorn.Error(), 0, false},
		{"gone", script{trees: []any{1, target.ErrGone}}, Options{Freeze: time.Second}, false, 1, target.ErrGone.Error(), 1, false},
		{"free pages change", script{trees: []any{1}, busy: []error{pagecache.ErrBusy, nil}}, Options{}, true, 2, "", 1, false},
		{"free pages cannot be read", script{trees: []any{1}, busy: []error{errors.New("no way")}}, Options{}, true, 1, "", 1, false},
		{"stopped", script{events: seq(10), trees: []any{1}}, Options{Attempts: 2, Freeze: time.Second}, true, 3, "", 1, true},
		{"events while stopped", script{events: seq(10), trees: []any{1}, live: live.Snapshot{Moved: 2}}, Options{Attempts: 2, Freeze: time.Second}, false, 3, "while BIRD was stopped", 1, true},
		{"not to be stopped", script{events: seq(10), trees: []any{1}, refused: tree.ErrBFD}, Options{Attempts: 2, Freeze: time.Second}, false, 2, tree.ErrBFD.Error(), 1, false},
		{"torn while stopped", script{trees: []any{1, 2, torn}}, Options{Attempts: 1, Freeze: time.Second}, false, 1, tree.ErrTorn.Error(), 2, false},
		{"too slow to be stopped", script{events: seq(10), trees: []any{1}, slow: 300 * time.Millisecond}, Options{Attempts: 1, Freeze: 30 * time.Millisecond}, false, 1, "longer than the 30ms allowed", 1, false},
		{"no time", script{events: seq(10), trees: []any{1}}, Options{Timeout: time.Nanosecond}, false, 1, "came or went", 1, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := Take(t.Context(), c.s.source(), c.o)
			if err != nil {
				t.Fatal(err)
			}
			if s.Quiet != c.quiet || s.Attempts != c.attempts || !strings.Contains(s.Why, c.why) || (s.Why == "") != c.quiet || s.Live == nil || (s.Frozen > 0) != c.frozen {
				t.Errorf("quiet %v after %d attempts, frozen %v: %q, want %v, %d: %q", s.Quiet, s.Attempts, s.Frozen, s.Why, c.quiet, c.attempts, c.why)
			}
			if s.Tree == nil && c.tree != 0 || s.Tree != nil && (s.Tree.Fingerprint != c.tree || s.Tree.Consistent != (c.quiet || c.frozen)) {
				t.Errorf("tree %+v, want %d", s.Tree, c.tree)
			}
			if (s.FreePages == nil) != (s.FreePagesErr != nil) && c.s.pages != nil {
				t.Errorf("free pages %v, %v", s.FreePages, s.FreePagesErr)
			}
		})
	}
}

func seq(n uint64) (all []uint64) {
	for i := range n {
		all = append(all, i)
	}
	return all
}

// TestTakeFails gives up where nothing can be had.
func TestTakeFails(t *testing.T) {
	broken := errors.New("broken")
	s := script{liveErr: broken}
	if _, err := Take(t.Context(), s.source(), Options{}); !errors.Is(err, broken) {
		t.Errorf("error %v, want %v", err, broken)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(broken)
	s = script{}
	if _, err := Take(ctx, s.source(), Options{}); !errors.Is(err, broken) {
		t.Errorf("error %v, want %v", err, broken)
	}
}

// TestNoBIRD has neither a tree nor free pages.
func TestNoBIRD(t *testing.T) {
	s := script{events: []uint64{1, 2, 3, 3}}
	got, err := Take(t.Context(), Source{Counters: s.Counters, Live: s.Live}, Options{})
	if err != nil || !got.Quiet || got.Attempts != 2 || got.Tree != nil || got.FreePagesErr == nil {
		t.Errorf("%+v, %v", got, err)
	}
}

// TestMissedReturns takes pages out of the live set that BIRD has as free.
func TestMissedReturns(t *testing.T) {
	const page = bpf.FunctionAllocPage
	s := script{
		trees: []any{1},
		live: live.Snapshot{Blocks: []live.Block{
			{Address: 0x1000, Size: 4096, Function: page}, {Address: 0x2000, Size: 4096, Function: page},
			{Address: 0x3000, Size: 4096}, {Address: 0x4000, Size: 4096, Function: page}, {Address: 0x5000, Size: 4096, Function: page},
		}},
		pages: &pagecache.Pages{Kept: []uint64{0x2000, 0x3000}, Cold: []uint64{0x4000, 0x9000}, Index: []uint64{0x5000}},
	}
	got, err := Take(t.Context(), s.source(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if want := []uint64{0x2000, 0x4000, 0x5000}; !slices.Equal(got.MissedReturns, want) {
		t.Errorf("missed returns %x, want %x", got.MissedReturns, want)
	}
	if b := got.Live.Blocks; len(b) != 2 || b[0].Address != 0x1000 || b[1].Address != 0x3000 {
		t.Errorf("live %+v", b)
	}

	s.events = seq(100)
	if got, err = Take(t.Context(), s.source(), Options{Attempts: 1}); err != nil || len(got.MissedReturns) != 0 || len(got.Live.Blocks) != 5 {
		t.Errorf("not quiet: %d missed returns, %d live: %v", len(got.MissedReturns), len(got.Live.Blocks), err)
	}
}
