// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"leakprof/profiler/report"
	"leakprof/profiler/terminal"
)

type reportFlags struct {
	json bool
	html string
	top  int
}

func reportCommand() *cobra.Command {
	var f reportFlags
	c := &cobra.Command{
		Use:   "report DIR",
		Short: "Print the report of an earlier run again",
		Long: `Prints what a run wrote into its --out directory, from report.json alone: also
on another machine, of any kind, and not as root.`,
		Example: `  leakprof report leakprof-4242
  leakprof report leakprof-4242 --json | jq .verdict
  leakprof report leakprof-4242 --html report.html`,
		Args: arguments("DIR"),
		RunE: func(c *cobra.Command, args []string) error {
			return runReport(c.OutOrStdout(), args[0], &f)
		},
	}
	c.Flags().BoolVar(&f.json, "json", false, "print report.json")
	c.Flags().StringVar(&f.html, "html", "", "write the report as a page to `FILE` (- is standard output), and print nothing")
	registerTop(c, &f.top)
	return c
}

func registerTop(c *cobra.Command, top *int) {
	c.Flags().IntVar(top, "top", 10, "print at most `N` call stacks")
}

func runReport(stdout io.Writer, dir string, f *reportFlags) error {
	switch {
	case f.top < 1:
		return usageError{fmt.Errorf("--top %d: must be at least 1", f.top)}
	case f.json && f.html != "":
		return usageError{errors.New("--json and --html are two outputs: choose one")}
	}
	d, err := loadReport(dir)
	if err != nil {
		return err
	}
	switch {
	case f.html == "-":
		return d.WriteHTML(stdout)
	case f.html != "":
		return report.WriteFile(f.html, d.WriteHTML)
	case f.json:
		return d.WriteJSON(terminal.JSON(stdout))
	}
	o := textOptions(stdout, f.top)
	o.Books = true
	// The profiles may have stayed where the run was.
	if _, err := os.Stat(filepath.Join(dir, report.RetainedFile)); err == nil {
		o.Dir = dir
	}
	return d.WriteText(stdout, o)
}

// loadReport reads report.json of a run's directory.
func loadReport(dir string) (*report.Document, error) {
	f, err := os.Open(filepath.Join(dir, report.JSONFile))
	if errors.Is(err, os.ErrNotExist) {
		if _, there := os.Stat(dir); there == nil {
			return nil, fmt.Errorf("read %s: it has no %s: it is no --out directory of leakprof, or its run did not end", dir, report.JSONFile)
		}
	}
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		return nil, fmt.Errorf("read report: %w; give the --out directory of a run", err)
	}
	if err != nil {
		return nil, fmt.Errorf("read report: %w", err)
	}
	defer f.Close()
	d, err := report.ReadJSON(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.Name(), err)
	}
	return d, nil
}

// textOptions are those of where the report is printed: a terminal's width and
// colours, and 100 columns elsewhere.
func textOptions(stdout io.Writer, top int) report.TextOptions {
	o := report.TextOptions{Width: 100, Top: top}
	if file, ok := stdout.(*os.File); ok && term.IsTerminal(int(file.Fd())) {
		o.Color = os.Getenv("NO_COLOR") == ""
		if width, _, err := term.GetSize(int(file.Fd())); err == nil && width > 0 {
			o.Width = width
		}
	}
	return o
}

// arguments wants as many arguments as there are names.
func arguments(names ...string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		switch {
		case len(args) < len(names):
			return usageError{fmt.Errorf("%s is missing; see %s --help", names[len(args)], c.CommandPath())}
		case len(args) > len(names):
			return usageError{fmt.Errorf("unexpected argument %q; see %s --help", args[len(names)], c.CommandPath())}
		}
		return nil
	}
}
