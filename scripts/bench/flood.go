// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"leakprof/collector/birdc"
	"leakprof/collector/bmp"
	"leakprof/collector/lab"
)

// setup is what is run, whatever follows it.
type setup struct {
	name    string // of the BIRD
	binary  *lab.Binary
	peers   int
	routes  int // per peer
	threads int // 0: as many as BIRD chooses
}

const (
	// BIRD rests when it uses less than restShare of a processor for restFor, is seen to
	// run or to wait for a processor in less than half of that, and nothing new comes to
	// the station. A phase ends with the last restPoll in which it
	// used more than that, so that a small one is not lost in that time.
	restFor   = time.Second
	restShare = 0.03
	restPoll  = 50 * time.Millisecond
)

// subject is a BIRD with its peers and its station.
type subject struct {
	setup
	bird     *lab.Bird
	control  *birdc.Conn
	station  *bmp.Station
	speakers *lab.Speakers
	dir      string   // for what the variant or BIRD writes, gone after the run
	followed attached // nil for none

	namespace *lab.Namespace // nil for ours
}

// measure runs BIRD once, under a variant.
func measure(ctx context.Context, s setup, v variant, limit time.Duration) (r run) {
	r = run{
		Bird: s.name, Version: s.binary.Version, Variant: v.name, Peers: s.peers, Routes: s.peers * s.routes,
		Threads: s.threads, Started: time.Now().UTC(),
	}
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("not done after %v (-limit)", limit))
	defer cancel()
	if err := s.measure(ctx, v, &r); err != nil {
		if ctx.Err() != nil {
			err = fmt.Errorf("%w: %w", context.Cause(ctx), err)
		}
		r.Error = err.Error()
	}
	return r
}

func (s setup) measure(ctx context.Context, v variant, r *run) (err error) {
	sub, err := s.start(ctx, v)
	if sub != nil {
		defer func() { err = errors.Join(err, sub.end(context.WithoutCancel(ctx))) }()
	}
	if err != nil {
		return err
	}
	if v.attach != nil {
		if sub.followed, err = v.attach(ctx, sub); err != nil {
			return fmt.Errorf("attach %s: %w", v.name, err)
		}
	}

	flooding, flooded, err := sub.phase(ctx, sub.speakers.Up, sub.speakers.Routes())
	if err != nil {
		return fmt.Errorf("flood: %w", err)
	}
	if sub.followed != nil {
		if err := sub.followed.Flooded(ctx); err != nil {
			return fmt.Errorf("flood: %w", err)
		}
	}
	dropping, settled, err := sub.phase(ctx, sub.speakers.Down, 0)
	if err != nil {
		return fmt.Errorf("drop: %w", err)
	}
	r.Flood, r.Drop = between(flooding, flooded), between(dropping, settled)
	r.BetweenCPU = (dropping.bird - flooded.bird).Seconds()
	// Both phases as one.
	whole := settled
	whole.at = whole.at.Add(-dropping.at.Sub(flooded.at))
	whole.bird -= dropping.bird - flooded.bird
	whole.machine -= dropping.machine - flooded.machine
	whole.ours -= dropping.ours - flooded.ours
	whole.tool -= dropping.tool - flooded.tool
	r.ForeignPercent = foreignPercent(flooding, whole)
	r.BMPMessages = sub.station.Counts().Messages
	if r.BirdRSS, err = peakRSS(sub.bird.PID()); err != nil {
		return fmt.Errorf("read BIRD's memory: %w", err)
	}
	if sub.followed == nil {
		return nil
	}
	return sub.followed.Finish(ctx, r)
}

func between(from, to instant) phase {
	return phase{CPU: (to.bird - from.bird).Seconds(), Wall: to.at.Sub(from.at).Seconds()}
}

