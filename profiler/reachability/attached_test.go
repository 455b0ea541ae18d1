// SPDX-License-Identifier: Apache-2.0

package reachability_test

import (
	"testing"
	"time"

	"leakprof/bpf"
	"leakprof/collector/lab"
	"leakprof/collector/lab/labtest"
	"leakprof/profiler"
	"leakprof/profiler/reachability"
	"leakprof/profiler/snapshot"
)

// TestAttached looks at BIRDs that are followed: of what is live, that which
// was lost after the probes were in place has a stack, and the rest is held.
func TestAttached(t *testing.T) {
	for name, binary := range labtest.Binaries(t) {
		t.Run(name, func(t *testing.T) {
			const peers = 3
			ctx := t.Context()
			b := labtest.Start(t, lab.Config{Binary: binary, Peers: peers, Station: labtest.Discard(t)})
			prof, err := profiler.Attach(ctx, profiler.Options{PID: b.PID()})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { prof.Close() })
			const cycles = 2
			for range cycles {
				s, err := lab.NewSpeakers(b.BGPAddr(), peers, lab.Flood{Routes: 5000, AttributeSets: 100})
				if err != nil {
					t.Fatal(err)
				}
				if err := s.Up(ctx); err != nil {
					t.Fatal(err)
				}
				if err := s.Down(ctx); err != nil {
					t.Fatal(err)
				}
			}
			s, r := look(t, prof)
			lost := 0
			for i := range r.Items(reachability.Lost) {
				lost++
				if c, by := r.Of(i.Address); c != reachability.Lost || by != i.Holder {
					t.Errorf("%+v is %v by %v", i, c, by)
				}
			}
			// These BIRDs really lose at most one thing a peer and cycle: see TestBirds.
			if lost > cycles*peers {
				t.Errorf("%d things are lost", lost)
			}
			before, held := 0, 0
			for _, l := range s.Live.Blocks {
				c, by := r.Of(l.Address)
				if c == reachability.Held {
					if held++; by.Stack == bpf.StackBefore {
						before++
					}
				}
				if c == reachability.NotLive || c == reachability.Lost && l.Stack == bpf.StackBefore {
					t.Errorf("%+v is %v", l, c)
				}
			}
			if held == 0 || before == 0 {
				t.Errorf("%d of %d blocks are held, %d by what was there before", held, len(s.Live.Blocks), before)
			}
			t.Logf("%d blocks and pages, %d lost, in %v; bytes %v", len(s.Live.Blocks), lost, r.Duration, r.Bytes)
		})
	}
}

// look takes a quiet snapshot and classifies what is in it.
func look(t *testing.T, prof *profiler.Profiler) (*snapshot.Snapshot, *reachability.Result) {
	t.Helper()
	why := ""
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); {
		s, err := prof.Look(t.Context(), snapshot.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if why = s.Why; !s.Quiet {
			continue
		}
		r, err := reachability.Classify(prof.Process, prof.BIRD, s, reachability.Options{})
		if err != nil {
			t.Fatal(err)
		}
		// Nothing has moved since the snapshot was taken, either.
		c, err := prof.Counters()
		if err != nil {
			t.Fatal(err)
		}
		moved := c[bpf.AllocatedObjects] + c[bpf.FreedObjects] - s.Live.Counters[bpf.AllocatedObjects] - s.Live.Counters[bpf.FreedObjects]
		if why = r.Doubt; why == "" && r.Running == 0 && moved == 0 {
			return s, r
		}
	}
	t.Fatalf("BIRD did not rest for a minute: %s", why)
	return nil, nil
}
