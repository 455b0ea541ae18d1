// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"leakprof/profiler/report"
	"leakprof/profiler/terminal"
)

type diffFlags struct {
	json bool
	top  int
}

func diffCommand() *cobra.Command {
	var f diffFlags
	c := &cobra.Command{
		Use:   "diff A B",
		Short: "Compare the reports of two runs",
		Long: `Compares what two runs wrote into their --out directories: both verdicts, the
call stacks that retain memory in one run only, those in both, and the tables
side by side. Stacks of one build of BIRD are compared by their addresses, those
of two builds by the names of their functions.`,
		Example: `  leakprof diff with-bmp without-bmp
  leakprof diff before-fix after-fix --json`,
		Args: arguments("A", "B"),
		RunE: func(c *cobra.Command, args []string) error {
			return runDiff(c.OutOrStdout(), args[0], args[1], &f)
		},
	}
	c.Flags().BoolVar(&f.json, "json", false, "print JSON")
	registerTop(c, &f.top)
	return c
}

func runDiff(stdout io.Writer, a, b string, f *diffFlags) error {
	if f.top < 1 {
		return usageError{fmt.Errorf("--top %d: must be at least 1", f.top)}
	}
	var sides [2]report.Side
	for i, dir := range []string{a, b} {
		d, err := loadReport(dir)
		if err != nil {
			return err
		}
		sides[i] = report.Side{Name: dir, Document: d}
	}
	c := report.Compare(sides[0], sides[1])
	if f.json {
		return c.WriteJSON(terminal.JSON(stdout))
	}
	return c.WriteText(stdout, textOptions(stdout, f.top))
}
