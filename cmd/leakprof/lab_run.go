// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"time"

	"leakprof/collector/birdc"
	"leakprof/collector/bmp"
	"leakprof/collector/lab"
	"leakprof/profiler"
	"leakprof/profiler/experiment"
	"leakprof/profiler/report"
	"leakprof/profiler/target"
)

// runLab runs the experiment once and prints its report.
func runLab(ctx context.Context, stdout io.Writer, f *labFlags) error {
	binary, err := f.prepare(ctx)
	if err != nil {
		return err
	}
	result, err := f.run(ctx, binary, f.bmp, &f.out)
	if result == nil {
		return err
	}
	// The report stands, also where BIRD ended or a file could not be written.
	if err := errors.Join(f.print(stdout, report.NewDocument(result), f.out), err); err != nil {
		return err
	}
	return f.judge(result)
}

// prepare finds the BIRD, and reads what is to be announced.
func (f *labFlags) prepare(ctx context.Context) (*lab.Binary, error) {
	binary, err := lab.Find(ctx, f.bird)
	if err != nil {
		return nil, err
	}
	return binary, f.readDump(ctx)
}

// run starts a BIRD, runs the experiment on it, ends it, and writes the files
// into the directory out, which gets its name from BIRD's pid if it has none.
// There can be both a result and an error.
func (f *labFlags) run(ctx context.Context, binary *lab.Binary, withBMP bool, out *string) (_ *report.Result, err error) {
	config := lab.Config{Binary: binary, Peers: f.peers, PausedAtEntry: f.probes(), Log: f.birdLog}
	release, err := f.apply(&config)
	if err != nil {
		return nil, err
	}
	defer release()
	c := experiment.Config{Cycles: f.cycles, Treatment: f.station}
	if withBMP {
		if err := config.Namespace.Do(func() (err error) {
			c.Station, err = bmp.Listen(ctx, f.stationOptions())
			return err
		}); err != nil {
			return nil, err
		}
		defer c.Station.Close()
		go drain(c.Station)
		config.Station = c.Station.Addr()
	}
	bird, err := lab.Start(ctx, config)
	if err != nil {
		return nil, err
	}
	defer func() {
		err = errors.Join(err, bird.Stop(context.WithoutCancel(ctx)))
	}()
	say(os.Stderr, "BIRD %s, pid %d, %s", bird.Version(), bird.PID(), f.describe())

	if f.attach {
		if c.Debug, err = f.debug.places(ctx, os.Stderr, bird.PID()); err != nil {
			return nil, err
		}
		defer dieFirst()()
		o := f.profiler(bird.PID())
		o.FromStart = true
		p, err := profiler.Attach(ctx, o)
		if err != nil {
			return nil, err
		}
		defer p.Close()
		c.Profiler, c.Process = p, p.Process
		if f.probes() {
			if err := bird.Resume(); err != nil {
				return nil, err
			}
		}
	} else {
		if c.Process, err = target.Open(bird.PID()); err != nil {
			return nil, err
		}
		defer c.Process.Close()
	}
	speakers, err := bird.Speakers(f.flood)
	if err != nil {
		return nil, err
	}
	defer speakers.Close()
	c.Driver = speakers
	if c.Control, err = f.ready(ctx, bird, speakers); err != nil {
		return nil, err
	}
	defer c.Control.Close()
	result, err := f.measure(ctx, c, out)
	select {
	case <-bird.Exited():
		return result, errors.Join(err, bird.Err())
	default:
		return result, err
	}
}

// probes says whether BIRD is probed, which begins before it allocates anything.
func (f *labFlags) probes() bool { return f.attach && !f.plan.Mode.Walks() }

// ready waits until BIRD can be worked with, for as long as a phase may take.
// With --cycle-exec the peers are up then, and their routes in: they are the
// baseline's.
func (f *labFlags) ready(ctx context.Context, bird *lab.Bird, speakers *lab.Speakers) (_ *birdc.Conn, err error) {
	late := fmt.Errorf("not done after %v (--limit)", f.limit)
	ctx, cancel := context.WithTimeoutCause(ctx, f.limit, late)
	defer cancel()
	defer func() {
		// A dialer's own clock may be ahead of the context's.
		if deadline, _ := ctx.Deadline(); err != nil && !errors.Is(err, late) && !time.Now().Before(deadline) {
			err = fmt.Errorf("%w: %w", late, err)
		}
	}()
	if err := bird.Ready(ctx); err != nil {
		return nil, err
	}
	control, err := birdc.Dial(ctx, bird.Control())
	if err != nil {
		return nil, err
	}
	if f.cycleExec != "" {
		if err := speakers.Up(ctx); err != nil {
			control.Close()
			return nil, err
		}
	}
	return control, nil
}

// stationOptions are those of the lab's station. One that is to treat BIRD
// badly has little room of its own, so that it is BIRD that has to queue.
func (f *labFlags) stationOptions() bmp.Options {
	const little = 64 << 10
	o := bmp.Options{Addr: netip.MustParseAddrPort("127.0.0.1:0"), Behavior: f.station.Behavior}
	if f.station != (experiment.Treatment{}) {
		o.ReceiveBuffer = little
	}
	return o
}

// drain takes the station's events, which nobody needs where the lab itself
// causes them.
func drain(s *bmp.Station) {
	for range s.Events() {
	}
}