// start starts the station, BIRD, and its peers. With an error there may be a subject
// to end too.
func (s setup) start(ctx context.Context, v variant) (_ *subject, err error) {
	sub := &subject{setup: s}
	parent := os.TempDir()
	if s.binary.Root != "" {
		parent = filepath.Join(s.binary.Root, "run") // where BIRD can write, too
	}
	if sub.dir, err = os.MkdirTemp(parent, "leakprof-bench-"); err != nil {
		return nil, err
	}
	config := lab.Config{Binary: s.binary, Peers: s.peers}
	if v.begin != nil {
		p := place{here: sub.dir, inside: sub.dir, root: s.binary.Root}
		if p.root != "" {
			p.inside = "/run/" + filepath.Base(sub.dir)
		}
		if config.Env, sub.followed, err = v.begin(ctx, p); err != nil {
			return sub, err
		}
	}
	if s.threads > 0 {
		if config.Namespace, err = lab.NewNamespace(); err != nil {
			return sub, err
		}
		sub.namespace = config.Namespace
		config.Include = filepath.Join(sub.dir, "threads.conf")
		if err := os.WriteFile(config.Include, fmt.Appendf(nil, "threads %d;\n", s.threads), 0o644); err != nil {
			return sub, err
		}
	}
	if err := config.Namespace.Do(func() (err error) {
		sub.station, err = bmp.Listen(ctx, bmp.Options{Addr: netip.MustParseAddrPort("127.0.0.1:0")})
		return err
	}); err != nil {
		return sub, err
	}
	go func() { // nobody needs its events
		for range sub.station.Events() {
		}
	}()
	config.Station = sub.station.Addr()
	if sub.bird, err = lab.Start(ctx, config); err != nil {
		return sub, err
	}
	if sub.control, err = birdc.Dial(ctx, sub.bird.Control()); err != nil {
		return sub, err
	}
	if sub.speakers, err = sub.bird.Speakers(lab.Flood{Routes: s.routes}); err != nil {
		return sub, err
	}
	_, err = sub.rest(ctx)
	return sub, err
}

// end ends all of it.
func (s *subject) end(ctx context.Context) (err error) {
	if s.followed != nil {
		err = s.followed.Close()
	}
	if s.speakers != nil {
		s.speakers.Close()
	}
	if s.control != nil {
		s.control.Close()
	}
	if s.bird != nil {
		err = errors.Join(err, s.bird.Stop(ctx))
	}
	if s.station != nil {
		s.station.Close()
	}
	if s.namespace != nil {
		err = errors.Join(err, s.namespace.Close())
	}
	return errors.Join(err, os.RemoveAll(s.dir))
}

// phase lets something happen, and waits until BIRD has so many routes and rests.
func (s *subject) phase(ctx context.Context, happen func(context.Context) error, routes int64) (begun, ended instant, err error) {
	if begun, err = s.now(); err != nil {
		return begun, ended, err
	}
	if err := happen(ctx); err != nil {
		return begun, ended, err
	}
	for {
		if ended, err = s.rest(ctx); err != nil {
			return begun, ended, err
		}
		have, err := s.countRoutes(ctx)
		if err != nil {
			return begun, ended, err
		}
		if have == routes {
			return begun, ended, nil
		}
		if n, why := s.speakers.Dropped(); n > 0 {
			return begun, ended, fmt.Errorf("%d sessions ended: %w", n, why)
		}
	}
}

// rest waits until BIRD rests, and returns when that began.
func (s *subject) rest(ctx context.Context) (instant, error) {
	poll := time.NewTicker(restPoll)
	defer poll.Stop()
	var since, last, active instant // begin of the rest, last look, last that saw BIRD work
	var messages uint64
	looks, running := 0, 0
	for first := true; ; first = false {
		now, err := s.now()
		if err != nil {
			return now, err
		}
		runs, err := isRunning(s.bird.PID())
		if err != nil {
			return now, err
		}
		came := s.station.Counts().Messages
		if first || came != messages || works(last, now) {
			active = now
		}
		if looks++; runs {
			running++
		}
		long := now.at.Sub(since.at) >= restFor
		switch {
		case first || came != messages || now.bird-since.bird > restCPU(restFor) || long && 2*running >= looks:
			since, messages = now, came
			looks, running = 0, 0
		case long:
			return active, nil
		}
		last = now
		select {
		case <-poll.C:
		case <-s.bird.Exited():
			return now, errors.Join(errors.New("bird has ended"), s.bird.Err())
		case <-ctx.Done():
			return now, errors.New("bird does not come to rest")
		}
	}
}

// works says whether BIRD did more between two looks than it does at rest.
func works(from, to instant) bool { return to.bird-from.bird > restCPU(to.at.Sub(from.at)) }

// restCPU is the most that BIRD uses at rest in some time.
func restCPU(d time.Duration) time.Duration { return time.Duration(restShare * float64(d)) }

func (s *subject) countRoutes(ctx context.Context) (sum int64, err error) {
	counts, err := s.control.ShowRouteCount(ctx, "")
	for _, c := range counts {
		sum += int64(c.Total)
	}
	return sum, err
}

// now is what everybody has used.
func (s *subject) now() (now instant, err error) {
	now.at = time.Now()
	var errs [4]error
	now.bird, errs[0] = cpuClock(s.bird.PID())
	now.machine, errs[1] = machineBusy()
	now.ours, errs[2] = ownCPU()
	if s.followed != nil {
		now.tool, errs[3] = s.followed.CPU()
	}
	return now, errors.Join(errs[:]...)
}
