// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"leakprof/profiler/bird"
	"leakprof/profiler/bird/structure"
	"leakprof/profiler/plan"
	"leakprof/profiler/symbol"
	"leakprof/profiler/target"
)

func planCommand() *cobra.Command {
	var process, exe string
	var asJSON bool
	var o plan.Options
	var debug debugFlags
	c := &cobra.Command{
		Use:   "plan --pid PID | --exe FILE",
		Short: "Show which probes attach would place, and where",
		Long: `Shows for each event of BIRD's memory where attach would probe it, how the place
was found, and about what a hit costs; or what tells the event instead; then the
allocator functions that the program holds, and what is not covered. It changes
nothing, and a process is not stopped. Of a FILE only what lies in the program
itself can be shown: the C library is that of the process. What a hit costs was
measured elsewhere, unless leakprof doctor --probe-cost has measured it here.

What is found in a stripped BIRD has the symbols of its separate debug file, if
there is one, as a check: probes are placed by the program alone.`,
		Example: `  leakprof plan --pid bird
  leakprof plan --exe /usr/sbin/bird --mode pages --json`,
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := debug.validate(); err != nil {
				return err
			}
			p, closePlan, err := makeNamedPlan(process, exe, o, func(m *target.Module, p *target.Process) (*symbol.Module, error) {
				return debug.open(c.Context(), c.ErrOrStderr(), m, p)
			})
			if err != nil {
				return err
			}
			defer closePlan()
			if asJSON {
				return writePlanJSON(c.OutOrStdout(), p)
			}
			return writePlan(c.OutOrStdout(), p)
		},
	}
	c.Flags().StringVar(&process, "pid", "", pidHelp)
	c.Flags().StringVar(&exe, "exe", "", "the BIRD binary to plan for, `FILE`")
	c.Flags().Var(&o.Mode, "mode", "how closely to follow BIRD: exact, pages, walk or auto (no probe)")
	c.Flags().BoolVar(&o.LinpoolObjects, "linpool-objects", false, "follow each object in linpools, not their chunks alone")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	debug.register(c.Flags())
	return c
}

// makePlan plans for a process or a file.
func makePlan(pidText, exe string, o plan.Options) (*plan.Plan, func(), error) {
	return makeNamedPlan(pidText, exe, o, func(*target.Module, *target.Process) (*symbol.Module, error) { return nil, nil })
}

// makeNamedPlan is makePlan with the names of what open returns for the program,
// whose process is nil for a file.
func makeNamedPlan(pidText, exe string, o plan.Options, open func(*target.Module, *target.Process) (*symbol.Module, error)) (_ *plan.Plan, closeAll func(), err error) {
	if (pidText != "") == (exe != "") {
		return nil, nil, usageError{errors.New("give either --pid PID or --exe FILE")}
	}
	o.Costs = measuredCosts()
	if exe != "" {
		m, err := target.OpenModule(exe)
		if err != nil {
			return nil, nil, err
		}
		p, err := plan.NewForFile(m, o)
		if err != nil {
			m.Close()
			if errors.Is(err, structure.ErrNotBIRD) {
				err = fmt.Errorf("%w; give the file of a BIRD, as in --exe /usr/sbin/bird", err)
			}
			return nil, nil, err
		}
		names, err := open(m, nil)
		if err != nil {
			m.Close()
			return nil, nil, err
		}
		namePlan(p, names)
		return p, func() { m.Close() }, nil
	}
	pid, err := findPID(pidText)
	if err != nil {
		return nil, nil, err
	}
	process, err := target.Open(pid)
	if err != nil {
		return nil, nil, err
	}
	modules, err := process.Modules()
	if err != nil {
		process.Close()
		return nil, nil, err
	}
	closeAll = func() {
		for _, m := range modules {
			m.Close()
		}
		process.Close()
	}
	if len(modules) > 0 {
		_, err = bird.Find(process, modules[0])
	}
	var p *plan.Plan
	if err == nil {
		p, err = plan.New(process, modules, o)
	}
	var names *symbol.Module
	if err == nil {
		names, err = open(modules[0], process)
	}
	if err != nil {
		closeAll()
		return nil, nil, withPIDHint(err)
	}
	namePlan(p, names)
	return p, closeAll, nil
}

// withPIDHint says what to do about a pid that is no BIRD.
func withPIDHint(err error) error {
	if errors.Is(err, bird.ErrNotBIRD) {
		return fmt.Errorf("%w; give the pid of BIRD, as in --pid bird", err)
	}
	return err
}
