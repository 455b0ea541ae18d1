// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"

	"leakprof/collector/birdc"
	"leakprof/collector/bmp"
	"leakprof/collector/lab"
	"leakprof/profiler"
	"leakprof/profiler/experiment"
	"leakprof/profiler/target"
)

// runLab starts a BIRD, runs the experiment on it, and ends it.
func runLab(ctx context.Context, stdout io.Writer, f *labFlags) (err error) {
	binary, err := lab.Find(ctx, f.bird)
	if err != nil {
		return err
	}
	if err := f.readDump(ctx); err != nil {
		return err
	}
	config := lab.Config{Binary: binary, Peers: f.peers, PausedAtEntry: f.attach, Log: f.birdLog}
	release, err := f.apply(&config)
	if err != nil {
		return err
	}
	defer release()
	var station *bmp.Station
	if f.bmp {
		if err := config.Namespace.Do(func() (err error) {
			station, err = bmp.Listen(ctx, bmp.Options{Addr: netip.MustParseAddrPort("127.0.0.1:0")})
			return err
		}); err != nil {
			return err
		}
		defer station.Close()
		go drain(station)
		config.Station = station.Addr()
	}
	bird, err := lab.Start(ctx, config)
	if err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, bird.Stop(context.WithoutCancel(ctx)))
	}()
	fmt.Fprintf(os.Stderr, "leakprof: BIRD %s, pid %d, %s\n", bird.Version(), bird.PID(), f.describe())

	c := experiment.Config{Station: station, Cycles: f.cycles}
	if f.attach {
		dieFirst()
		o := f.profiler(bird.PID())
		o.FromStart = true
		p, err := profiler.Attach(ctx, o)
		if err != nil {
			return err
		}
		defer p.Close()
		c.Profiler, c.Process = p, p.Process
		if err := bird.Resume(); err != nil {
			return err
		}
	} else {
		if c.Process, err = target.Open(bird.PID()); err != nil {
			return err
		}
		defer c.Process.Close()
	}
	if err := bird.Ready(ctx); err != nil {
		return err
	}
	if c.Control, err = birdc.Dial(ctx, bird.Control()); err != nil {
		return err
	}
	defer c.Control.Close()
	speakers, err := bird.Speakers(f.flood)
	if err != nil {
		return err
	}
	defer speakers.Close()
	c.Driver = speakers
	if f.cycleExec != "" {
		// The peers stay up, and their routes in: they are the baseline's.
		if err := speakers.Up(ctx); err != nil {
			return err
		}
	}
	err = f.conclude(ctx, stdout, c)
	select {
	case <-bird.Exited():
		// The report stands, but the experiment has failed.
		return errors.Join(err, bird.Err())
	default:
		return err
	}
}

// drain takes the station's events, which nobody needs where the lab itself
// causes them.
func drain(s *bmp.Station) {
	for range s.Events() {
	}
}
