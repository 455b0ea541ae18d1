// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/pflag"

	"leakprof/profiler"
	"leakprof/profiler/experiment"
	"leakprof/profiler/plan"
	"leakprof/profiler/report"
)

// experimentFlags are what attach and lab have in common.
type experimentFlags struct {
	out       string
	settle    time.Duration
	limit     time.Duration
	cycles    int
	threshold sizeFlag
	objects   int64
	cycleExec string
	failOn    sizeFlag
	maxMemory sizeFlag
	plan      plan.Options
	partial   bool
	debug     debugFlags
}

func (f *experimentFlags) register(flags *pflag.FlagSet, settle time.Duration, cycles int) {
	flags.StringVar(&f.out, "out", "", "write profiles and reports to `DIR` (default: leakprof-PID in the working directory)")
	flags.DurationVar(&f.settle, "settle", settle, "how long, `D`, things must be quiet before a look, and as long again before the second")
	flags.DurationVar(&f.limit, "limit", 0, "how long, `D`, a phase may take to come to rest, and as long what drives it; then it is looked at all the same, or the run ends, and the answer is incomplete (default: no limit; in the lab 10m, and the time of --churn-for)")
	flags.IntVar(&f.cycles, "cycles", cycles, "end after `N` cycles of sessions up and down; 0: when interrupted")
	f.threshold = 256 << 10
	flags.Var(&f.threshold, "threshold", "growth per cycle below `SIZE` is no leak")
	flags.Int64Var(&f.objects, "threshold-objects", 1, "a call stack that holds `N` objects more after each of at least 8 cycles is a leak, however small; 0: it is not")
	flags.StringVar(&f.cycleExec, "cycle-exec", "", "let the shell command `CMD` make each cycle, e.g. 'birdc configure' or 'kill -HUP $LEAKPROF_PID'; $LEAKPROF_SOCKET is BIRD's control socket (found in BIRD's root, it is an open file, /proc/self/fd/3)")
	f.failOn = -1
	flags.Var(&f.failOn, "fail-on-retained", "exit with status 3 if more than `SIZE` is retained per cycle after the first, or lost, or the answer is incomplete")
	flags.Lookup("fail-on-retained").DefValue = "off"
	flags.Var(&f.maxMemory, "max-memory", "kernel memory for the live set, at most `SIZE` (default: an eighth of what is available, 64 MB to 4 GB)")
	flags.Lookup("max-memory").DefValue = ""
	registerPlan(flags, &f.plan)
	f.debug.register(flags)
	flags.BoolVar(&f.partial, "partial", false, "follow what can be followed where this BIRD does not allow all that the mode asks for, instead of refusing")
}

// registerPlan adds the flags that say what is to be followed.
func registerPlan(flags *pflag.FlagSet, o *plan.Options) {
	flags.Var(&o.Mode, "mode", plan.Guarantees)
	flags.BoolVar(&o.LinpoolObjects, "linpool-objects", false, "the stack of each object in a linpool as well, not of its chunks alone (many more hits)")
}

func (f *experimentFlags) validate() error {
	switch {
	case f.settle <= 0:
		return usageError{fmt.Errorf("--settle %v: must be more than 0", f.settle)}
	case f.cycles < 0:
		return usageError{fmt.Errorf("--cycles %d: must not be negative", f.cycles)}
	case f.objects < 0:
		return usageError{fmt.Errorf("--threshold-objects %d: must not be negative", f.objects)}
	case f.limit < 0:
		return usageError{fmt.Errorf("--limit %v: must not be negative", f.limit)}
	}
	return f.debug.validate()
}

func (f *experimentFlags) profiler(pid int) profiler.Options {
	f.plan.Costs = measuredCosts()
	return profiler.Options{PID: pid, MaxMemory: uint64(max(f.maxMemory, 0)), Plan: f.plan, Partial: f.partial}
}

// shownStacks is how many call stacks are printed at most.
const shownStacks = 10

// conclude runs the experiment, prints its report and writes its files.
func (f *experimentFlags) conclude(ctx context.Context, stdout io.Writer, c experiment.Config) error {
	result, err := f.measure(ctx, c, &f.out)
	if result == nil {
		return err
	}
	dir := f.out
	if err != nil {
		dir = "" // its files are not all there
	}
	if err := errors.Join(f.print(stdout, report.NewDocument(result), dir), err); err != nil {
		return err
	}
	return f.judge(result)
}

// measure runs the experiment and writes its files into the directory out,
// which gets its name from the pid if it has none. An error with a result says
// that not all of it could be written.
func (f *experimentFlags) measure(ctx context.Context, c experiment.Config, out *string) (*report.Result, error) {
	if _, err := makeOut(out, c.Process.PID); err != nil {
		return nil, err
	}
	if f.cycleExec != "" {
		socket := ""
		if c.Control != nil {
			socket = c.Control.Path()
		}
		c.Driver, c.Command = nil, cycleCommand(f.cycleExec, c.Process, socket)
	}
	live := newStatusLine(os.Stderr)
	if why := littleRoom(*out); why != "" {
		live.warn(why)
	}
	c.Threshold, c.ThresholdObjects = int64(f.threshold), f.objects
	c.Session.Settle, c.Session.Limit, c.Status, c.Warn = f.settle, f.limit, live.show, live.warn
	result, err := experiment.Run(ctx, c)
	live.end()
	if err != nil {
		return nil, err
	}
	_, err = report.WriteAll(*out, result)
	return result, explainFull(err)
}

// print prints the report of a run whose files are in dir; "" if they are not.
func (f *experimentFlags) print(stdout io.Writer, d *report.Document, dir string) error {
	o := textOptions(stdout, shownStacks)
	o.Dir = dir
	if err := d.WriteText(stdout, o); err != nil {
		return fmt.Errorf("print report: %w", err)
	}
	return nil
}

// judge turns the verdict into the exit status that --fail-on-retained asks
// for.
func (f *experimentFlags) judge(r *report.Result) error {
	if f.failOn < 0 {
		return nil
	}
	if r.Verdict.Kind == report.Incomplete {
		return fmt.Errorf("%w: the answer is incomplete", errRetained)
	}
	for _, c := range r.Cycles {
		if c.Number > 1 && c.Bytes > int64(f.failOn) {
			return fmt.Errorf("%w: %s in cycle %d", errRetained, report.Size(c.Bytes), c.Number)
		}
	}
	// What nothing points at is retained for good, whenever it came.
	if r.Verdict.LostBytes > int64(f.failOn) {
		return fmt.Errorf("%w: %s lost", errRetained, report.Size(r.Verdict.LostBytes))
	}
	return nil
}

// dieFirst makes leakprof what the kernel kills when memory runs out, and not
// the router: the live set, which is the kernel's memory, goes with it. Children
// that are started meanwhile inherit it; undo ends it.
func dieFirst() (undo func()) {
	const file, most = "/proc/self/oom_score_adj", "1000" // proc_pid_oom_score_adj(5)
	before, err := os.ReadFile(file)
	// A refusal does no harm: the live set stops growing long before.
	_ = os.WriteFile(file, []byte(most), 0)
	return func() {
		if err == nil {
			_ = os.WriteFile(file, before, 0)
		}
	}
}
