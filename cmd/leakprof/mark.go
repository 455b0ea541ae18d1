// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

func markCommand() *cobra.Command {
	var process string
	c := &cobra.Command{
		Use:   "mark NAME [--pid PID]",
		Short: "Set a mark in a running attach",
		Long: `Tells a running "leakprof attach" what goes on where neither BMP nor BIRD's
control socket does. "flooding", "dropping" and "running" begin that phase, which
ends when things are quiet; "baseline", "flooded" and "settled" end it at once.
Any other name is noted in the report.`,
		Example: `  leakprof mark flooding
  leakprof mark dropping --pid bird
  leakprof mark "router 3 rebooted"`,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usageError{errors.New("one NAME is needed: leakprof mark flooding")}
			}
			pid := 0
			if process != "" {
				var err error
				if pid, err = findPID(process); err != nil {
					return err
				}
			}
			return runMark(c.Context(), c.OutOrStdout(), args[0], pid)
		},
	}
	c.Flags().StringVar(&process, "pid", "", pidHelp+" (default: the only one that is followed)")
	return c
}

// markName is a name that fits a line and a report.
var markName = regexp.MustCompile(`^[^\pC]{1,100}$`)

func checkMark(name string) error {
	if !markName.MatchString(name) || strings.TrimSpace(name) != name || name == "" {
		return fmt.Errorf("mark %q: want 1 to 100 printable characters", name)
	}
	return nil
}

func runMark(ctx context.Context, stdout io.Writer, name string, pid int) error {
	if err := checkMark(name); err != nil {
		return usageError{err}
	}
	path := controlPath(pid)
	if pid == 0 {
		var err error
		if path, err = onlyControl(); err != nil {
			return err
		}
	}
	var d net.Dialer
	c, err := d.DialContext(ctx, "unix", path)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ECONNREFUSED) {
			return fmt.Errorf("set mark %s: no attach to pid %d is running", name, pid)
		}
		return fmt.Errorf("set mark %s: %w", name, err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(controlPatience))
	if _, err := fmt.Fprintf(c, "mark %s\n", name); err != nil {
		return fmt.Errorf("set mark %s: %w", name, err)
	}
	answer, err := bufio.NewReader(io.LimitReader(c, 8*maxControlLine)).ReadString('\n')
	if err != nil {
		return fmt.Errorf("set mark %s: read answer: %w", name, err)
	}
	kind, text, _ := strings.Cut(strings.TrimSuffix(answer, "\n"), " ")
	if kind != "ok" {
		return errors.New(text)
	}
	fmt.Fprintln(stdout, text)
	return nil
}

// onlyControl finds the one attach that is running.
func onlyControl() (string, error) {
	all, err := filepath.Glob(filepath.Join(runtimeDirectory(), "*.sock"))
	if err != nil {
		return "", fmt.Errorf("find attach: %w", err)
	}
	var alive []string
	for _, path := range all {
		// An attach takes a connection without a line for what it is.
		if c, err := net.Dial("unix", path); err == nil {
			c.Close()
			alive = append(alive, path)
		}
	}
	switch len(alive) {
	case 1:
		return alive[0], nil
	case 0:
		return "", errors.New("find attach: none is running; start one: leakprof attach --pid bird")
	}
	var pids []string
	for _, path := range alive {
		pids = append(pids, strings.TrimSuffix(filepath.Base(path), ".sock"))
	}
	return "", usageError{fmt.Errorf("find attach: %d are running; choose one with --pid: %s", len(alive), strings.Join(pids, ", "))}
}
