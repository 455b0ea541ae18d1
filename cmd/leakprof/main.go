// SPDX-License-Identifier: Apache-2.0

// Command leakprof says which call stacks allocated the memory that a BIRD
// routing daemon still holds after its BGP peers went down.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

// Exit statuses (docs/design.md, "Contracts").
const (
	exitDone     = 0
	exitError    = 1
	exitUsage    = 2
	exitRetained = 3
)

// helpColumns is how wide --help is: where no terminal is, it goes into pagers
// and mails.
const helpColumns = 80

func main() {
	os.Exit(status(run(context.Background(), os.Args[1:])))
}

// usageError is a command line that makes no sense.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// errRetained asks for exitRetained: the report has been printed already.
var errRetained = errors.New("retained more than --fail-on-retained allows")

// errInterrupted is an end by ^C before there was anything to look at.
var errInterrupted = errors.New("interrupted before there was anything to report")

// status prints an error as one line and maps it to an exit status.
func status(err error) int {
	if err == nil {
		return exitDone
	}
	say(os.Stderr, "%s", strings.ReplaceAll(err.Error(), "\n", "; "))
	var usage usageError
	switch {
	case errors.As(err, &usage):
		return exitUsage
	case errors.Is(err, errRetained):
		return exitRetained
	}
	return exitError
}

func run(ctx context.Context, args []string) error {
	ctx, stop := interruptible(ctx)
	defer stop()
	root := &cobra.Command{
		Use:           "leakprof",
		Short:         "Find what memory BIRD retains, and who allocated it",
		SilenceErrors: true,
		SilenceUsage:  true,
		PersistentPreRunE: func(c *cobra.Command, _ []string) error {
			return checkPlatform(c, runtime.GOARCH)
		},
		Long: `leakprof follows the memory of a running BIRD by eBPF probes on its allocators,
runs the BMP station that BIRD reports to, and says which call stacks allocated
the memory that is still held after the BGP peers went down.`,
	}
	root.SetUsageTemplate(strings.ReplaceAll(root.UsageTemplate(), ".FlagUsages", fmt.Sprintf(".FlagUsagesWrapped %d", helpColumns)))
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return usageError{fmt.Errorf("%w; see %s --help", err, c.CommandPath())}
	})
	root.AddCommand(attachCommand(), bmpCommand(), bundleCommand(), diffCommand(), doctorCommand(), labCommand(), manCommand(), markCommand(), meterCommand(), planCommand(), reportCommand(), treeCommand(), versionCommand())
	if err := completeWords(root); err != nil {
		return err
	}
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err != nil && strings.HasPrefix(err.Error(), "unknown command") {
		return usageError{fmt.Errorf("%w; see leakprof --help", err)}
	}
	if errors.Is(err, context.Canceled) {
		return errInterrupted
	}
	return err
}

// interruptible ends the context at the first ^C, so that a last snapshot is
// taken; the second one ends the program at once. The kernel removes the
// probes either way.
func interruptible(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, unix.SIGINT, unix.SIGTERM)
	go func() {
		<-signals
		say(os.Stderr, "ending with what is known; ^C again to end at once")
		cancel()
		// timeout(1) sends its signal to the process and then to its group.
		time.Sleep(time.Second)
		for len(signals) > 0 {
			<-signals
		}
		<-signals
		os.Exit(exitError)
	}()
	return ctx, func() {
		signal.Stop(signals)
		cancel()
	}
}

// noArguments refuses arguments as wrong usage.
func noArguments(c *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usageError{fmt.Errorf("unexpected argument %q; see %s --help", args[0], c.CommandPath())}
	}
	return nil
}
