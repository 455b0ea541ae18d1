// SPDX-License-Identifier: Apache-2.0

package reconciliation

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"leakprof/collector/birdc"
	"leakprof/collector/lab"
	"leakprof/collector/lab/labtest"
	"leakprof/profiler"
	"leakprof/profiler/bird/pagecache"
	"leakprof/profiler/bird/tree"
	"leakprof/profiler/snapshot"
)

type running struct {
	*lab.Bird
	control *birdc.Conn
	prof    *profiler.Profiler
	source  snapshot.Source
	reader  *tree.Reader
}

// start starts a BIRD with probes in place before its first instruction.
func start(t *testing.T, c lab.Config) *running {
	t.Helper()
	c.PausedAtEntry = true
	r := launch(t, c)
	r.attach(t, true)
	if err := r.Resume(); err != nil {
		t.Fatal(err)
	}
	if err := r.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.connect(t)
	return r
}

// launch starts a BIRD.
func launch(t *testing.T, c lab.Config) *running {
	t.Helper()
	return &running{Bird: labtest.Start(t, c)}
}

func (r *running) attach(t *testing.T, fromStart bool) {
	t.Helper()
	var err error
	if r.prof, err = profiler.Attach(t.Context(), profiler.Options{PID: r.PID(), FromStart: fromStart}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.prof.Close() })
}

// connect opens a control connection, and finds what a snapshot is taken of.
func (r *running) connect(t *testing.T) {
	t.Helper()
	var err error
	r.control = labtest.Dial(t, r.Bird)
	reader, err := tree.NewReader(r.prof.Process, r.prof.BIRD, tree.Options{})
	if err != nil {
		t.Fatal(err)
	}
	cache, err := pagecache.Find(r.prof.Process, r.prof.BIRD, r.prof.Modules()[0])
	if err != nil {
		t.Fatal(err)
	}
	r.reader = reader
	r.source = snapshot.Source{Counters: r.prof.Counters, Live: r.prof.Snapshot, Tree: reader, FreePages: cache}
}

// patience bounds the wait for BIRD on a loaded machine.
const patience = 60 * time.Second

// settled returns what is to be compared when BIRD rests: what it says of its
// memory is the same before and after.
func (r *running) settled(t *testing.T) Input {
	t.Helper()
	last := "it never answered twice the same"
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		before, err := r.control.ShowMemory(t.Context())
		if err != nil {
			t.Fatal(err, r.Err())
		}
		s, err := snapshot.Take(t.Context(), r.source, snapshot.Options{Timeout: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		after, err := r.control.ShowMemory(t.Context())
		if err != nil {
			t.Fatal(err, r.Err())
		}
		if !s.Quiet {
			last = s.Why
			continue
		}
		if before.Raw != after.Raw {
			continue
		}
		return r.input(s, before, after)
	}
	t.Fatalf("BIRD does not come to rest: %s", last)
	return Input{}
}

func (r *running) input(s *snapshot.Snapshot, memory ...*birdc.Memory) Input {
	return Input{
		Snapshot: s, Memory: memory,
		Process: r.prof.Process, BIRD: r.prof.BIRD, Tree: r.reader, Modules: r.prof.Modules(),
	}
}

func account(t *testing.T, in Input) *Account {
	t.Helper()
	a, err := New(in)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// check fails the test unless the live set is what BIRD has, to the byte.
func (r *running) check(t *testing.T, phase string) *Account {
	t.Helper()
	a := account(t, r.settled(t))
	var text strings.Builder
	if err := a.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	t.Logf("%s\n%s", phase, &text)
	if !a.Tree.Equal || len(a.Lines) < 6 {
		t.Errorf("%s: live set and tree differ", phase)
	}
	for _, l := range a.Lines {
		if l.WithinRounding == nil || !*l.WithinRounding {
			t.Errorf("%s: %s differs by %d bytes", phase, l.Name, l.Difference)
		}
	}
	for _, reason := range a.Tree.Reasons {
		if !reason.Known {
			t.Errorf("%s: not explained: %+v", phase, reason)
		}
	}
	if a.MissedReturns > 0 {
		t.Errorf("%s: %d returns of pages were missed", phase, a.MissedReturns)
	}
	if a.Control.Objects == 0 || a.Control.Effective == 0 {
		t.Errorf("%s: control connection %+v", phase, a.Control)
	}
	return a
}

func threadsOf(t *testing.T, pid int) []string {
	t.Helper()
	all, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/[0-9]*", pid))
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func (a *Account) of(reason string) (s Sum) {
	for _, r := range a.Tree.Reasons {
		if r.Reason == reason {
			s = r.Sum
		}
	}
	return s
}

// sendsPages says whether BMP keeps what it sends in pages.
func (r *running) sendsPages() bool {
	for _, c := range r.prof.BIRD.Classes {
		if c.Name == "BMP TX buffers" {
			return true
		}
	}
	return false
}
