// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/sys/unix"

	"leakprof/profiler"
)

//go:embed testdata/leak.c
var leakSource string

// leak is one program that leaks a known number of bytes, a line in leaks.jsonl.
type leak struct {
	Variant string  `json:"variant"`
	Round   int     `json:"round"`
	Kept    int     `json:"kept"`  // blocks
	Pairs   int     `json:"pairs"` // of a malloc and its free, beside
	CPU     float64 `json:"cpu_s"` // of the program for both
	Truth   int64   `json:"leaked_bytes"`
	Says    int64   `json:"says_bytes"` // what the profiler says
	ToolCPU float64 `json:"tool_cpu_s,omitempty"`
	ToolRSS int64   `json:"tool_peak_rss_bytes,omitempty"`
	Maps    int64   `json:"tool_maps_bytes,omitempty"`
	RSS     int64   `json:"peak_rss_bytes"` // of the program
	Error   string  `json:"error,omitempty"`
}

func runLeaks(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("bench leaks", flag.ContinueOnError)
	out := flags.String("out", "bench-out", "the `directory` for raw runs and tables")
	kept := flags.Int("kept", 100_000, "blocks that leak")
	pairs := flags.Int("pairs", 1_000_000, "blocks that are freed")
	n := flags.Int("rounds", 7, "rounds, in each of which every profiler is run once")
	seed := flags.Uint64("seed", uint64(time.Now().UnixNano()), "of the order in the rounds")
	limit := flags.Duration("limit", 10*time.Minute, "how long a run may take")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *kept < 0 || *pairs < 0 || *n < 1 {
		return errors.New("-kept, -pairs, -rounds: want numbers")
	}
	if err := os.MkdirAll(*out, 0o755); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "leakprof-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	program := filepath.Join(dir, "leak")
	build := exec.CommandContext(ctx, "gcc", "-O2", "-g", "-o", program, "-xc", "-")
	build.Stdin = strings.NewReader(leakSource)
	if text, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build testdata/leak.c: %w: %s; apt-get install -y gcc libc6-dev", err, text)
	}
	fmt.Print(describeMachine())
	raw, err := os.Create(filepath.Join(*out, fmt.Sprintf("leaks-%d.jsonl", *kept)))
	if err != nil {
		return err
	}
	defer raw.Close()
	encoder := json.NewEncoder(raw)
	all := append([]other{{name: none}, {name: again}, ourselves}, others...)
	var leaks []leak
rounds:
	for round := range *n {
		for _, i := range shuffled(len(all), *seed, round) {
			l := leak{Variant: all[i].name, Round: round + 1, Kept: *kept, Pairs: *pairs}
			if err := all[i].leak(ctx, program, *limit, &l); err != nil {
				l.Error = err.Error()
			}
			if ctx.Err() != nil {
				break rounds // what there is stands
			}
			leaks = append(leaks, l)
			if err := encoder.Encode(l); err != nil {
				return fmt.Errorf("write run: %w", err)
			}
			fmt.Fprintf(os.Stderr, "%d/%d  %s: %.3f s, says %d of %d %s\n", len(leaks), *n*len(all), l.Variant, l.CPU, l.Says, l.Truth, l.Error)
		}
	}
	if len(leaks) == 0 {
		return context.Cause(ctx)
	}
	var table strings.Builder
	if err := writeLeaks(&table, leaks); err != nil {
		return err
	}
	fmt.Print("\n" + table.String())
	return errors.Join(context.Cause(ctx), os.WriteFile(filepath.Join(*out, fmt.Sprintf("leaks-%d.txt", *kept)), []byte(table.String()), 0o644))
}

// ourselves is leakprof for blocks alone: the program is no BIRD.
var ourselves = other{
	name: "leakprof, blocks", needs: []string{"/proc/self/exe"},
	attach: func(ctx context.Context, _ string, v victim) (attached, error) {
		p, err := profiler.Attach(ctx, profiler.Options{PID: v.pid, AnyProgram: true})
		if err != nil {
			return nil, err
		}
		return &own{inside{}, p}, nil
	},
	report: func(_ context.Context, _ place, a attached) (sum int64, err error) {
		s, err := a.(*own).Snapshot()
		if err != nil {
			return 0, err
		}
		for _, b := range s.Blocks {
			sum += int64(b.Size)
		}
		return sum, nil
	},
}

// own is leakprof in this process.
type own struct {
	inside
	*profiler.Profiler
}

func (o *own) Close() error { return o.Profiler.Close() }

