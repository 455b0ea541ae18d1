// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"leakprof/collector/lab"
)

type labFlags struct {
	experimentFlags
	input    inputFlags
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
			for _, name := range append([]string{"peers", "routes"}, routeFlags...) {
				f.flooding = f.flooding || c.Flags().Changed(name)
			}
			if err := f.validateLab(c.Flags().Changed); err != nil {
				return err
			}
			return runLab(c.Context(), c.OutOrStdout(), &f)
		},
	}
	flags := c.Flags()
	f.register(flags, time.Second, 3)
	f.input.register(flags)
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

// validateLab refuses what makes no sense, and fills in what follows from other
// flags.
func (f *labFlags) validateLab(changed func(name string) bool) error {
	if err := f.validate(); err != nil {
		return err
	}
	switch f.preset {
	case "":
	case "report":
		if f.flooding {
			return usageError{errors.New("--preset report sets the peers and their routes itself: leave out --peers, --routes, --attribute-sets, --per-update, --overlap and --ipv6")}
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
	return f.validateInput(changed)
}
