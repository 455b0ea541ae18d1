// SPDX-License-Identifier: Apache-2.0

// Package experiment runs one experiment from its first look to the verdict:
// it follows the session's phases, takes a snapshot at the end of each, and
// judges what stayed.
package experiment

import (
	"context"
	"errors"
	"io"
	"time"

	"leakprof/bpf"
	"leakprof/collector/birdc"
	"leakprof/collector/bmp"
	"leakprof/collector/session"
	"leakprof/profiler"
	"leakprof/profiler/attribution"
	"leakprof/profiler/guard"
	"leakprof/profiler/report"
	"leakprof/profiler/symbol"
	"leakprof/profiler/target"
)

// Config says what an experiment is made of. Only Process is always needed.
type Config struct {
	Process  *target.Process
	Profiler *profiler.Profiler // nil: no probes, no snapshots
	Station  *bmp.Station       // nil: no BMP
	Control  *birdc.Conn        // nil: no control socket
	// Treatment is how the station treats BIRD while the experiment runs, beside
	// the Behavior that it was started with.
	Treatment Treatment
	Driver    Driver // nil: follow what happens
	// Command makes a cycle of anything, instead of a driver: it returns when it
	// has done what may leave something behind. May be nil.
	Command func(context.Context) error
	// Marks are set by hand while the experiment runs; may be nil.
	Marks   <-chan Mark
	Session session.Options
	// Debug is where the process's separate debug file may be, for the names in
	// stacks.
	Debug symbol.Places
	// Guard watches what the probes cost, and takes them off in time; may be nil.
	Guard *guard.Watcher
	// Estimate is what they were expected to cost, nil if nobody counted.
	Estimate *guard.Estimate
	// Peer chooses the peers that the experiment is about, by address or by the
	// name of BIRD's protocol, with * and ? as in a shell; "" for all. It needs
	// a station. What other peers do is noted, and not waited for.
	Peer string
	// Cycles is after how many cycles the experiment ends; 0: when ctx does.
	Cycles int
	// Threshold is below what growth per cycle means nothing, in bytes.
	Threshold int64
	// ThresholdObjects is how many objects more a call stack must hold after
	// each of many cycles to be a leak however few bytes they are; 0: never.
	ThresholdObjects int64
	// Status is called several times a second with what goes on; may be nil.
	Status func(Status)
	// Interim is called with what is known after each of Session's intervals;
	// may be nil. The result must not be kept.
	Interim func(*report.Result)
	// Warn is called with what a user should know at once; may be nil.
	Warn func(string)
	// MeasureRuntime has the kernel measure how long programs run, until what it
	// returns is closed; nil: bpf.MeasureRuntime.
	MeasureRuntime func() (io.Closer, error)
}

// Status is what goes on at the moment.
type Status struct {
	Phase     session.Phase
	Cycle     int
	Waiting   string    // for what
	Until     time.Time // until when at most; the zero time if nobody knows
	Keeping   bool      // what it waits for is that BIRD lets go of routes which it keeps on purpose
	AtRest    bool      // the phase has come to rest and been looked at
	LiveBytes int64     // -1 if nobody counts them between two looks
	Hits      float64   // probes hit per second
	Lost      uint64    // events lost so far
	Routes    int64     // -1 if unknown
	PeersUp   int
}

const (
	// pollInterval is how often the experiment looks at its counters.
	pollInterval = 100 * time.Millisecond
	// controlInterval is how often the control socket is asked for the
	// protocols where there is no BMP: BIRD 2 answers between two packets of
	// its only thread.
	controlInterval = time.Second
	// controlTimeout bounds how long a busy BIRD may take to answer.
	controlTimeout = 30 * time.Second
)

