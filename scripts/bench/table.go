// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
)

// writeTables prints one table for each BIRD that there are runs of.
func writeTables(w io.Writer, runs []run) error {
	for i, bird := range distinct(runs, func(r run) string { return r.Bird }) {
		if i > 0 {
			fmt.Fprintln(w)
		}
		of := slices.DeleteFunc(slices.Clone(runs), func(r run) bool { return r.Bird != bird })
		if err := writeTable(w, of); err != nil {
			return err
		}
	}
	return nil
}

// writeTable prints the runs of one BIRD. "CPU of BIRD" is what limits are for: its CPU
// time for flood and drop by that without a profiler in the same round, the median; and
// its spread. The next three are medians of such ratios, too, all others of values.
func writeTable(w io.Writer, runs []run) error {
	first := runs[0]
	alone := spreadOf(values(runs, none, run.cpu))
	fmt.Fprintf(w, "%s (BIRD %s), %d x %d routes with BMP; alone %.3f s of CPU for the flood and %.3f s for the drop (medians of %d)\n",
		first.Bird, first.Version, first.Peers, first.Routes/max(first.Peers, 1),
		spreadOf(values(runs, none, run.floodCPU)).Median, spreadOf(values(runs, none, run.dropCPU)).Median, alone.N)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "variant\tn\tCPU of BIRD\tquartiles\tmin-max\tflood\tdrop\twall\tof floor\thits/route\tits CPU s\tits RSS MB\tits maps MB\tBIRD RSS MB\tforeign %\tlimit\t")
	again := spreadOf(ratios(runs, again, none, run.cpu))
	ratio := func(variant, base string, of func(run) float64) string {
		return number("%.2f", spreadOf(ratios(runs, variant, base, of)).Median)
	}
	order := distinct(runs, func(r run) string { return r.Variant })
	slices.SortStableFunc(order, func(a, b string) int { return rank(a) - rank(b) })
	for _, variant := range order {
		all := spreadOf(ratios(runs, variant, none, run.cpu))
		if all.N == 0 {
			continue
		}
		median := func(format string, of func(run) float64) string {
			return number(format, spreadOf(values(runs, variant, of)).Median)
		}
		floor := spreadOf(ratios(runs, floorOf(variant), none, run.cpu)).Median
		fmt.Fprintln(t, strings.Join([]string{
			variant, strconv.Itoa(all.N),
			fmt.Sprintf("%.2f", all.Median), fmt.Sprintf("%.2f-%.2f", all.LowQuart, all.HighQuart), fmt.Sprintf("%.2f-%.2f", all.Min, all.Max),
			ratio(variant, none, run.floodCPU), ratio(variant, none, run.dropCPU), ratio(variant, none, run.wall),
			ratio(variant, floorOf(variant), run.cpu),
			median("%.2f", run.hitsPerRoute),
			median("%.2f", func(r run) float64 { return r.ToolCPU }),
			median("%.0f", func(r run) float64 { return float64(r.ToolRSS) / 1e6 }),
			median("%.0f", func(r run) float64 { return float64(r.ToolMaps) / 1e6 }),
			median("%.0f", func(r run) float64 { return float64(r.BirdRSS) / 1e6 }),
			median("%.0f", func(r run) float64 { return r.ForeignPercent }),
			judge(first.Version, variant, all, again, floor).String(),
		}, "\t")+"\t")
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, variant := range order {
		if n, all := failures(runs, variant); n > 0 {
			fmt.Fprintf(w, "%s: %d of %d runs say nothing: %s\n", variant, n, all, failure(runs, variant))
		}
		if i := slices.IndexFunc(runs, func(r run) bool { return r.Variant == variant && r.Report != "" }); i >= 0 {
			fmt.Fprintf(w, "%s: %s\n", variant, runs[i].Report)
		}
	}
	for _, variant := range order {
		if s := hitsBy(runs, variant); s != "" {
			fmt.Fprintf(w, "%s, hits per route: %s\n", variant, s)
		}
	}
	return nil
}

// hitsBy is how often each function is hit in a variant, by its last run that says so; ""
// if nothing is.
func hitsBy(runs []run, variant string) string {
	var parts []string
	for _, r := range slices.Backward(runs) {
		if r.Variant != variant || len(r.HitsBy) == 0 {
			continue
		}
		for _, f := range r.HitsBy {
			text := fmt.Sprintf("%s %.3f", f.Function, float64(f.Entered)/float64(max(r.Routes, 1)))
			if f.Returned > 0 {
				text += fmt.Sprintf(" + %.3f returns", float64(f.Returned)/float64(max(r.Routes, 1)))
			}
			parts = append(parts, text)
		}
		break
	}
	return strings.Join(parts, ", ")
}

// writeRuns prints each run in a line.
func writeRuns(w io.Writer, runs []run) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "BIRD\tround\torder\tvariant\tflood CPU s\tdrop CPU s\tflood s\tdrop s\thits\tforeign %\t")
	for _, r := range runs {
		if r.Error != "" {
			continue
		}
		fmt.Fprintf(t, "%s\t%d\t%d\t%s\t%.3f\t%.3f\t%.2f\t%.2f\t%d\t%.1f\t\n",
			r.Bird, r.Round, r.Order, r.Variant, r.Flood.CPU, r.Drop.CPU, r.Flood.Wall, r.Drop.Wall, r.Hits, r.ForeignPercent)
	}
	return t.Flush()
}

// rank is where a variant stands in a table.
func rank(name string) int {
	order := []string{none, again, "walk", "auto", floorOf("pages"), "pages", floorOf("exact"), "exact"}
	if i := slices.Index(order, name); i >= 0 {
		return i
	}
	return len(order)
}

func (r run) wall() float64 { return r.Flood.Wall + r.Drop.Wall }

func (r run) hitsPerRoute() float64 { return float64(r.Hits) / float64(max(r.Routes, 1)) }

// number is a value, "-" if it is nothing.
func number(format string, v float64) string {
	if v == 0 {
		return "-"
	}
	return fmt.Sprintf(format, v)
}

// failure is why a variant's runs say nothing.
func failure(runs []run, variant string) string {
	for _, r := range runs {
		if r.Variant == variant && r.Error != "" {
			return r.Error
		}
	}
	return ""
}

// failures is how many of a variant's runs say nothing, and how many there are.
func failures(runs []run, variant string) (n, all int) {
	for _, r := range runs {
		if r.Variant != variant {
			continue
		}
		if all++; r.Error != "" {
			n++
		}
	}
	return n, all
}

// distinct are what of says of runs, each once, in the order of their appearance.
func distinct(runs []run, of func(run) string) (all []string) {
	for _, r := range runs {
		if name := of(r); !slices.Contains(all, name) {
			all = append(all, name)
		}
	}
	return all
}
