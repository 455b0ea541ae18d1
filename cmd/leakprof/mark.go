// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"leakprof/profiler/terminal"
)

func markCommand() *cobra.Command {
	var process string
	c := &cobra.Command{
		Use:   "mark NAME [--pid PID]",
		Short: "Set a mark in a running attach",
		Long: `Tells a running "leakprof attach" what goes on where neither BMP nor BIRD's
control socket does. "flooding", "dropping" and "running" begin that phase,
which ends when things are quiet; "baseline", "flooded" and "settled" end it at
once. Any other name is noted in the report.`,
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
	if pid == 0 {
		var err error
		if pid, err = onlyAttach(); err != nil {
			return err
		}
	}
	var d net.Dialer
	c, err := d.DialContext(ctx, "unix", controlName(pid))
	if errors.Is(err, unix.ECONNREFUSED) {
		return fmt.Errorf("set mark %s: no attach to pid %d is running", name, pid)
	} else if err != nil {
		return fmt.Errorf("set mark %s: %w", name, err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(controlPatience))
	// Who refuses does not read, and says why all the same.
	_, sent := fmt.Fprintf(c, "mark %s\n", name)
	answer, err := bufio.NewReader(io.LimitReader(c, 8*maxControlLine)).ReadString('\n')
	if err != nil {
		return fmt.Errorf("set mark %s: read answer: %w", name, cmp.Or(sent, err))
	}
	// Anybody can listen at a name.
	kind, text, _ := strings.Cut(terminal.Line(strings.TrimSuffix(answer, "\n")), " ")
	if kind != "ok" {
		return errors.New(text)
	}
	fmt.Fprintln(stdout, text)
	return nil
}

// onlyAttach finds the target of the one attach that is running.
func onlyAttach() (int, error) {
	sockets, err := os.ReadFile("/proc/net/unix")
	if err != nil {
		return 0, fmt.Errorf("find attach: %w", err)
	}
	pids := listeningAttaches(string(sockets))
	switch len(pids) {
	case 1:
		return pids[0], nil
	case 0:
		return 0, errors.New("find attach: none is running; start one: leakprof attach --pid bird")
	}
	return 0, usageError{fmt.Errorf("find attach: %d are running; choose one with --pid: %s", len(pids), strings.Trim(fmt.Sprint(pids), "[]"))}
}

// listeningAttaches are the targets of running attaches by the text of
// /proc/net/unix (proc_net(5)): num, refcount, protocol, flags, type, state,
// inode and path of each socket. Their connections have the name too, and not
// the flag.
func listeningAttaches(sockets string) (pids []int) {
	const accepts = 0x10000 // __SO_ACCEPTCON, include/uapi/linux/net.h
	for line := range strings.Lines(sockets) {
		fields := strings.Fields(line)
		if len(fields) != 8 {
			continue
		}
		flags, err := strconv.ParseUint(fields[3], 16, 64)
		number, ok := strings.CutPrefix(fields[7], controlPrefix)
		if pid, bad := strconv.Atoi(number); ok && err == nil && bad == nil && flags&accepts != 0 {
			pids = append(pids, pid)
		}
	}
	slices.Sort(pids)
	return pids
}
