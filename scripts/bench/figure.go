// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
)

// figure is something else that was measured, a line in timings.jsonl.
type figure struct {
	What   string    `json:"what"`
	Unit   string    `json:"unit"`
	Values []float64 `json:"values"`
	// Limit is the most it may be, or the least with AtLeast; 0: there is none.
	Limit   float64 `json:"limit,omitempty"`
	AtLeast bool    `json:"at_least,omitempty"`
	Error   string  `json:"error,omitempty"` // why there are no values
}

// verdict says whether the median is within the limit.
func (f figure) verdict() string {
	if f.Limit == 0 || len(f.Values) == 0 {
		return "-"
	}
	median, bound := spreadOf(f.Values).Median, "at most"
	within := median <= f.Limit
	if f.AtLeast {
		bound, within = "at least", median >= f.Limit
	}
	text := fmt.Sprintf("%s %s: ", bound, short(f.Limit))
	if !within {
		return text + "NOT within"
	}
	return text + "within"
}

// writeFigures prints the second table.
func writeFigures(w io.Writer, all []figure) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "what\tn\tmedian\tmin-max\tunit\tlimit")
	for _, f := range all {
		if len(f.Values) == 0 {
			continue
		}
		s := spreadOf(f.Values)
		fmt.Fprintf(t, "%s\t%d\t%s\t%s-%s\t%s\t%s\n", f.What, s.N, short(s.Median), short(s.Min), short(s.Max), f.Unit, f.verdict())
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, f := range all {
		if f.Error != "" {
			fmt.Fprintf(w, "%s: nothing measured: %s\n", f.What, f.Error)
		}
	}
	return nil
}

// short is a number with three digits that count.
func short(v float64) string {
	for _, u := range []struct {
		from float64
		name string
	}{{1e6, " M"}, {1e4, " k"}} {
		if v >= u.from {
			if u.from == 1e4 {
				return fmt.Sprintf("%.3g%s", v/1e3, u.name)
			}
			return fmt.Sprintf("%.3g%s", v/u.from, u.name)
		}
	}
	return strconv.FormatFloat(v, 'g', 4, 64)
}

// parseBenchmarks reads what go test -bench prints: by benchmark, without Benchmark and
// the number of processors, what it says in a unit.
// https://go.dev/design/14313-benchmark-format has the format.
func parseBenchmarks(r io.Reader, unit string) (names []string, values map[string][]float64, err error) {
	values = make(map[string][]float64)
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 4 || !strings.HasPrefix(fields[0], "Benchmark") {
			continue
		}
		name := strings.TrimPrefix(fields[0], "Benchmark")
		if i := strings.LastIndexByte(name, '-'); i > 0 {
			if _, err := strconv.Atoi(name[i+1:]); err == nil {
				name = name[:i]
			}
		}
		for i := 2; i+1 < len(fields); i += 2 {
			if fields[i+1] != unit {
				continue
			}
			v, err := strconv.ParseFloat(fields[i], 64)
			if err != nil {
				return nil, nil, fmt.Errorf("read benchmark %s: %w", name, err)
			}
			if values[name] == nil {
				names = append(names, name)
			}
			values[name] = append(values[name], v)
		}
	}
	return names, values, lines.Err()
}
