// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"leakprof/collector/bmp"
	"leakprof/profiler"
	"leakprof/profiler/experiment"
	"leakprof/profiler/report"
)

type attachFlags struct {
	experimentFlags
	guard    guardFlags
	process  string // --pid as given
	pid      int
	bmp      string
	control  string
	duration time.Duration
	interval time.Duration
	peer     string
	follow   bool
	life     int // the number of the life that we are started for, 0: none
}

func attachCommand() *cobra.Command {
	var f attachFlags
	c := &cobra.Command{
		Use:   "attach --pid PID",
		Short: "Follow the memory of a running BIRD",
		Long: `Attaches to a running BIRD, follows what its BGP sessions do by the BMP messages
that it sends (configure BIRD with a station at the address of --bmp), or by its
control socket, and reports what is retained after they went down. ^C takes the
last snapshot and ends; a second ^C ends at once.

With --follow it goes on when BIRD is started again, upgraded or not, and leaves
one report per life in DIR/1, DIR/2 and so on, with a line for each. A number is
told from other BIRDs by the program, its arguments, and its root or control
group.`,
		Example: `  leakprof attach --pid bird
  leakprof attach --pid /run/bird/bird.pid --duration 10m --out /tmp/bird-memory
  leakprof attach --pid 4711 --interval 1h
  leakprof attach --pid bird --follow --out /var/lib/leakprof`,
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			return runAttach(c.Context(), c.OutOrStdout(), &f, c.Flags())
		},
	}
	flags := c.Flags()
	f.register(flags, 30*time.Second, 0)
	f.guard.register(flags)
	flags.StringVar(&f.process, "pid", "", pidHelp)
	flags.StringVar(&f.bmp, "bmp", bmp.DefaultAddr.String(), "run the BMP station at `ADDR`; \"\" for none")
	flags.StringVar(&f.control, "birdc", "", "BIRD's control `SOCKET` (default: as on BIRD's command line, else the usual places); \"none\" for none")
	flags.DurationVar(&f.duration, "duration", 0, "end by itself after `D` (default: when interrupted)")
	flags.StringVar(&f.peer, "peer", "", "the experiment is about the peers whose address or protocol matches `PATTERN` (* and ? as in a shell; default: all); it needs BMP")
	flags.DurationVar(&f.interval, "interval", 0, "report the growth of every `D`, and judge by it, whatever the sessions do: for a BIRD that grows while nothing flaps")
	flags.BoolVar(&f.follow, "follow", false, "follow BIRD's next life, too, when its supervisor starts it again, and so on until interrupted")
	flags.IntVar(&f.life, lifeFlag, 0, "")
	flags.MarkHidden(lifeFlag)
	return c
}

func runAttach(ctx context.Context, stdout io.Writer, f *attachFlags, flags *pflag.FlagSet) error {
	if err := f.validate(); err != nil {
		return err
	}
	if err := f.guard.validate(); err != nil {
		return err
	}
	if f.duration < 0 {
		return usageError{fmt.Errorf("--duration %v: must not be negative", f.duration)}
	}
	if f.interval < 0 || f.interval > 0 && f.interval < f.settle {
		return usageError{fmt.Errorf("--interval %v: must be at least --settle, %v", f.interval, f.settle)}
	}
	if f.interval > 0 && f.cycleExec != "" {
		return usageError{errors.New("--interval and --cycle-exec: choose one")}
	}
	if _, err := path.Match(f.peer, ""); err != nil || f.peer != "" && f.bmp == "" {
		return usageError{fmt.Errorf("--peer %q: want a pattern such as 192.0.2.* or peer1, and a station (--bmp ADDR)", f.peer)}
	}
	if f.bmp != "" {
		if _, err := stationAddress(f.bmp); err != nil {
			return err
		}
	}
	if f.process == "" {
		return usageError{errors.New("--pid is needed: leakprof attach --pid bird")}
	}
	if f.follow {
		return runFollow(ctx, f, flags)
	}
	var err error
	if f.pid, err = findPID(f.process); err != nil {
		return err
	}
	if f.life > 0 {
		return f.attachToLife(ctx, stdout)
	}
	return f.attach(ctx, stdout)
}

