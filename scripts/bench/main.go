// SPDX-License-Identifier: Apache-2.0

// Bench measures what leakprof costs: a BIRD's CPU time for a flood and a drop under
// each mode, with nothing, with empty programs at the same sites, and under other
// profilers, in rounds of a random order each. See docs/performance.md.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"leakprof/collector/lab"
)

const usage = `usage: bench COMMAND [flags]

  flood     run floods and drops, print their tables, and leave the runs in -out
  timings   measure what else takes time or memory, and print a table with limits
  leaks     run a program that leaks under other profilers, and print whether they see it
  plots     measure what a hit costs by live objects and by threads, and draw it
  doc       put the tables into docs/performance.md
  table     print the tables of an earlier flood again

-h after a command has its flags.
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	commands := map[string]func(context.Context, []string) error{"flood": runFlood, "table": runTable, "timings": runTimings, "plots": runPlots, "leaks": runLeaks, "doc": runDoc}
	var name string
	if len(os.Args) > 1 {
		name = os.Args[1]
	}
	command, ok := commands[name]
	if !ok {
		fmt.Fprint(os.Stderr, usage)
		os.Exit(2)
	}
	if err := command(ctx, os.Args[2:]); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		os.Exit(1)
	}
}

// birds are NAME=PATH pairs.
type birds []struct{ name, path string }

func (b *birds) String() string { return "" }

func (b *birds) Set(text string) error {
	name, path, ok := strings.Cut(text, "=")
	if !ok || name == "" || path == "" {
		return fmt.Errorf("want NAME=PATH")
	}
	*b = append(*b, struct{ name, path string }{name, path})
	return nil
}

// fullRoutes, of each of four peers, is what limits are for.
const fullRoutes = 290_000

// floodFlags are what of floods can be chosen.
type floodFlags struct {
	birds    birds
	leakprof string
	path     string // of leakprof, whatever directory we are in
	out      string
	only     string
	peers    int
	routes   int
	rounds   int
	others   int // rounds in which others take part
	threads  int
	seed     uint64
	limit    time.Duration
}

func (f *floodFlags) register(flags *flag.FlagSet) {
	flags.Var(&f.birds, "bird", "a BIRD to run, `NAME=PATH`; can be given several times")
	flags.StringVar(&f.leakprof, "leakprof", "bin/leakprof", "the leakprof to measure")
	flags.StringVar(&f.out, "out", "bench-out", "the `directory` for raw runs and tables")
	flags.StringVar(&f.only, "only", "", "these variants only, separated by commas (default: all)")
	flags.IntVar(&f.peers, "peers", 4, "BGP peers")
	flags.IntVar(&f.routes, "routes", fullRoutes, "routes per peer")
	flags.IntVar(&f.rounds, "rounds", 7, "rounds, in each of which every variant is run once")
	flags.IntVar(&f.others, "others", math.MaxInt, "in how many of the rounds other profilers take part (default: all)")
	flags.IntVar(&f.threads, "threads", 0, "BIRD 3's worker threads (default: what BIRD chooses)")
	flags.Uint64Var(&f.seed, "seed", uint64(time.Now().UnixNano()), "of the order in the rounds")
	flags.DurationVar(&f.limit, "limit", 10*time.Minute, "how long a run may take")
}

func runFlood(ctx context.Context, args []string) error {
	var f floodFlags
	flags := flag.NewFlagSet("bench flood", flag.ContinueOnError)
	f.register(flags)
	if err := flags.Parse(args); err != nil {
		return err
	}
	if err := f.prepare(); err != nil {
		return err
	}
	chosen, err := f.variants()
	if err != nil {
		return err
	}
	machine := fmt.Sprintf("%sseed %d\n", describeMachine(), f.seed)
	fmt.Print(machine)
	if err := os.WriteFile(filepath.Join(f.out, "machine.txt"), []byte(machine), 0o644); err != nil {
		return err
	}
	raw, err := os.Create(filepath.Join(f.out, "runs.jsonl"))
	if err != nil {
		return err
	}
	defer raw.Close()
	setups, err := f.setups(ctx)
	if err != nil {
		return err
	}
	runs, err := rounds(ctx, setups, chosen, f, raw)
	if len(runs) == 0 {
		return err
	}
	// What there is of an interrupted one stands.
	var tables, each strings.Builder
	if err := errors.Join(writeTables(&tables, runs), writeRuns(&each, runs)); err != nil {
		return err
	}
	fmt.Printf("\n%s", tables.String())
	return errors.Join(err,
		os.WriteFile(filepath.Join(f.out, "runs.txt"), []byte(each.String()), 0o644),
		os.WriteFile(filepath.Join(f.out, "tables.txt"), []byte(tables.String()), 0o644),
		raw.Close())
}

// prepare checks what was given, and makes the directory.
func (f *floodFlags) prepare() (err error) {
	if f.peers < 1 || f.peers > lab.MaxPeers || f.routes < 1 || f.rounds < 1 {
		return fmt.Errorf("-peers %d -routes %d -rounds %d: want at least 1 of each, and at most %d peers", f.peers, f.routes, f.rounds, lab.MaxPeers)
	}
	if len(f.birds) == 0 {
		return errors.New("no BIRD: give one with -bird NAME=PATH; scripts/bird-root prints paths")
	}
	if f.path, err = filepath.Abs(f.leakprof); err != nil {
		return err
	}
	if _, err := os.Stat(f.path); err != nil {
		return fmt.Errorf("%w: make build, or give another with -leakprof PATH", err)
	}
	return os.MkdirAll(f.out, 0o755)
}

// setups are the floods that the flags ask for.
func (f *floodFlags) setups(ctx context.Context) (all []setup, err error) {
	for _, b := range f.birds {
		binary, err := lab.Find(ctx, b.path)
		if err != nil {
			return nil, err
		}
		all = append(all, setup{name: b.name, binary: binary, peers: f.peers, routes: f.routes, threads: f.threads})
	}
	return all, nil
}

// variants are those that the flags choose. That of nothing is always one of them.
func (f *floodFlags) variants() ([]variant, error) {
	all := variants(f.path)
	for _, o := range others {
		all = append(all, o.variant())
	}
	if f.only == "" {
		return all, nil
	}
	chosen := slices.Clone(all[:1])
	for _, name := range strings.Split(f.only, ",") {
		i := slices.IndexFunc(all, func(v variant) bool { return v.name == strings.TrimSpace(name) })
		if i < 0 {
			var names []string
			for _, v := range all {
				names = append(names, v.name)
			}
			return nil, fmt.Errorf("-only %q: there are %s", name, strings.Join(names, ", "))
		}
		if i > 0 {
			chosen = append(chosen, all[i])
		}
	}
	return chosen, nil
}

func runTable(_ context.Context, args []string) error {
	flags := flag.NewFlagSet("bench table", flag.ContinueOnError)
	out := flags.String("out", "bench-out", "the `directory` of the raw runs")
	if err := flags.Parse(args); err != nil {
		return err
	}
	file, err := os.Open(filepath.Join(*out, "runs.jsonl"))
	if err != nil {
		return err
	}
	defer file.Close()
	runs, err := readRuns(file)
	if err != nil {
		return err
	}
	return writeTables(os.Stdout, runs)
}

// readRuns reads lines of JSON.
func readRuns(r io.Reader) (runs []run, err error) {
	for d := json.NewDecoder(r); ; {
		var one run
		if err := d.Decode(&one); err == io.EOF {
			return runs, nil
		} else if err != nil {
			return nil, fmt.Errorf("read runs: %w", err)
		}
		runs = append(runs, one)
	}
}
