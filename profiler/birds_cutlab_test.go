// SPDX-License-Identifier: Apache-2.0

package profiler_test

import (
	"cmp"
	"context"
	"errors"
	"math"
	"net/netip"
	"slices"
	"testing"
	"time"

	"leakprof/collector/birdc"
	"leakprof/collector/bmp"
	"leakprof/collector/lab"
	"leakprof/profiler"
	"leakprof/profiler/experiment"
	"leakprof/profiler/internal/cut"
	"leakprof/profiler/plan"
	"leakprof/profiler/reachability"
	"leakprof/profiler/report"
	quiet "leakprof/profiler/snapshot"
)

const (
	cutPeers  = 2
	cutRoutes = 1500 // per peer
	cutSets   = 150  // of path attributes, per peer
	cutCycles = 3
	// cutThreshold is below what the growth of a healthy BIRD stays, and above
	// which that of a cut one comes.
	cutThreshold = 16 << 10
	cutSettle    = 300 * time.Millisecond
)

// cutRun is one experiment with a BIRD, cut or not.
type cutRun struct {
	result *report.Result
	end    *quiet.Snapshot
	// perCycle is how often each of sites was passed in each cycle after the first,
	// at least; 0 where a probe is in the way of a cut.
	perCycle []uint64
	reach    *reachability.Result
	// Of the cut: how often it was passed since the baseline, and what it withheld
	// last.
	count    uint64
	withheld []uint64
}

// counting drives speakers, and reads the counter, if any, before each cycle.
type counting struct {
	*lab.Speakers
	counter *cut.Counter
	counts  [][]uint64
}

func (c *counting) Up(ctx context.Context) error {
	if c.counter != nil {
		n, err := c.counter.Read()
		if err != nil {
			return err
		}
		c.counts = append(c.counts, n)
	}
	return c.Speakers.Up(ctx)
}

// cutLab is a BIRD that is followed from its start.
type cutLab struct {
	*lab.Bird
	prof     *profiler.Profiler
	cut      *cut.Cut     // nil: it is as it was built
	station  *bmp.Station // nil: no BMP
	control  *birdc.Conn
	speakers *lab.Speakers
}

// cutConfig is what comes to a BIRD.
type cutConfig struct {
	peers int // that BIRD knows
	// driven are how many of them, the first ones, the experiment brings up and
	// down; flood is what they announce.
	driven     int
	flood      lab.Flood
	withoutBMP bool
	mode       plan.Mode
}

// startCut starts a BIRD and makes the cut in it unless that is nil. An error
// says that BIRD does not live; end is to be called in any case.
func startCut(t *testing.T, binary labBinary, site *cut.Site, c cutConfig) (l *cutLab, end func(), err error) {
	t.Helper()
	ctx := t.Context()
	l = &cutLab{}
	var ends []func()
	end = func() {
		for _, f := range slices.Backward(ends) {
			f()
		}
	}
	config := lab.Config{Binary: binary.Binary, Peers: c.peers, PausedAtEntry: true}
	if !c.withoutBMP {
		// Little room before the router has to queue.
		if l.station, err = bmp.Listen(ctx, bmp.Options{Addr: netip.MustParseAddrPort("127.0.0.1:0"), ReceiveBuffer: 4096}); err != nil {
			t.Fatal(err)
		}
		ends = append(ends, func() { l.station.Close() })
		go func() {
			for range l.station.Events() {
			}
		}()
		config.Station = l.station.Addr()
	}
	if l.Bird, err = lab.Start(ctx, config); err != nil {
		t.Fatal(err)
	}
	ends = append(ends, func() { l.Stop(context.WithoutCancel(ctx)) })
	if l.prof, err = profiler.Attach(ctx, profiler.Options{PID: l.PID(), FromStart: true, Plan: plan.Options{Mode: c.mode}}); err != nil {
		t.Fatal(err)
	}
	ends = append(ends, func() { l.prof.Close() })
	if site != nil {
		if l.cut, err = cut.Apply(l.prof.Process, l.prof.Modules()[0], *site, l.prof.Plan.Sites); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Resume(); err != nil {
		t.Fatal(err)
	}
	if err := l.Ready(ctx); err != nil {
		return l, end, err
	}
	if l.control, err = birdc.Dial(ctx, l.Control()); err != nil {
		return l, end, err
	}
	ends = append(ends, func() { l.control.Close() })
	if l.speakers, err = lab.NewSpeakers(l.BGPAddr(), c.driven, c.flood); err != nil {
		t.Fatal(err)
	}
	if c.mode.Walks() {
		return l, end, nil // in mode auto it would follow what the first sessions leave
	}
	// What a BIRD keeps of its first sessions for the next ones is no growth of
	// each: it is to be there when the experiment begins.
	_, err = l.experiment(ctx, experiment.Config{Driver: l.speakers, Cycles: 1})
	return l, end, err
}

// experiment runs one; an error says that BIRD has ended, or takes no sessions any
// more, as one that keeps the sockets of the last ones may.
func (l *cutLab) experiment(ctx context.Context, c experiment.Config) (*report.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(1+c.Cycles/4)*birdPatience)
	defer cancel()
	c.Process, c.Profiler, c.Station, c.Control = l.prof.Process, l.prof, l.station, l.control
	c.Session.Settle, c.Session.Limit = cmp.Or(c.Session.Settle, cutSettle), time.Minute
	c.Threshold = cmp.Or(c.Threshold, cutThreshold)
	r, err := experiment.Run(ctx, c)
	if err == nil && r.Verdict.Kind == report.Incomplete {
		err = errors.New(r.Verdict.Sentence)
	}
	return r, errors.Join(err, l.Err(), ctx.Err())
}

