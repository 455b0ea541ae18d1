// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"leakprof/collector/bgp"
	"leakprof/collector/lab"
)

// inputFlags say what the lab's BIRD is fed with, and how it is taken away again.
type inputFlags struct {
	mrt      string
	ipv6     int // percent of the routes
	churn    rateFlag
	churnFor time.Duration
	drop     bgp.Drop
	kernel   bool
	config   string
}

func (f *inputFlags) register(flags *pflag.FlagSet) {
	flags.StringVar(&f.mrt, "mrt", "", "announce the routes of the table dump `FILE` (MRT TABLE_DUMP_V2; plain, gzip or bzip2) instead, spread over the peers; --routes is then the most per peer")
	flags.IntVar(&f.ipv6, "ipv6", 0, "let `PERCENT` of each peer's routes be IPv6")
	flags.Var(&f.churn, "churn", "once the routes are in, withdraw `N/s` of them, all peers together, and announce them again, for the time of --churn-for; the flooded state is looked at when that is over")
	flags.Lookup("churn").DefValue = ""
	flags.DurationVar(&f.churnFor, "churn-for", 10*time.Second, "how long, `D`, --churn goes on in each cycle")
	flags.TextVar(&f.drop, "drop", bgp.DropNotification, "end sessions by `HOW`: notification (Cease), reset (of the TCP connection) or silence (until BIRD's hold timer has expired, after 3 s)")
	flags.BoolVar(&f.kernel, "kernel", false, "let BIRD export its routes into the kernel's table, in a network namespace of the lab's own, and wait until they are in and gone")
	flags.StringVar(&f.config, "config", "", "run BIRD with your configuration `FILE`, the lab's peers and BMP station added, in a network namespace of its own: it reaches nobody else and no route of this machine")
}

// routeFlags are those that describe generated routes, and that --mrt and --preset leave
// no room for.
var routeFlags = []string{"attribute-sets", "per-update", "overlap", "ipv6"}

// validateInput refuses what makes no sense, and completes the flood.
func (f *labFlags) validateInput(changed func(name string) bool) error {
	in := &f.input
	switch {
	case in.ipv6 < 0 || in.ipv6 > 100:
		return usageError{fmt.Errorf("--ipv6 %d: want 0 to 100 percent", in.ipv6)}
	case in.churnFor <= 0:
		return usageError{fmt.Errorf("--churn-for %v: must be more than 0", in.churnFor)}
	case changed("churn-for") && in.churn == 0:
		return usageError{errors.New("--churn-for says how long --churn N/s goes on: give both")}
	case in.mrt != "" && f.preset != "":
		return usageError{errors.New("--mrt and --preset both say what is announced: give one of them")}
	}
	for _, name := range routeFlags {
		if in.mrt != "" && changed(name) {
			return usageError{fmt.Errorf("--mrt says what is announced: leave out --%s", name)}
		}
	}
	if in.mrt != "" && !changed("routes") {
		f.flood.Routes = 0 // all that there are
	}
	f.flood.IPv6 = int(int64(f.flood.Routes) * int64(in.ipv6) / 100)
	f.flood.Churn, f.flood.ChurnFor, f.flood.Drop = float64(in.churn), in.churnFor, in.drop
	return nil
}

// readDump reads the dump of --mrt, if there is one, and says what it has.
func (f *labFlags) readDump(ctx context.Context) error {
	if f.input.mrt == "" {
		return nil
	}
	shown := time.Now()
	dump, err := lab.ReadDump(ctx, f.input.mrt, f.peers, f.flood.Routes, f.input.kernel, func(read, size int64, routes int) {
		if time.Since(shown) < dumpProgress {
			return
		}
		shown = time.Now()
		share := ""
		if size > 0 {
			share = fmt.Sprintf(" %d %%,", 100*read/size)
		}
		say(os.Stderr, "reading %s:%s %d routes", f.input.mrt, share, routes)
	})
	if err != nil {
		return err
	}
	f.flood.Dump = dump
	s := dump.Stats
	say(os.Stderr, "%s: %d routes to %d prefixes, %d of them IPv6%s", f.input.mrt, s.Routes, s.Prefixes, s.IPv6, leftOut(s))
	return nil
}

// dumpProgress is how often the progress of a large dump is shown.
const dumpProgress = 2 * time.Second

// leftOut says what of a dump BIRD would have refused.
func leftOut(s bgp.DumpStats) string {
	var out []string
	for _, l := range []struct {
		n    int
		what string
	}{
		{s.Martians, "martian prefixes"},
		{s.Repeated, "repeated prefixes"},
		{s.Looped, "routes with the lab's AS number"},
		{s.Malformed, "malformed routes"},
	} {
		if l.n > 0 {
			out = append(out, fmt.Sprintf("%d %s", l.n, l.what))
		}
	}
	if len(out) == 0 {
		return ""
	}
	return "; left out: " + strings.Join(out, ", ")
}

// describe says what the peers announce.
func (f *labFlags) describe() string {
	if f.flood.Dump != nil {
		return fmt.Sprintf("%d peers with %d routes in all", f.peers, f.flood.Dump.Stats.Routes)
	}
	return fmt.Sprintf("%d peers with %d routes each", f.peers, f.flood.Routes)
}

// apply puts the input into the lab's configuration. The returned function gives up what
// the lab needs as long as it runs.
func (f *labFlags) apply(c *lab.Config) (release func() error, err error) {
	c.IPv6, c.Kernel, c.Include = f.flood.HasIPv6(), f.input.kernel, f.input.config
	if c.Kernel || c.Include != "" {
		if c.Namespace, err = lab.NewNamespace(); err != nil {
			return nil, err
		}
	}
	return c.Namespace.Close, nil
}

// rateFlag is a number of routes per second.
type rateFlag float64

const maxRate = 1e7 // what no BIRD takes

func (r *rateFlag) Set(s string) error {
	n, err := strconv.ParseFloat(strings.TrimSuffix(s, "/s"), 64)
	if err != nil || math.IsNaN(n) || n < 0 || n > maxRate {
		return fmt.Errorf("want a number of routes per second up to %.0e, such as 1000/s", float64(maxRate))
	}
	*r = rateFlag(n)
	return nil
}

func (r *rateFlag) String() string { return strconv.FormatFloat(float64(*r), 'g', -1, 64) + "/s" }

func (r *rateFlag) Type() string { return "rate" }
