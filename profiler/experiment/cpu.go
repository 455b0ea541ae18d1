// SPDX-License-Identifier: Apache-2.0

package experiment

import (
	"time"

	"golang.org/x/sys/unix"

	"leakprof/collector/session"
	"leakprof/profiler/report"
)

// floodClock measures who is busy during a flood: BIRD, or we who send the
// routes and take the BMP messages. It runs while BIRD works, not while
// sessions come up; that all is written says little, for the kernel's socket
// buffers take a good part of a flood.
type floodClock struct {
	running, working   bool
	asked              bool // things were quiet, and routes are being counted
	begin, last, until moment
}

// moment is the CPU time used up to a time, and for how long BIRD's threads
// have waited for a CPU.
type moment struct {
	at              time.Time
	bird, wait, own time.Duration
}

func (r *run) moment(at time.Time, cpu time.Duration) moment {
	// Where the kernel does not count waiting, none is known of.
	wait, _ := r.Process.CPUWait()
	return moment{at, cpu, wait, ownCPU()}
}

// busyShare is the share of a CPU that BIRD uses while it works on a flood.
const busyShare = 0.10

func (f *floodClock) start(r *run, o session.Observation) {
	m := r.moment(time.Now(), o.CPU)
	*f = floodClock{running: true, begin: m, last: m, until: m}
}

func (f *floodClock) observe(r *run, o session.Observation) {
	// What BIRD does to answer us is no part of the flood.
	f.asked = f.asked || f.working && r.machine.WantsRoutes()
	if !f.running || f.asked {
		return
	}
	now := r.moment(o.Time, o.CPU)
	if float64(now.bird-f.last.bird) > busyShare*float64(now.at.Sub(f.last.at)) {
		if !f.working {
			f.working, f.begin = true, f.last
		}
		f.until = now
	}
	f.last = now
}

// limitShare is the share of a CPU from which on a side counts as busy all
// the time.
const limitShare = 0.8

// stop ends the measurement and returns the figures, nil if there are none.
func (f *floodClock) stop() *report.FloodCPU {
	wall := f.until.at.Sub(f.begin.at)
	if !f.running || wall <= 0 {
		return nil
	}
	f.running = false
	c := &report.FloodCPU{Wall: wall, BIRD: f.until.bird - f.begin.bird, Lab: f.until.own - f.begin.own}
	// BIRD has no idle time either while others keep it off the CPU.
	wait := f.until.wait - f.begin.wait
	bird, own := float64(c.BIRD+wait)/float64(wall), float64(c.Lab)/float64(wall)
	switch {
	case bird >= limitShare && bird > own:
		c.Limit = "bird"
	case own >= limitShare:
		c.Limit = "speakers and station"
	default:
		c.Limit = "neither"
	}
	return c
}

// ownCPU is this process's CPU time.
func ownCPU() time.Duration {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