// runCut runs an experiment with a BIRD, in which the cut is made unless it is
// nil. Calls of sites are counted if there are any.
func runCut(t *testing.T, binary labBinary, site *cut.Site, sites []cut.Site) (*cutRun, error) {
	t.Helper()
	ctx := t.Context()
	l, end, err := startCut(t, binary, site, cutConfig{peers: cutPeers, driven: cutPeers, flood: lab.Flood{Routes: cutRoutes, AttributeSets: cutSets}})
	defer end()
	if err != nil {
		return nil, err
	}
	driver := &counting{Speakers: l.speakers}
	if len(sites) > 0 {
		if driver.counter, err = cut.Count(l.PID(), l.prof.Modules()[0], sites); err != nil {
			t.Fatal(err)
		}
		defer driver.counter.Close()
	}
	var before uint64
	if l.cut != nil {
		if before, _, err = l.cut.Withheld(); err != nil {
			t.Fatal(err)
		}
	}
	run := &cutRun{}
	if run.result, err = l.experiment(ctx, experiment.Config{Driver: driver, Cycles: cutCycles}); err != nil {
		return nil, err
	}
	if run.end, err = l.prof.Look(ctx, quiet.Options{}); err != nil {
		return nil, err
	}
	if run.reach, err = reachability.Classify(l.prof.Process, l.prof.BIRD, run.end, reachability.Options{}); err != nil {
		return nil, err
	}
	if l.cut != nil {
		if err := l.cut.Holds(); err != nil {
			t.Fatal(err)
		}
		if run.count, run.withheld, err = l.cut.Withheld(); err != nil {
			t.Fatal(err)
		}
		run.count -= before
	}
	if driver.counter != nil {
		if run.perCycle, err = driver.perCycle(); err != nil {
			t.Fatal(err)
		}
		for i, s := range sites {
			if s.Probed(l.prof.Modules()[0], l.prof.Plan.Sites) != nil {
				run.perCycle[i] = 0
			}
		}
	}
	return run, nil
}

// perCycle returns how often each site was passed in each cycle after the first,
// at least.
func (c *counting) perCycle() ([]uint64, error) {
	last, err := c.counter.Read()
	if err != nil {
		return nil, err
	}
	least := slices.Repeat([]uint64{math.MaxUint64}, len(last))
	for _, before := range slices.Backward(c.counts[1:]) {
		for i := range last {
			least[i] = min(least[i], last[i]-before[i])
		}
		last = before
	}
	return least, nil
}
