// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"text/tabwriter"

	"leakprof/profiler/plan"
)

// mostThreads is up to how many threads of BIRD cost is plotted, if the machine has as
// many processors.
const mostThreads = 16

// objectsPerRoute is about how many live objects a route makes of BIRD 3, to choose floods
// by: plotted is what there were.
const objectsPerRoute = 2.5

// runPlots measures what a hit costs by live objects and by threads, and draws it.
func runPlots(ctx context.Context, args []string) error {
	var f floodFlags
	flags := flag.NewFlagSet("bench plots", flag.ContinueOnError)
	f.register(flags)
	most := flags.Int("objects", 10_000_000, "live objects at most, in powers of ten from 10,000 on")
	docs := flags.String("docs", "docs", "the `directory` for the drawings")
	redraw := flags.Bool("redraw", false, "draw the runs that are in -out, and measure nothing")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if err := f.prepare(); err != nil {
		return err
	}
	f.only = "exact," + floorOf("exact")
	chosen, err := f.variants()
	if err != nil {
		return err
	}
	bases, err := f.setups(ctx)
	if err != nil {
		return err
	}
	fmt.Print(describeMachine())
	base := bases[0]
	var byObjects, byThreads []setup
	for n := 10_000; n <= *most; n *= 10 {
		s := base
		s.routes = max(int(float64(n)/objectsPerRoute)/s.peers, 1)
		byObjects = append(byObjects, s)
	}
	for n := 1; n <= min(runtime.NumCPU(), mostThreads); n *= 2 {
		s := base
		s.threads = n
		byThreads = append(byThreads, s)
	}
	title := fmt.Sprintf("BIRD %s: what a hit costs", base.binary.Version)
	for _, p := range []struct {
		name   string
		setups []setup
		draw   func([]run) chart
	}{
		{"objects", byObjects, func(r []run) chart { return plotObjects(title, r) }},
		{"threads", byThreads, func(r []run) chart { return plotThreads(title, r) }},
	} {
		file := filepath.Join(f.out, plotPrefix+p.name+".jsonl")
		runs, err := f.measured(ctx, file, p.setups, chosen, *redraw)
		if err != nil {
			return err
		}
		c := p.draw(runs)
		var table bytes.Buffer
		if err := c.print(&table); err != nil {
			return err
		}
		fmt.Printf("\n%s", table.String())
		if err := os.WriteFile(filepath.Join(f.out, plotPrefix+p.name+".txt"), table.Bytes(), 0o644); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(*docs, drawing(p.name)), []byte(c.svg()), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// measured are the runs of a plot, which are written to the file, or those that are in it.
func (f *floodFlags) measured(ctx context.Context, file string, setups []setup, chosen []variant, there bool) ([]run, error) {
	if there {
		raw, err := os.Open(file)
		if err != nil {
			return nil, err
		}
		defer raw.Close()
		return readRuns(raw)
	}
	raw, err := os.Create(file)
	if err != nil {
		return nil, err
	}
	runs, err := rounds(ctx, setups, chosen, *f, raw)
	return runs, errors.Join(err, raw.Close())
}

func plotObjects(title string, runs []run) chart {
	c := chart{title: title + ", by live objects", x: "live objects after the flood", tick: short}
	c.draw(runs, func(r run) float64 { return float64(r.Routes) }, func(same []run) float64 {
		return spreadOf(values(same, plan.Exact.String(), func(r run) float64 { return float64(r.LiveObjects) })).Median
	})
	// The powers of ten around what there were.
	for x := 1e4; x <= 1e7; x *= 10 {
		if slices.ContainsFunc(runs, func(r run) bool { return float64(r.LiveObjects) > x/3 && float64(r.LiveObjects) < 3*x }) {
			c.ticks = append(c.ticks, x)
		}
	}
	return c
}

func plotThreads(title string, runs []run) chart {
	c := chart{title: title + ", by threads", x: "threads of BIRD"}
	c.tick = func(x float64) string { return fmt.Sprintf("%.0f", x) }
	threads := func(r run) float64 { return float64(r.Threads) }
	c.draw(runs, threads, func(same []run) float64 { return threads(same[0]) })
	for _, p := range c.lines[0].points {
		c.ticks = append(c.ticks, p.x)
	}
	return c
}

// draw makes a line of what a hit costs, and one of what an empty program at the same
// sites does. Runs are of the same point where key says the same; at is where it is.
func (c *chart) draw(runs []run, key func(run) float64, at func(same []run) float64) {
	c.y = "ns of BIRD's CPU time a hit"
	c.lines = []line{{name: "leakprof, exact", color: "#0b62a4"}, {name: "an empty program at the same places", color: "#d9822b"}}
	for _, same := range groups(runs, key) {
		for i, variant := range []string{plan.Exact.String(), floorOf(plan.Exact.String())} {
			if s := spreadOf(costPerHit(same, variant)); s.N > 0 {
				c.lines[i].points = append(c.lines[i].points, point{at(same), s})
			}
		}
	}
}

// groups are the runs of which key says the same, in the order of what it says.
func groups(runs []run, key func(run) float64) (all [][]run) {
	sorted := slices.Clone(runs)
	slices.SortStableFunc(sorted, func(a, b run) int { return int(key(a) - key(b)) })
	for len(sorted) > 0 {
		n := 1
		for n < len(sorted) && key(sorted[n]) == key(sorted[0]) {
			n++
		}
		all, sorted = append(all, sorted[:n]), sorted[n:]
	}
	return all
}

// costPerHit is what a variant adds to BIRD's CPU time of the same round, nanoseconds for
// each hit of leakprof: it alone counts them.
func costPerHit(runs []run, variant string) (all []float64) {
	hits := spreadOf(values(runs, plan.Exact.String(), func(r run) float64 { return float64(r.Hits) })).Median
	if hits == 0 {
		return nil
	}
	alone := make(map[int]float64)
	for _, r := range runs {
		if r.Variant == none && r.Error == "" {
			alone[r.Round] = r.cpu()
		}
	}
	for _, r := range runs {
		if before, ok := alone[r.Round]; ok && r.Variant == variant && r.Error == "" {
			all = append(all, 1e9*(r.cpu()-before)/hits)
		}
	}
	return all
}

// print writes the points as a table.
func (c chart) print(w io.Writer) error {
	fmt.Fprintf(w, "%s: %s\n", c.title, c.y)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(t, "%s\tof\tn\tmedian\tmin-max\t\n", c.x)
	for _, l := range c.lines {
		for _, p := range l.points {
			fmt.Fprintf(t, "%.0f\t%s\t%d\t%.0f\t%.0f-%.0f\t\n", p.x, l.name, p.y.N, p.y.Median, p.y.Min, p.y.Max)
		}
	}
	return t.Flush()
}
