// SPDX-License-Identifier: Apache-2.0

package experiment

import (
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"leakprof/collector/session"
	"leakprof/profiler"
	"leakprof/profiler/attribution"
	"leakprof/profiler/report"
	"leakprof/profiler/target"
)

// intervals is a run with intervals, whose looks are made up.
type intervals struct {
	*run
	stacks stacksOf
	others uint64 // stacks that hold the same all the time
}

func newIntervals(t *testing.T, others uint64) *intervals {
	t.Helper()
	self, err := target.Open(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { self.Close() })
	i := &intervals{stacks: make(stacksOf), others: others, run: &run{Config: Config{
		Process: self, Threshold: 256 << 10, ThresholdObjects: 1, Profiler: new(profiler.Profiler), Session: session.Options{Interval: time.Hour},
	}}}
	i.phases = []report.Phase{{Name: string(session.Baseline), Heap: i.heap(0), Routes: 7}}
	return i
}

// heap is a look at which stack 1 holds bytes.
func (i *intervals) heap(bytes uint64) *attribution.Heap {
	h := make(held)
	for k := range i.others {
		h[k+2] = 1000
	}
	h[1] = bytes
	return i.stacks.heap(h, 0)
}

// pass lets an interval end.
func (i *intervals) pass(n int, bytes uint64) {
	i.phases = append(i.phases, report.Phase{
		Name: string(session.Interval), Cycle: n, Heap: i.heap(bytes), Books: new(report.Books), Routes: 7,
		BMP: map[string]uint64{"Route Monitoring": 1}, ShowMemory: make([]report.MemoryLine, 8),
	})
	i.forget(n)
}

func (i *intervals) judged() *report.Result {
	res := &report.Result{Phases: i.phases}
	i.judge(res)
	return res
}

func liveMemory() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// TestMemoryOfIntervals: a run of a thousand intervals needs no more memory than
// one of a few hundred, and its verdict is about all of them.
func TestMemoryOfIntervals(t *testing.T) {
	const (
		stacks      = 1000
		perInterval = 400 // bytes: a number in each list, not a look
	)
	i := newIntervals(t, stacks)
	var before int64
	for n := 1; n <= 1000; n++ {
		i.pass(n, uint64(n)<<20)
		if n%100 == 0 {
			i.judged() // as for an interim report
		}
		if n == 300 {
			before = liveMemory()
		}
	}
	if grown := liveMemory() - before; grown > 700*perInterval {
		t.Errorf("%d bytes more after 700 intervals, %d each", grown, grown/700)
	}
	res := i.judged()
	if want := "leak: +1024.0 kB in each of intervals 2 to 1000, 1000.0 MB now"; !strings.HasPrefix(res.Verdict.Sentence, want) {
		t.Errorf("verdict %q, want %q", res.Verdict.Sentence, want)
	}
	d := report.NewDocument(res)
	if len(d.Cycles) != 1000 {
		t.Errorf("%d cycles are reported, want all", len(d.Cycles))
	}
	if n := len(d.Phases); n < maxDetailed/2 || n > maxDetailed+3 {
		t.Errorf("%d phases are reported, want %d to %d", n, maxDetailed/2, maxDetailed+3)
	}
	var last int
	for n, p := range d.Phases {
		if p.LiveBytes == nil || *p.LiveBytes != stacks*1000+uint64(p.Cycle)<<20 || len(p.Live) == 0 {
			t.Errorf("interval %d: %v bytes live, in %d rows", p.Cycle, p.LiveBytes, len(p.Live))
		}
		if n > 0 && p.Cycle <= last || n == 1 && p.Cycle != 1 {
			t.Errorf("interval %d after %d", p.Cycle, last)
		}
		last = p.Cycle
	}
	if len(d.Reconciliation.Phases) > 2 {
		t.Errorf("the books of %d looks are kept", len(d.Reconciliation.Phases))
	}
	for _, p := range i.phases[1:998] {
		if p.Heap != nil && len(p.Heap.Samples) > 1 || p.Books != nil {
			t.Fatalf("of interval %d more than a summary is kept", p.Cycle)
		}
	}
	runtime.KeepAlive(i)
}

// TestForgottenVerdict: the verdict is the same whether looks are forgotten or
// not, also that a cycle long past did not settle.
func TestForgottenVerdict(t *testing.T) {
	const mb = 1 << 20
	for _, c := range []struct {
		name       string
		bytes      func(n int) uint64
		incomplete int // this one
		want       report.VerdictKind
		resumes    bool // and then all is gone
	}{
		{"leak", func(n int) uint64 { return uint64(n) * mb }, 0, report.Leak, false},
		{"grew once", func(n int) uint64 { return 5 * mb }, 0, report.Held, false},
		{"grew, but not always", func(n int) uint64 { return uint64(n-(n+50)/150) * mb }, 0, report.Held, false},
		{"nothing", func(int) uint64 { return 0 }, 0, report.Clean, false},
		{"gone once the station reads again", func(n int) uint64 { return uint64(n) * mb }, 0, report.Held, true},
		{"one did not settle", func(int) uint64 { return 0 }, 100, report.Incomplete, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			forgets, keeps := newIntervals(t, 10), newIntervals(t, 10)
			for n := 1; n <= 300; n++ {
				for _, i := range []*intervals{forgets, keeps} {
					i.phases = append(i.phases, report.Phase{Name: string(session.Settled), Cycle: n, Heap: i.heap(c.bytes(n)), Routes: 7})
					if n == c.incomplete {
						i.phases[n].Incomplete = "not at rest after 10m"
					}
				}
				forgets.forget(n)
				for _, i := range []*intervals{forgets, keeps} {
					if c.resumes {
						i.phases = append(i.phases, report.Phase{Name: string(session.Resumed), Cycle: n, Heap: i.heap(0), Routes: 7})
					}
				}
				forgets.forget(n)
			}
			got, want := forgets.judged(), keeps.judged()
			if got.Verdict != want.Verdict || got.Verdict.Kind != c.want {
				t.Errorf("%s: %s\nwant %s: %s", got.Verdict.Kind, got.Verdict.Sentence, want.Verdict.Kind, want.Verdict.Sentence)
			}
			for n := range want.Cycles {
				g, w := got.Cycles[n], want.Cycles[n]
				if g.Number != w.Number || g.Bytes != w.Bytes || g.Objects != w.Objects || len(g.Retained) != len(w.Retained) {
					t.Errorf("cycle %+v, want %+v", g, w)
				}
			}
		})
	}
}