// run is an experiment under way.
type run struct {
	Config
	machine    *session.Machine
	attributor *attribution.Attributor
	phases     []report.Phase
	trend      trend
	forgotten  int      // index of the last phase of which a summary is kept
	omitted    int      // cycles of which nothing is
	ages       []uint32 // marks under which those of phases are summed up, as of the current look
	firstMark  uint32   // of the baseline
	course     report.Recorder
	started    time.Time

	last session.Observation
	// The BGP protocols that are up, by name, and how often one came or went:
	// where there is no station to tell.
	protocols   map[string]bool
	protocolsAt time.Time
	configured  int // BGP protocols, up or not, as of then
	ups, downs  uint64
	byBMP       bool // a router has connected to the station
	peers       *peers

	work  work
	stuck string // what the driver could not do within the limit, "" if nothing
	flood floodClock
	cpu   *report.FloodCPU

	overhead overhead
	sessions sessions
	guarded  guarded
	auto     auto

	notes []report.Note
	noted struct { // as of the last look
		others, messages uint64
		configured       string // BIRD's line about its last reconfiguration
	}
	notQuiet      []string // looks at which BIRD did not stand still, and why
	missedReturns int      // pages that BIRD's own lists said were free
	controlLost   error    // why the control socket was given up
	searchFailed  error    // why pointers were not followed at the last look that asked for it
	version       string   // of BIRD
	commands      uint64   // sent to the control socket until the last look

	warned int    // how many dropped functions were warned of
	hits   uint64 // of all probes, at hitsAt
	hitsAt time.Time
}

// errEnded ends the loop: all cycles are done.
var errEnded = errors.New("experiment ended")

// Run runs the experiment until its cycles are done, ctx is cancelled, or the
// process ends; each of them gives a result. An error means that there is
// none.
func Run(ctx context.Context, c Config) (*report.Result, error) {
	now := time.Now()
	if c.MeasureRuntime == nil {
		c.MeasureRuntime = bpf.MeasureRuntime
	}
	c.Session.Driven = c.Driver != nil || c.Command != nil
	c.Session.Others = c.Peer != ""
	r := &run{Config: c, peers: newPeers(c.Peer), machine: session.NewMachine(c.Session, now), started: now, last: session.Observation{Routes: -1, Kept: -1}}
	r.trend.standing = c.Session.Interval > 0 || c.Command != nil || r.walks()
	if c.Profiler != nil {
		r.attributor = r.newAttributor()
	}
	if c.Control != nil {
		r.version = c.Control.Version()
	}
	r.phases = []report.Phase{{Name: string(session.Baseline), Start: now, Routes: -1}}
	err := r.guardedLoop(ctx)
	if err != nil && !errors.Is(err, errEnded) {
		return nil, err
	}
	r.noteSpared()
	// The last look must not fail because ctx has ended already.
	if err := r.handle(context.WithoutCancel(ctx), r.machine.End(time.Now())); err != nil {
		return nil, err
	}
	return r.result()
}

func (r *run) newAttributor() *attribution.Attributor {
	return attribution.New(r.Process, r.Profiler.BIRD, attribution.Options{
		Objects: r.Profiler.ObjectClasses(), LinpoolObjects: r.Profiler.FollowsLinpoolObjects(),
		Functions: r.Profiler.Plan.Functions, Mark: r.ageMark, Debug: r.Debug, ByKind: r.walks(),
	})
}

// walks says whether what is live is told without probes, and so what grows by
// its kind and not by its call stack. An array that BIRD makes anew is then of
// another kind, in the place of the old one.
func (r *run) walks() bool { return r.Profiler != nil && r.Profiler.Walks() }

func (r *run) loop(ctx context.Context) error {
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return r.finishDriver()
		case err := <-r.work.done:
			if err := r.finish(ctx, err); err != nil {
				return err
			}
			continue
		case m := <-r.Marks:
			if err := r.mark(ctx, m); err != nil {
				return err
			}
			continue
		case s := <-r.steps():
			if err := r.takeStep(s); err != nil {
				return err
			}
			continue
		case <-tick.C:
		}
		if !r.Process.Alive() {
			return errors.Join(r.finishDriver(), errEnded)
		}
		o, err := r.observe(ctx)
		if err != nil {
			if !r.Process.Alive() || ctx.Err() != nil {
				continue
			}
			return err
		}
		r.flood.observe(r, o)
		r.record(o)
		if err := r.handle(ctx, r.machine.Observe(o)); err != nil {
			return err
		}
		r.warnOfDropped()
		r.noteSpared()
		r.warnOfGuard()
		r.showStatus(o)
		if err := r.drive(ctx, o.Time); err != nil {
			return err
		}
	}
}