// leak runs the program beside a profiler.
func (o other) leak(ctx context.Context, program string, limit time.Duration, l *leak) (err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("not done after %v (-limit)", limit))
	defer cancel()
	dir, err := os.MkdirTemp("", "leakprof-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	p := place{here: dir, inside: dir}
	found := ""
	if len(o.needs) > 0 {
		if found, err = o.find(); err != nil {
			return err
		}
	}
	var env []string
	var a attached
	defer func() {
		if a != nil {
			err = errors.Join(err, a.Close())
		}
	}()
	if o.begin != nil {
		if env, a, err = o.begin(ctx, found, p); err != nil {
			return err
		}
	}
	// A C library of its own: probes in a file are hit by all that have it mapped.
	libc, err := os.ReadFile(findLibrary("", "libc.so.6"))
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "libc.so.6"), libc, 0o755)
	}
	if err != nil {
		return err
	}
	v := exec.CommandContext(ctx, program)
	v.Env = append(append(os.Environ(), "LD_LIBRARY_PATH="+dir), env...)
	v.SysProcAttr = &unix.SysProcAttr{Setpgid: true}
	in, err := v.StdinPipe()
	if err != nil {
		return err
	}
	pipe, err := v.StdoutPipe()
	if err != nil {
		return err
	}
	said := bufio.NewReader(pipe)
	if err := v.Start(); err != nil {
		return err
	}
	defer v.Wait()
	defer in.Close()
	do := func(kept, pairs int) (bytes, ns int64, err error) {
		if _, err := fmt.Fprintln(in, kept, pairs); err != nil {
			return 0, 0, err
		}
		_, err = fmt.Fscan(said, &bytes, &ns)
		return bytes, ns, err
	}
	if _, _, err := do(0, 1); err != nil { // it runs, and has all it needs
		return fmt.Errorf("start program: %w", err)
	}
	if o.attach != nil {
		libc, err := libcOf(v.Process.Pid, "")
		if err != nil {
			return err
		}
		if a, err = o.attach(ctx, found, victim{v.Process.Pid, libc}); err != nil {
			return fmt.Errorf("attach: %w", err)
		}
	}
	var ns int64
	if l.Truth, ns, err = do(l.Kept, l.Pairs); err != nil {
		return errors.Join(context.Cause(ctx), fmt.Errorf("run program: %w", err))
	}
	l.CPU = float64(ns) / 1e9
	if l.RSS, err = peakRSS(v.Process.Pid); err != nil {
		return err
	}
	var r run
	if a != nil {
		if _, err := a.CPU(); err != nil {
			return err
		}
		if err := a.Flooded(ctx); err != nil {
			return err
		}
	}
	if o.atEnd {
		in.Close()
		if err := v.Wait(); err != nil {
			return fmt.Errorf("end program: %w", err)
		}
	}
	if o.report != nil {
		if l.Says, err = o.report(ctx, p, a); err != nil {
			return fmt.Errorf("report: %w", err)
		}
	}
	if a != nil {
		if err := a.Finish(ctx, &r); err != nil {
			return err
		}
		l.ToolCPU, l.ToolRSS, l.Maps = r.ToolCPU, r.ToolRSS, r.ToolMaps
	}
	return nil
}

// A report is called right if it is off the truth by no more than a hundredth, since
// heaptrack prints three digits, and what the libraries of profilers keep for themselves.
const (
	rightWithin = 0.01
	libraries   = 200_000 // bytes
)

// writeLeaks prints the table of programs that leak.
func writeLeaks(w io.Writer, leaks []leak) error {
	// The arithmetic is that of floods.
	var runs []run
	for _, l := range leaks {
		runs = append(runs, run{Variant: l.Variant, Round: l.Round, Flood: phase{CPU: l.CPU}, Error: l.Error})
	}
	first := leaks[0]
	alone := spreadOf(values(runs, none, run.cpu))
	fmt.Fprintf(w, "a program that keeps %d blocks of 32 bytes, and allocates and frees %d; alone %.3f s of CPU (median of %d)\n",
		first.Kept, first.Pairs, alone.Median, alone.N)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "profiler\tn\tCPU\tmin-max\tadds ns/call\tof memleak's\tits CPU s\tits RSS MB\tits maps MB\tprogram's RSS MB\tsays MB\tof MB\treport\t")
	order := []string{none, again, ourselves.name}
	for _, o := range others {
		order = append(order, o.name)
	}
	calls := float64(first.Kept + 2*first.Pairs)
	added := func(name string) float64 {
		var all []float64
		for _, l := range leaks {
			if l.Variant == name && l.Error == "" {
				all = append(all, 1e9*(l.CPU-alone.Median)/calls)
			}
		}
		return spreadOf(all).Median
	}
	for _, name := range order {
		ratio := spreadOf(ratios(runs, name, none, run.cpu))
		if ratio.N == 0 {
			continue
		}
		median := func(format string, of func(leak) float64) string {
			var all []float64
			for _, l := range leaks {
				if l.Variant == name && l.Error == "" {
					all = append(all, of(l))
				}
			}
			return number(format, spreadOf(all).Median)
		}
		verdict, share := "-", "-"
		if name != none && name != again {
			verdict = judgeReports(leaks, name)
			if m := added("memleak"); m > 0 {
				share = fmt.Sprintf("%.2f", added(name)/m)
			}
		}
		fmt.Fprintln(t, strings.Join([]string{
			name, strconv.Itoa(ratio.N), fmt.Sprintf("%.2f", ratio.Median), fmt.Sprintf("%.2f-%.2f", ratio.Min, ratio.Max),
			fmt.Sprintf("%.0f", added(name)), share,
			median("%.2f", func(l leak) float64 { return l.ToolCPU }),
			median("%.0f", func(l leak) float64 { return float64(l.ToolRSS) / 1e6 }),
			median("%.0f", func(l leak) float64 { return float64(l.Maps) / 1e6 }),
			median("%.0f", func(l leak) float64 { return float64(l.RSS) / 1e6 }),
			median("%.2f", func(l leak) float64 { return float64(l.Says) / 1e6 }),
			median("%.2f", func(l leak) float64 { return float64(l.Truth) / 1e6 }),
			verdict,
		}, "\t")+"\t")
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, name := range order {
		if n, all := failures(runs, name); n > 0 {
			fmt.Fprintf(w, "%s: %d of %d runs say nothing: %s\n", name, n, all, failure(runs, name))
		}
	}
	return nil
}

// judgeReports says whether a profiler's reports are right.
func judgeReports(leaks []leak, name string) string {
	of := slices.DeleteFunc(slices.Clone(leaks), func(l leak) bool { return l.Variant != name || l.Error != "" })
	right := 0
	for _, l := range of {
		if off := float64(l.Says - l.Truth); max(off, -off) <= rightWithin*float64(l.Truth)+libraries {
			right++
		}
	}
	switch right {
	case len(of):
		return "right"
	case 0:
		return "WRONG"
	}
	return fmt.Sprintf("right in %d of %d", right, len(of))
}
