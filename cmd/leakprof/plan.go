// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"leakprof/profiler/bird"
	"leakprof/profiler/bird/structure"
	"leakprof/profiler/plan"
	"leakprof/profiler/target"
)

func planCommand() *cobra.Command {
	var process, exe string
	var asJSON bool
	var o plan.Options
	c := &cobra.Command{
		Use:   "plan --pid PID | --exe FILE",
		Short: "Show which probes attach would place, and where",
		Long: `Shows for each event of BIRD's memory where attach would probe it, how the place
was found, and about what a hit costs; or what tells the event instead; then the
allocator functions that the program holds, and what is not covered. It changes
nothing, and a process is not stopped. Of a FILE only what lies in the program
itself can be shown: the C library is that of the process.`,
		Example: `  leakprof plan --pid bird
  leakprof plan --exe /usr/sbin/bird --mode pages --json`,
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			p, closePlan, err := makePlan(process, exe, o)
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
	c.Flags().Var(&o.Mode, "mode", "how closely to follow slabs: exact (each object) or pages")
	c.Flags().BoolVar(&o.LinpoolObjects, "linpool-objects", false, "follow each object in linpools, not their chunks alone")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func makePlan(pidText, exe string, o plan.Options) (_ *plan.Plan, closeAll func(), err error) {
	if (pidText != "") == (exe != "") {
		return nil, nil, usageError{errors.New("give either --pid PID or --exe FILE")}
	}
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
	if err != nil {
		closeAll()
		return nil, nil, withPIDHint(err)
	}
	return p, closeAll, nil
}

// withPIDHint says what to do about a pid that is no BIRD.
func withPIDHint(err error) error {
	if errors.Is(err, bird.ErrNotBIRD) {
		return fmt.Errorf("%w; give the pid of BIRD, as in --pid bird", err)
	}
	return err
}