// handle does what the events ask for.
func (r *run) handle(ctx context.Context, events []session.Event) error {
	for _, e := range events {
		switch e.Kind {
		case session.Began:
			r.phases[len(r.phases)-1].End = e.Time
			if r.Profiler != nil {
				if err := r.Profiler.Mark(r.firstMark + uint32(len(r.phases))); err != nil {
					return err
				}
			}
			r.phases = append(r.phases, report.Phase{Name: string(e.Phase), Cycle: e.Cycle, Start: e.Time, Routes: -1})
			r.treat(e)
		case session.Look:
			if e.Phase == session.Flooded {
				if c := r.flood.stop(); r.cpu == nil {
					r.cpu = c
				}
			}
			// What ends the run ends it after a look that is under way: one that
			// is given up would cost all that is known by then.
			if err := r.look(context.WithoutCancel(ctx), e); err != nil {
				return err
			}
			if e.Phase == session.Interval && e.Incomplete == "" && r.Interim != nil {
				res, err := r.result()
				if err != nil {
					return err
				}
				r.Interim(res)
			}
		}
	}
	return nil
}

// controlPatience bounds how long BIRD may take to answer: a busy one long, and
// one that is stopped (SIGSTOP) no longer than a phase may take.
func (r *run) controlPatience() time.Duration {
	if limit := r.Session.Limit; limit > 0 {
		return min(controlTimeout, limit)
	}
	return controlTimeout
}

// showMemory asks BIRD for its own account, nil if it does not answer.
func (r *run) showMemory(ctx context.Context) *birdc.Memory {
	if r.Control == nil || !r.Process.Alive() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, r.controlPatience())
	defer cancel()
	memory, err := r.Control.ShowMemory(ctx)
	if err != nil {
		r.loseControl(err)
		return nil
	}
	return memory
}

// countRoutes asks BIRD how many routes it has.
func (r *run) countRoutes(ctx context.Context) {
	if r.Control == nil || !r.Process.Alive() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, r.controlPatience())
	defer cancel()
	if err := r.countNow(ctx, &r.last); err != nil {
		r.loseControl(err)
	}
}

// loseControl goes on without the control socket: what the probes and BMP tell
// is worth more than to end here.
func (r *run) loseControl(err error) {
	r.Control = nil
	if r.Process.Alive() {
		r.controlLost = err
		r.guardSilence(err)
		r.warnOfTimers()
	}
	r.last.Routes, r.last.Kept, r.last.Keeping = -1, -1, ""
}

// warnOfDropped says at once which functions turned out to be others.
func (r *run) warnOfDropped() {
	if r.Profiler == nil || r.Warn == nil {
		return
	}
	dropped := r.Profiler.Dropped()
	for _, d := range dropped[min(r.warned, len(dropped)):] {
		r.Warn(d.String())
	}
	r.warned = len(dropped)
}

func (r *run) showStatus(o session.Observation) {
	if r.Status == nil {
		return
	}
	phase, cycle := r.machine.Phase()
	why, until := r.machine.Waiting()
	s := Status{Phase: phase, Cycle: cycle, Waiting: why, Until: until, Keeping: o.Keeping != "" && why == o.Keeping, AtRest: r.machine.Looked(), LiveBytes: o.LiveBytes, Routes: o.Routes, PeersUp: o.PeersUp}
	if r.Profiler != nil {
		if c, err := r.Profiler.Counters(); err == nil {
			s.Lost = lost(c)
		}
		s.Hits = r.hitRate()
		if r.walks() {
			s.LiveBytes = -1
		}
	}
	r.Status(s)
}