// attach follows one BIRD.
func (f *attachFlags) attach(ctx context.Context, stdout io.Writer) error {
	if err := runs(f.pid); err != nil {
		return err
	}
	c := experiment.Config{Cycles: f.cycles, Peer: f.peer}
	if f.bmp != "" {
		station, err := f.listen(ctx)
		if err != nil {
			return err
		}
		defer station.Close()
		go drain(station)
		c.Station = station
	}
	var err error
	if c.Debug, err = f.debug.places(ctx, os.Stderr, f.pid); err != nil {
		return withPIDHint(err)
	}
	// Before anything is counted or placed: a directory that cannot be written
	// into is found at once. One that was made for nothing is not left.
	made, err := makeOut(&f.out, f.pid)
	if err != nil {
		return err
	}
	attached := false
	defer func() {
		if made && !attached {
			os.Remove(f.out)
		}
	}()
	dieFirst()
	options := f.profiler(f.pid)
	account, err := f.guard.before(ctx, &options)
	if err != nil {
		return err
	}
	f.guard.watch(&c, &options, account)
	p, err := profiler.Attach(ctx, options)
	if err != nil {
		return withPIDHint(err)
	}
	// The probes stay until this process ends, when the kernel takes them off. Were
	// they taken off here, and we killed meanwhile, one could stay in BIRD: with a
	// fatal signal pending the kernel gives up (uprobe_unregister_nosync in
	// kernel/events/uprobes.c), which it has not for a process that is ending.
	c.Profiler, c.Process = p, p.Process
	if c.Control, err = awaitControl(ctx, p.Process, f.control); err != nil {
		return p.Process.Explain(err)
	}
	if c.Control != nil {
		defer c.Control.Close()
	}
	c.Session.Interval = f.interval
	// Marks are for what nobody else tells; without them it goes on.
	if marks, stop, err := listenControl(ctx, f.pid); err != nil {
		say(os.Stderr, "warning: %v", err)
	} else {
		defer stop()
		c.Marks = marks
	}
	rights, stop, err := f.limitRights(&c)
	if err != nil {
		return err
	}
	defer stop()
	attached = true
	probes := fmt.Sprintf("%d probes", len(p.Plan.Sites))
	if !p.Probes() {
		probes = "no probe (--mode " + f.plan.Mode.String() + ")"
	}
	say(os.Stderr, "attached to pid %d (%s), %s; keeps %s", f.pid, p.Process.Exe, probes, rights)
	if f.duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, f.duration)
		defer cancel()
	}
	c.Interim = func(res *report.Result) { f.interim(stdout, res) }
	if f.life > 0 {
		return f.concludeLife(ctx, stdout, c)
	}
	return f.conclude(ctx, stdout, c)
}

// listen runs the BMP station.
func (f *attachFlags) listen(ctx context.Context) (*bmp.Station, error) {
	var options bmp.Options
	var err error
	if f.life > 0 {
		options.Listener, err = inheritedListener()
	} else {
		options.Addr, err = stationAddress(f.bmp)
	}
	if err != nil {
		return nil, err
	}
	station, err := bmp.Listen(ctx, options)
	if err != nil {
		return nil, fmt.Errorf("%w; choose another with --bmp ADDR, or none with --bmp \"\"", err)
	}
	return station, nil
}

// stationAddress reads the value of --bmp.
func stationAddress(text string) (netip.AddrPort, error) {
	addr, err := netip.ParseAddrPort(text)
	if err != nil {
		return addr, usageError{fmt.Errorf("--bmp %q: want an address and port such as 127.0.0.1:11019", text)}
	}
	return addr, nil
}
