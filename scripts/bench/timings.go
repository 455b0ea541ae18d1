// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"debug/elf"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"leakprof/collector/session"
	"leakprof/profiler"
	"leakprof/profiler/plan"
	"leakprof/profiler/snapshot"
)

// Limits of what takes time beside hits.
const (
	attachLimit         = 0.3 // s, with symbols
	attachStrippedLimit = 1.0
	detachLimit         = 0.2
	snapshotLimit       = 2.0 // of 5 million live objects
	pprofLimit          = 1.0
	idleLimit           = 1.0 // % of a core
	stationLimit        = 1e6 // messages/s
	speakersLimit       = 2e6 // prefixes/s
	// Bytes, counting the kernel's and our own process with a snapshot.
	blockLimit = 96
	pageLimit  = 128 // of a page with fewer than 8 slots
	slotLimit  = 24  // with 8 or more
)

// benchmark is one of Go's that limits are for.
type benchmark struct {
	pkg, name string
	what      string
	units     []unit
	time      string // -benchtime
	once      bool   // it takes minutes
}

// unit is one that a benchmark reports, and its limit.
type unit struct {
	name, what string
	limit      float64
	atLeast    bool
}

var benchmarks = []benchmark{
	{"./collector/bmp", "Station", "station on one core", []unit{{"messages/s", "", stationLimit, true}}, "1s", false},
	{"./collector/bgp", "Flood", "speakers on one core", []unit{{"prefixes/s", "", speakersLimit, true}}, "1s", false},
	{"./profiler", "Memory", "memory", []unit{
		{"kernel-B/block", ", the kernel's", blockLimit, false},
		{"with-snapshot-B/block", ", all", blockLimit, false},
		{"kernel-B/page", ", the kernel's", pageLimit, false},
		{"with-snapshot-B/page", ", all", pageLimit, false},
		{"kernel-B/slot", ", the kernel's", slotLimit, false},
		{"with-snapshot-B/slot", ", all", slotLimit, false},
	}, "1x", true},
}

