// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/spf13/pflag"
	"kernel.org/pub/linux/libs/security/libcap/cap"

	"leakprof/profiler/privilege"
)

// With --follow one process waits for BIRD's lives, and one after another is
// started for each of them: it is attach for that pid, with a directory of its
// own. The one that waits looks into /proc and does nothing else with its
// rights; what it tells the others is that its end of their standard input is
// closed: then they take their last look. It holds BMP's listening socket, so
// that a BIRD which starts is never refused.

const (
	// lookout is how often the next life is looked for, and longLookout how often
	// after patientFor.
	lookout     = 100 * time.Millisecond
	longLookout = time.Second
	patientFor  = time.Minute
	// A life of less than shortLife counts as short. After such ones it is waited
	// before the next is followed: pauseUnit, then twice as long each time, up to
	// maxPause. Each costs the loading of programs and a report.
	shortLife = 10 * time.Second
	pauseUnit = time.Second
	maxPause  = time.Minute
	// tries is how often it is tried to follow a life that has just begun.
	tries = 3
)

// follower follows one life after another.
type follower struct {
	process  string // --pid as given
	out      string // the directory of the lives' own
	args     []string
	listener *os.File // nil: no station
	estimate bool     // was asked for by a flag
}

// runFollow is attach with --follow.
func runFollow(ctx context.Context, f *attachFlags, flags *pflag.FlagSet) error {
	if f.out == "" {
		f.out = "leakprof-" + filepath.Base(f.process)
	}
	w := &follower{process: f.process, out: f.out, args: lifeArguments(flags), estimate: flags.Changed("estimate")}
	if f.bmp != "" {
		var err error
		if w.listener, err = listenForLives(f.bmp); err != nil {
			return err
		}
		defer w.listener.Close()
	}
	if _, err := makeOut(&f.out, 0); err != nil {
		return err
	}
	// Whoever is not root has been given what is needed; and its capabilities
	// would not pass to those that are started.
	if os.Geteuid() == 0 && f.cycleExec == "" {
		if _, err := privilege.Keep(attaching()...); err != nil {
			return err
		}
	}
	if f.duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, f.duration)
		defer cancel()
	}
	return w.follow(ctx)
}

// attaching are the capabilities that attach may make use of, from its begin on.
func attaching() []cap.Value {
	all := []cap.Value{cap.PERFMON, cap.SYS_ADMIN, cap.DAC_OVERRIDE, cap.SETPCAP}
	for _, k := range privilege.Following() {
		all = append(all, k.Capability)
	}
	return all
}

// lifeArguments are the flags that were given, but for those that are about all
// lives.
func lifeArguments(flags *pflag.FlagSet) []string {
	var args []string
	flags.Visit(func(fl *pflag.Flag) {
		switch fl.Name {
		case "pid", "out", "follow", "duration":
			return
		}
		args = append(args, "--"+fl.Name+"="+fl.Value.String())
	})
	return args
}

// listenForLives opens the listening socket that is handed from life to life.
func listenForLives(address string) (*os.File, error) {
	addr, err := stationAddress(address)
	if err != nil {
		return nil, err
	}
	l, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(addr))
	if err != nil {
		return nil, fmt.Errorf("listen for BMP: %w; choose another with --bmp ADDR, or none with --bmp \"\"", err)
	}
	defer l.Close()
	file, err := l.File()
	if err != nil {
		return nil, fmt.Errorf("listen for BMP: %w", err)
	}
	return file, nil
}

// follow follows lives until ctx ends. An error of the first life is its own:
// what is wrong then is likely wrong with how it was asked for. Of the others the
// worst exit status counts.
func (w *follower) follow(ctx context.Context) error {
	number, err := lastLife(w.out)
	if err != nil {
		return err
	}
	var known *identity
	var pause time.Duration
	var worst error
	for first := true; ; first = false {
		life, err := w.next(ctx, known)
		if ctx.Err() != nil {
			return worst
		} else if err != nil {
			return err
		}
		number++
		began := time.Now()
		status, err := w.run(ctx, number, life, first)
		// A BIRD that was met while it started may not have been ready.
		for try := 1; try < tries && err == nil && status == exitError && !first && time.Since(began) < shortLife && life.alive() && ctx.Err() == nil; try++ {
			sleep(ctx, pauseUnit)
			status, err = w.run(ctx, number, life, first)
		}
		alive := life.alive()
		failed := fmt.Errorf("follow %s: life %d, pid %d, could not be followed to its end", w.process, number, life.pid)
		switch {
		case err != nil:
			life.close()
			return err
		case status == exitRetained:
			worst = fmt.Errorf("%w: life %d", errRetained, number)
		case status == exitUsage:
			life.close()
			return usageError{failed}
		case status != exitDone && first && alive && ctx.Err() == nil:
			life.close()
			return failed
		case status != exitDone && worst == nil:
			worst = failed
		}
		if ctx.Err() == nil && alive {
			say(os.Stderr, "waiting for the end of pid %d", life.pid)
		}
		life.wait(ctx)
		life.close()
		if life.exe != "" { // else it ended before it could be looked at
			known = &life.identity
		}
		if ctx.Err() != nil {
			return worst
		}
		if pause = pauseAfter(time.Since(began), pause); pause > 0 {
			say(os.Stderr, "that was short; the next life is followed in %v", pause)
			sleep(ctx, pause)
		}
		say(os.Stderr, "waiting for the next life of %s", w.process)
	}
}

// pauseAfter is how long to wait after a life, before the next is followed.
func pauseAfter(life, last time.Duration) time.Duration {
	if life >= shortLife {
		return 0
	}
	return min(max(2*last, pauseUnit), maxPause)
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// lastLife is the highest number of a directory in dir, 0 if there is none: what
// an earlier run has found is not overwritten.
func lastLife(dir string) (int, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return 0, fmt.Errorf("look for earlier lives: %w", err)
	}
	last := 0
	for _, e := range entries {
		if n, err := strconv.Atoi(e.Name()); err == nil {
			last = max(last, n)
		}
	}
	return last, nil
}
