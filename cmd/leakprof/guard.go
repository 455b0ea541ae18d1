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

	"leakprof/bpf"
	"leakprof/profiler"
	"leakprof/profiler/experiment"
	"leakprof/profiler/guard"
	"leakprof/profiler/plan"
	"leakprof/profiler/target"
)

// guardFlags keep what probes cost BIRD in bounds.
type guardFlags struct {
	estimate    time.Duration
	maxOverhead percentFlag
}

func (g *guardFlags) register(flags *pflag.FlagSet) {
	flags.DurationVar(&g.estimate, "estimate", guard.DefaultCounting, "before attaching, count for `D` what the probes would be hit by, and say what they would cost; 0: do not")
	flags.Var(&g.maxOverhead, "max-overhead", "the probes may take `PERCENT` of one core: if they would, or do, take more, or BIRD loses a session because a timer ran out, go on in a cheaper mode, or take them off and end")
}

// leastEstimate is the shortest time in which anything can be counted.
const leastEstimate = 100 * time.Millisecond

func (g *guardFlags) validate() error {
	if g.estimate != 0 && g.estimate < leastEstimate {
		return usageError{fmt.Errorf("--estimate %v: want at least %v, or 0 for none", g.estimate, leastEstimate)}
	}
	return nil
}

// limit is what the probes may take, in cores; 0: no limit.
func (g *guardFlags) limit() float64 { return float64(g.maxOverhead) / 100 }

// before estimates what attaching would cost, says so, and makes the options
// cheaper where there is a limit that they would exceed.
func (g *guardFlags) before(ctx context.Context, o *profiler.Options) (a guard.Account, err error) {
	a.Limit = g.limit()
	if o.Plan.Mode == plan.Auto && g.limit() > 0 {
		return a, usageError{errors.New("--max-overhead: not with --mode auto, which chooses its probes as it goes; run --mode pages, or walk for none")}
	}
	if o.Plan.Mode.Walks() {
		return guard.Account{}, nil // nothing to count, and nothing to guard from
	}
	if g.estimate == 0 {
		return a, nil
	}
	planned, closePlan, err := makePlan(strconv.Itoa(o.PID), "", o.Plan)
	if err != nil {
		return a, err
	}
	defer closePlan()
	if err := planned.Refusal(); err != nil && !o.Partial {
		return a, err
	}
	process, err := target.Open(o.PID)
	if err != nil {
		return a, err
	}
	defer process.Close()
	// Counting probes the same places.
	if err := profiler.Prove(process, planned, bpf.AttachBest); err != nil {
		return a, err
	}
	say(os.Stderr, "counting for %v what the probes would be hit by", g.estimate)
	if a.Estimate, err = guard.Count(ctx, process, planned, g.estimate, a.Limit, bpf.AttachBest); err != nil {
		return a, err
	}
	say(os.Stderr, "%v", a.Estimate)
	if a.Limit == 0 {
		return a, nil
	}
	modes := a.Estimate.Modes
	i, ok := a.Estimate.Fitting(a.Limit)
	if !ok {
		least := modes[len(modes)-1]
		return a, fmt.Errorf("attach to pid %d: even %s would take more than --max-overhead %v; wait until BIRD has less to do, or allow --max-overhead %.0f",
			o.PID, least.Options, g.maxOverhead, math.Ceil(100*least.Extra))
	}
	if i > 0 {
		step := guard.Step{Time: time.Now(), From: modes[0].Options, To: modes[i].Options, Share: modes[0].Extra, Reason: "by the estimate it would take more than the limit"}
		a.Steps = append(a.Steps, step)
		o.Plan = step.To
		say(os.Stderr, "warning: %v (--max-overhead %v)", step, g.maxOverhead)
	}
	return a, nil
}

// watch lets what the probes of an experiment cost be watched from when they are
// placed, where there is a limit.
func (g *guardFlags) watch(c *experiment.Config, o *profiler.Options, before guard.Account) {
	c.Estimate = before.Estimate
	if before.Limit == 0 {
		return
	}
	o.Placed = func(p *profiler.Profiler) (stop func(), err error) {
		if c.Guard, err = guard.Watch(p, before); err != nil {
			return nil, err
		}
		return c.Guard.Close, nil
	}
}

// percentFlag is a share in percent, 0 for none.
type percentFlag float64

// Set reads "20", "2.5" or "20%" (pflag.Value).
func (p *percentFlag) Set(text string) error {
	v, err := strconv.ParseFloat(strings.TrimSuffix(text, "%"), 64)
	if err != nil || !(v > 0 && v <= 1e6) {
		return fmt.Errorf("%q is no percentage such as 20", text)
	}
	*p = percentFlag(v)
	return nil
}

// String is what help prints as the default, and what was given.
func (p percentFlag) String() string {
	if p == 0 {
		return ""
	}
	return strconv.FormatFloat(float64(p), 'g', -1, 64)
}

// Type is what help calls the value (pflag.Value).
func (p *percentFlag) Type() string { return "PERCENT" }