func runTimings(ctx context.Context, args []string) error {
	var f floodFlags
	flags := flag.NewFlagSet("bench timings", flag.ContinueOnError)
	f.register(flags)
	if err := flags.Parse(args); err != nil {
		return err
	}
	if err := f.prepare(); err != nil {
		return err
	}
	setups, err := f.setups(ctx)
	if err != nil {
		return err
	}
	machine := describeMachine()
	fmt.Print(machine)
	var all []figure
	for _, s := range setups {
		fmt.Fprintf(os.Stderr, "%s: attaching\n", s.name)
		all = append(all, f.attaching(ctx, s)...)
		fmt.Fprintf(os.Stderr, "%s: looking\n", s.name)
		all = append(all, f.looking(ctx, s)...)
		fmt.Fprintf(os.Stderr, "%s: resting\n", s.name)
		all = append(all, f.resting(ctx, s))
	}
	for _, b := range benchmarks {
		all = append(all, b.run(ctx, f.rounds, f.routes < fullRoutes)...)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	var raw, table bytes.Buffer
	encoder := json.NewEncoder(&raw)
	for _, x := range all {
		if err := encoder.Encode(x); err != nil {
			return err
		}
	}
	if err := writeFigures(&table, all); err != nil {
		return err
	}
	fmt.Print("\n" + table.String())
	return errors.Join(
		os.WriteFile(filepath.Join(f.out, "timings.jsonl"), raw.Bytes(), 0o644),
		os.WriteFile(filepath.Join(f.out, "timings.txt"), table.Bytes(), 0o644))
}

// attaching is how long it takes to attach to a BIRD at rest, from its pid to all probes
// in place and all that it holds taken in, and to detach.
func (f *floodFlags) attaching(ctx context.Context, s setup) []figure {
	attach := figure{What: s.name + ": attach, stripped", Unit: "s", Limit: attachStrippedLimit}
	if hasSymbols(s.binary.Path) {
		attach.What, attach.Limit = s.name+": attach", attachLimit
	}
	detach := figure{What: s.name + ": detach", Unit: "s", Limit: detachLimit}
	// On a machine that others use, too, this says more.
	cpu := figure{What: attach.What + ", CPU time of it", Unit: "s"}
	err := func() (err error) {
		sub, err := s.start(ctx, variant{})
		if sub != nil {
			defer func() { err = errors.Join(err, sub.end(context.WithoutCancel(ctx))) }()
		}
		if err != nil {
			return err
		}
		for range f.rounds {
			before, err := ownCPU()
			if err != nil {
				return err
			}
			begin := time.Now()
			p, err := profiler.Attach(ctx, profiler.Options{PID: sub.bird.PID()})
			if err != nil {
				return err
			}
			attach.Values = append(attach.Values, time.Since(begin).Seconds())
			after, err := ownCPU()
			if err != nil {
				return errors.Join(err, p.Close())
			}
			cpu.Values = append(cpu.Values, (after - before).Seconds())
			begin = time.Now()
			err = p.Detach()
			detach.Values = append(detach.Values, time.Since(begin).Seconds())
			if err := errors.Join(err, p.Close()); err != nil {
				return err
			}
		}
		return nil
	}()
	if err != nil {
		attach.Error = err.Error()
	}
	return []figure{attach, cpu, detach}
}

// hasSymbols says whether a program has a symbol table.
func hasSymbols(path string) bool {
	file, err := elf.Open(path)
	if err != nil {
		return false
	}
	defer file.Close()
	return file.SectionByType(elf.SHT_SYMTAB) != nil
}

// looking is how long a look at a flooded BIRD takes, in this process; and how long
// go tool pprof takes to open what leakprof writes of the same.
func (f *floodFlags) looking(ctx context.Context, s setup) []figure {
	look := figure{What: s.name + ": snapshot", Unit: "s", Limit: snapshotLimit}
	open := figure{What: s.name + ": go tool pprof -top", Unit: "s", Limit: pprofLimit}
	looking := variant{name: "exact", attach: func(ctx context.Context, sub *subject) (attached, error) {
		p, err := profiler.Attach(ctx, profiler.Options{PID: sub.bird.PID(), Plan: plan.Options{Mode: plan.Exact}})
		if err != nil {
			return nil, err
		}
		return &looks{p, f.rounds, &look}, nil
	}}
	if r := measure(ctx, s, looking, f.limit); r.Error != "" {
		look.Error = r.Error
	}
	opening := variant{name: "exact", attach: func(ctx context.Context, sub *subject) (attached, error) {
		a, err := startLeakprof(ctx, f.path, "exact", sub)
		if err != nil {
			return nil, err
		}
		return &opens{a.(*leakprofRun), f.rounds, &open}, nil
	}}
	r := measure(ctx, s, opening, f.limit)
	if r.Error != "" {
		open.Error = r.Error
	}
	look.What += fmt.Sprintf(" of %s live objects", short(float64(r.LiveObjects)))
	return []figure{look, open}
}

// looks takes looks at a flooded BIRD.
type looks struct {
	*profiler.Profiler
	n    int
	into *figure
}

func (*looks) CPU() (time.Duration, error)        { return 0, nil }
func (*looks) Finish(context.Context, *run) error { return nil }

func (l *looks) Flooded(ctx context.Context) error {
	for range l.n {
		begin := time.Now()
		s, err := l.Look(ctx, snapshot.Options{})
		if err != nil {
			return err
		}
		if !s.Quiet {
			return fmt.Errorf("a look at BIRD at rest is not quiet: %s", s.Why)
		}
		l.into.Values = append(l.into.Values, time.Since(begin).Seconds())
	}
	return nil
}

// opens has pprof open the profile of a flooded BIRD.
type opens struct {
	*leakprofRun
	n    int
	into *figure
}

func (o *opens) Finish(ctx context.Context, r *run) error {
	if err := o.leakprofRun.Finish(ctx, r); err != nil {
		return err
	}
	for range o.n {
		begin := time.Now()
		out, err := exec.CommandContext(ctx, "go", "tool", "pprof", "-top", "-nodecount=5", filepath.Join(o.out, "flooded.pb.gz")).CombinedOutput()
		if err != nil {
			return fmt.Errorf("go tool pprof: %w: %s", err, bytes.TrimSpace(out))
		}
		o.into.Values = append(o.into.Values, time.Since(begin).Seconds())
	}
	return nil
}

// restingFor is for how long a leakprof is watched that has nothing to do.
const restingFor = 20 * time.Second

// resting is what leakprof uses of a core beside a BIRD at rest.
func (f *floodFlags) resting(ctx context.Context, s setup) figure {
	idle := figure{What: s.name + ": leakprof beside a BIRD at rest", Unit: "% of a core", Limit: idleLimit}
	err := func() (err error) {
		sub, err := s.start(ctx, variant{})
		if sub != nil {
			defer func() { err = errors.Join(err, sub.end(context.WithoutCancel(ctx))) }()
		}
		if err != nil {
			return err
		}
		c, err := startCommand(ctx, f.path, "attach", "--pid", strconv.Itoa(sub.bird.PID()), "--bmp", "", "--birdc", sub.bird.Control(),
			"--estimate", "0", "--settle", "1s", "--out", filepath.Join(sub.dir, "out"))
		if err != nil {
			return err
		}
		defer c.Close()
		if err := c.await(ctx, string(session.Baseline)+", quiet"); err != nil {
			return err
		}
		before, err := c.CPU()
		if err != nil {
			return err
		}
		select {
		case <-time.After(restingFor):
		case <-ctx.Done():
			return ctx.Err()
		}
		after, err := c.CPU()
		idle.Values = []float64{100 * (after - before).Seconds() / restingFor.Seconds()}
		return err
	}()
	if err != nil {
		idle.Error, idle.Values = err.Error(), nil
	}
	return idle
}

// run runs a benchmark n times, and makes a figure of each unit of each of its parts.
// short asks for a smaller one.
func (b benchmark) run(ctx context.Context, n int, short bool) (all []figure) {
	if b.once {
		n = 1
	}
	command := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-bench", "^Benchmark"+b.name+"$",
		"-benchtime", b.time, "-count", strconv.Itoa(n), fmt.Sprintf("-short=%t", short), "-timeout", "2h", b.pkg)
	line := strings.Join(command.Args, " ")
	fmt.Fprintln(os.Stderr, line)
	out, err := command.CombinedOutput()
	if err != nil {
		// Parts of it may be there.
		all = append(all, figure{What: b.what, Error: fmt.Sprintf("%s: %v: %s", line, err, whyFailed(out))})
	}
	for _, u := range b.units {
		names, values, err := parseBenchmarks(bytes.NewReader(out), u.name)
		if err != nil {
			all = append(all, figure{What: b.what, Error: err.Error()})
		}
		for _, name := range names {
			_, part, _ := strings.Cut(name, "/")
			all = append(all, figure{
				What: fmt.Sprintf("%s: %s%s", b.what, part, u.what), Unit: u.name, Values: values[name], Limit: u.limit, AtLeast: u.atLeast,
			})
		}
	}
	if len(all) == 0 {
		all = append(all, figure{What: b.what, Error: fmt.Sprintf("%s says nothing", line)})
	}
	return all
}

// whyFailed is the first line that says why a test has failed, else the last one.
func whyFailed(out []byte) string {
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	for _, line := range lines {
		if strings.Contains(line, "_test.go:") || strings.HasPrefix(line, "panic:") {
			return strings.TrimSpace(line)
		}
	}
	return lines[len(lines)-1]
}
