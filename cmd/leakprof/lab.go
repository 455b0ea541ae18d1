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

	"github.com/spf13/cobra"

	"leakprof/collector/bgp"
	"leakprof/collector/birdc"
	"leakprof/collector/bmp"
	"leakprof/collector/lab"
	"leakprof/profiler"
	"leakprof/profiler/experiment"
	"leakprof/profiler/target"
)

type labFlags struct {
	experimentFlags
	bird     string
	peers    int
	flood    lab.Flood
	bmp      bool
	attach   bool
	preset   string
	birdLog  string
	flooding bool // some flag about the flood was given
}

// reportPreset is the flood whose figures come closest to the report that
// leakprof was made for: the same 1,087,000 prefixes from every peer, about
// 38 per UPDATE.
var reportPreset = lab.Flood{Routes: 1_087_000, AttributeSets: 28_600, Overlap: true}

func labCommand() *cobra.Command {
	var f labFlags
	c := &cobra.Command{
		Use:   "lab",
		Short: "Start a BIRD and run the whole experiment on it",
		Long: `Starts a BIRD in a directory of its own, with passive BGP peers and a BMP station
on loopback, attaches to it before it allocates anything, floods it with routes
from BGP speakers, drops them again, and reports what is retained.`,
		Example: `  leakprof lab
  leakprof lab --bird ~/bird/bird --routes 25000 --cycles 2
  leakprof lab --preset report`,
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			for _, name := range []string{"peers", "routes", "attribute-sets", "per-update", "overlap"} {
				f.flooding = f.flooding || c.Flags().Changed(name)
			}
			return runLab(c.Context(), c.OutOrStdout(), &f)
		},
	}
	flags := c.Flags()
	f.register(flags, time.Second, 3)
	flags.StringVar(&f.bird, "bird", "", "the BIRD to start, `PATH` (default: bird in PATH if it has BMP, else the lab's own)")
	flags.IntVar(&f.peers, "peers", 4, "BGP peers")
	flags.IntVar(&f.flood.Routes, "routes", 290_000, "routes per peer")
	flags.IntVar(&f.flood.AttributeSets, "attribute-sets", 0, "distinct sets of path attributes per peer (default: as few as UPDATEs packed full allow)")
	flags.IntVar(&f.flood.PerUpdate, "per-update", 0, "most prefixes in an UPDATE (default: as many as fit)")
	flags.BoolVar(&f.flood.Overlap, "overlap", false, "let all peers announce the same prefixes")
	flags.BoolVar(&f.bmp, "bmp", true, "configure BMP and run the station")
	flags.BoolVar(&f.attach, "attach", true, "attach probes; without them only BIRD's own counters are shown")
	flags.StringVar(&f.preset, "preset", "", "\"report\": 4 peers with the same 1,087,000 routes, about 38 per UPDATE")
	flags.StringVar(&f.birdLog, "bird-log", "", "append BIRD's log to `FILE`")
	return c
}

func runLab(ctx context.Context, stdout io.Writer, f *labFlags) (err error) {
	if err := f.validate(); err != nil {
		return err
	}
	switch f.preset {
	case "":
	case "report":
		if f.flooding {
			return usageError{errors.New("--preset report sets the peers and their routes itself: leave out --peers, --routes, --attribute-sets, --per-update and --overlap")}
		}
		f.flood = reportPreset
	default:
		return usageError{fmt.Errorf("--preset %q: only \"report\" is known", f.preset)}
	}
	if f.limit == 0 {
		f.limit = 10 * time.Minute
	}
	switch {
	case f.peers < 1 || f.flood.Routes < 1:
		return usageError{errors.New("--peers and --routes must be at least 1")}
	case f.peers > lab.MaxPeers:
		return usageError{fmt.Errorf("--peers %d: at most %d", f.peers, lab.MaxPeers)}
	case f.flood.AttributeSets < 0 || f.flood.PerUpdate < 0:
		return usageError{errors.New("--attribute-sets and --per-update must not be negative")}
	}
	f.flood.Drop = bgp.DropNotification

	binary, err := lab.Find(ctx, f.bird)
	if err != nil {
		return err
	}
	config := lab.Config{Binary: binary, Peers: f.peers, PausedAtEntry: f.attach, Log: f.birdLog}
	var station *bmp.Station
	if f.bmp {
		station, err = bmp.Listen(ctx, bmp.Options{Addr: netip.MustParseAddrPort("127.0.0.1:0")})
		if err != nil {
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
	fmt.Fprintf(os.Stderr, "leakprof: BIRD %s, pid %d, %d peers with %d routes each\n", bird.Version(), bird.PID(), f.peers, f.flood.Routes)

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
	speakers, err := lab.NewSpeakers(bird.BGPAddr(), f.peers, f.flood)
	if err != nil {
		return err
	}
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
