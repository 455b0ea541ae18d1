// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"leakprof/collector/lab"
	"leakprof/collector/session"
	"leakprof/profiler/experiment"
)

type labFlags struct {
	experimentFlags
	input    inputFlags
	bird     string
	peers    int
	flood    lab.Flood
	bmp      bool
	compare  bool
	station  experiment.Treatment
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
		Long: `Starts a BIRD in a directory of its own, with passive BGP peers and a BMP
station on loopback, attaches to it before it allocates anything, floods it with
routes from BGP speakers, drops them again, and reports what is retained.

What the peers announce can come from a table dump instead (--mrt), churn
(--churn), be IPv6 (--ipv6), and be taken away in several ways (--drop).
--kernel has BIRD export it into the kernel's routing table, and --config runs
your own bird.conf with the lab's peers and station added: both in a network
namespace that is gone with the lab, so that no route of this machine changes.
BIRD itself reads your file, where it is, with what it includes; a BIRD in a
root of its own sees that one file only. Your protocols run as written, but
reach nobody; files that it names, such as its log, are written; the lab's names
begin with leakprof_.

--compare does all that twice, with BMP and without, and puts the two beside
each other: both verdicts, both tables, and the call stacks that only one run
has. --out then has the files of each run in with-bmp/ and without-bmp/, and
compare.txt and compare.json beside them.

--station says how the BMP station treats BIRD:
  normal       it reads as fast as it can
  slow=RATE    it reads RATE bytes per second, such as 64k
  stall        it reads nothing before the last cycle is over; stall=N: after
               N messages
  stall@PHASE  it reads nothing from that phase of each cycle on: flooding,
               flooded or dropping, or running with --cycle-exec
  close@PHASE  it closes the connection with that phase, and BIRD opens another
A station that has stalled reads again once the cycle has been looked at, and
one look more, in the phase "resumed", shows whether BIRD lets go of what it
kept for it.`,
		Example: `  leakprof lab
  leakprof lab --compare --routes 50000
  leakprof lab --station stall@flooding
  leakprof lab --bird ~/bird/bird --routes 25000 --cycles 2
  leakprof lab --mrt rib.20260101.0000.bz2 --kernel --drop reset
  leakprof lab --bird /usr/sbin/bird --config /etc/bird/bird.conf
  leakprof lab --preset report`,
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			for _, name := range append([]string{"peers", "routes"}, routeFlags...) {
				f.flooding = f.flooding || c.Flags().Changed(name)
			}
			if err := f.validateLab(c.Flags().Changed); err != nil {
				return err
			}
			if f.compare {
				return compareLab(c.Context(), c.OutOrStdout(), &f)
			}
			return runLab(c.Context(), c.OutOrStdout(), &f)
		},
	}
	flags := c.Flags()
	f.register(flags, time.Second, 3)
	f.input.register(flags)
	flags.StringVar(&f.bird, "bird", "", "the BIRD to start, `PATH` (default: bird in PATH if it has BMP, else the lab's own)")
	flags.IntVar(&f.peers, "peers", 4, "`N` BGP peers")
	flags.IntVar(&f.flood.Routes, "routes", 290_000, "`N` routes per peer")
	flags.IntVar(&f.flood.AttributeSets, "attribute-sets", 0, "`N` distinct sets of path attributes per peer (default: as few as UPDATEs packed full allow)")
	flags.IntVar(&f.flood.PerUpdate, "per-update", 0, "at most `N` prefixes in an UPDATE (default: as many as fit)")
	flags.BoolVar(&f.flood.Overlap, "overlap", false, "let all peers announce the same prefixes")
	flags.BoolVar(&f.bmp, "bmp", true, "configure BMP and run the station")
	flags.BoolVar(&f.compare, "compare", false, "run with BMP and without, and compare")
	flags.TextVar(&f.station, "station", experiment.Treatment{}, "how the BMP station treats BIRD: `BEHAVIOR` is normal, slow=RATE, stall, stall=N, stall@PHASE or close@PHASE")
	flags.BoolVar(&f.attach, "attach", true, "attach probes; without them only BIRD's own counters are shown")
	flags.StringVar(&f.preset, "preset", "", "what `NAME` stands for; \"report\": 4 peers with the same 1,087,000 routes, about 38 per UPDATE")
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
	switch {
	case f.peers < 1 || f.flood.Routes < 1:
		return usageError{errors.New("--peers and --routes must be at least 1")}
	case f.peers > lab.MaxPeers:
		return usageError{fmt.Errorf("--peers %d: at most %d", f.peers, lab.MaxPeers)}
	case f.flood.AttributeSets < 0 || f.flood.PerUpdate < 0:
		return usageError{errors.New("--attribute-sets and --per-update must not be negative")}
	}
	switch from := f.station.From; {
	case f.compare && !f.bmp:
		return usageError{errors.New("--compare runs with BMP and without: leave out --bmp")}
	case !f.bmp && f.station != (experiment.Treatment{}):
		return usageError{fmt.Errorf("--station %v: there is none with --bmp=false", f.station)}
	case from != "" && (from == session.Running) != (f.cycleExec != ""):
		return usageError{fmt.Errorf("--station %v: the phases of a cycle are running with --cycle-exec, and flooding, flooded and dropping without", f.station)}
	}
	if err := f.validateInput(changed); err != nil {
		return err
	}
	// Churn is a part of the flood.
	var churn time.Duration
	if f.flood.Churn > 0 {
		churn = f.flood.ChurnFor
	}
	if f.limit == 0 {
		f.limit = 10*time.Minute + churn
	}
	if f.limit <= churn {
		return usageError{fmt.Errorf("--limit %v: must be more than --churn-for %v", f.limit, churn)}
	}
	return nil
}
