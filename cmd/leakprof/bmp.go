// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"leakprof/collector/bmp"
	"leakprof/profiler/privilege"
	"leakprof/profiler/terminal"
)

type bmpFlags struct {
	listen, record, replay, speed string
	json                          bool
	options                       bmp.Options
}

func bmpCommand() *cobra.Command {
	var f bmpFlags
	c := &cobra.Command{
		Use:   "bmp",
		Short: "Run the BMP station alone",
		Long: `Listens for routers that speak BMP (RFC 7854, RFC 8671, RFC 9069) and shows what
they say: a live table on a terminal, a line per event elsewhere, or with --json
every message as one line of JSON. BMP has no authentication: listen where only
your routers can connect. ^C ends it.

With --station it treats routers badly on purpose, to make their queues grow.`,
		Example: `  leakprof bmp --json | jq 'select(.type == "Peer Down Notification")'
  leakprof bmp --record session.bmp
  leakprof bmp --replay session.bmp --speed real
  leakprof bmp --station stall=1000 --receive-buffer 64k`,
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			return runBMP(c.Context(), c.OutOrStdout(), &f, c.Flags().Changed)
		},
	}
	flags := c.Flags()
	flags.StringVar(&f.listen, "listen", bmp.DefaultAddr.String(), "listen at `ADDR`")
	flags.BoolVar(&f.json, "json", false, "print every message as a line of JSON; routers wait for the reader of the output")
	flags.StringVar(&f.record, "record", "", "write every byte with its time to `FILE`, which must not exist")
	flags.StringVar(&f.replay, "replay", "", "instead of listening, play what --record wrote to `FILE`")
	flags.StringVar(&f.speed, "speed", "max", "`HOW` fast --replay goes: \"max\", or \"real\" with the pauses as recorded")
	flags.TextVar(&f.options.Behavior, "station", bmp.Normal, "how to treat routers: `BEHAVIOR` is normal, slow=RATE in bytes per second and connection, stall, or stall=N after N messages")
	flags.Var((*intSizeFlag)(&f.options.ReceiveBuffer), "receive-buffer", "what the kernel keeps per connection of what is not yet read (default: the system's choice, megabytes)")
	flags.DurationVar(&f.options.IdleTimeout, "idle-timeout", 0, "end a connection on which nothing comes for `D` (default: never, BMP has no keepalives)")
	flags.IntVar(&f.options.MaxConnections, "max-connections", 64, "at most `N` routers at once")
	return c
}

// intSizeFlag is a sizeFlag that is an int.
type intSizeFlag int

func (s *intSizeFlag) String() string { return fmt.Sprint(int(*s)) }

func (s *intSizeFlag) Type() string { return "SIZE" }

func (s *intSizeFlag) Set(text string) error {
	var v sizeFlag
	if err := v.Set(text); err != nil {
		return err
	}
	if v > 1<<30 {
		return fmt.Errorf("%q is more than 1G", text)
	}
	*s = intSizeFlag(v)
	return nil
}

// runBMP runs a station, or a replay, until it ends or ctx does, which is no error.
func runBMP(ctx context.Context, stdout io.Writer, f *bmpFlags, changed func(string) bool) error {
	speed := bmp.MaxSpeed
	switch f.speed {
	case "max":
	case "real":
		speed = bmp.RealSpeed
	default:
		return usageError{fmt.Errorf("--speed %q: want real or max", f.speed)}
	}
	if f.replay != "" {
		for _, name := range []string{"listen", "record", "station", "receive-buffer", "idle-timeout"} {
			if changed(name) {
				return usageError{fmt.Errorf("--%s means nothing with --replay", name)}
			}
		}
	} else if changed("speed") {
		return usageError{errors.New("--speed means nothing without --replay")}
	}
	if f.options.MaxConnections < 1 || f.options.IdleTimeout < 0 {
		return usageError{errors.New("--max-connections must be at least 1, and --idle-timeout not negative")}
	}
	addr, err := netip.ParseAddrPort(f.listen)
	if err != nil {
		return usageError{fmt.Errorf("--listen %q: want an address and port such as %s", f.listen, bmp.DefaultAddr)}
	}
	f.options.Addr = addr

	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	out := newLineWriter(stdout, cancel)
	if f.json {
		f.options.OnMessage = func(m bmp.Message) { out.json(m) }
		f.options.OnEvent = func(e bmp.Event) {
			switch e.Body.(type) {
			case bmp.Connected, bmp.Disconnected: // the others are messages
				out.json(e)
			}
		}
	}
	station, done, err := f.start(ctx, speed)
	if err != nil {
		return err
	}
	// All files are open, and strangers talk to us.
	if _, err := privilege.Keep(); err != nil {
		return errors.Join(err, station.Close(), done())
	}
	if f.replay == "" {
		say(os.Stderr, "listening for BMP at %v", station.Addr())
	}
	f.show(station, stdout, out)
	err = errors.Join(station.Close(), done(), out.flush())
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		err = errors.Join(err, cause)
	}
	return err
}

// start starts the station. done closes the recording.
func (f *bmpFlags) start(ctx context.Context, speed bmp.Speed) (_ *bmp.Station, done func() error, err error) {
	done = func() error { return nil }
	if f.replay != "" {
		file, err := os.Open(f.replay)
		if err != nil {
			return nil, nil, err
		}
		station, err := bmp.Replay(ctx, file, speed, f.options)
		if err != nil {
			file.Close()
			return nil, nil, fmt.Errorf("replay %s: %w", f.replay, err)
		}
		return station, file.Close, nil
	}
	if f.record != "" {
		file, err := os.OpenFile(f.record, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return nil, nil, fmt.Errorf("record: %w", err)
		}
		if f.options.Record, err = bmp.NewRecorder(file); err != nil {
			file.Close()
			return nil, nil, err
		}
		done = file.Close
	}
	station, err := bmp.Listen(ctx, f.options)
	if err != nil {
		if f.record != "" {
			done()
			os.Remove(f.record) // nothing is in it
		}
		return nil, nil, err
	}
	return station, done, nil
}

// show prints what happens until the station has ended.
func (f *bmpFlags) show(s *bmp.Station, stdout io.Writer, out *lineWriter) {
	var view bmpView = &bmpLines{out: out}
	if f.json {
		view = bmpNothing{}
	} else if file, ok := stdout.(*os.File); ok && term.IsTerminal(int(file.Fd())) {
		view = newBMPTable(file, s)
	}
	// Apart from Counts: a replay waits for its events to be read, even amid its counting.
	var events sync.WaitGroup
	events.Go(func() {
		for e := range s.Events() {
			view.event(e)
		}
	})
	tick := time.NewTicker(view.interval())
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			view.counts(s.Counts(), time.Now())
			out.flush()
		case <-s.Done():
			events.Wait()
			view.counts(s.Counts(), time.Now())
			return
		}
	}
}

// lineWriter writes lines of several goroutines, buffered. The first error ends the
// program by cancel.
type lineWriter struct {
	mu     sync.Mutex
	w      *bufio.Writer
	cancel context.CancelCauseFunc
}

func newLineWriter(w io.Writer, cancel context.CancelCauseFunc) *lineWriter {
	return &lineWriter{w: bufio.NewWriterSize(w, 64<<10), cancel: cancel}
}

func (w *lineWriter) line(b []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.w.Write(b)
	if err := w.w.WriteByte('\n'); err != nil { // sticky
		w.cancel(fmt.Errorf("write output: %w", err))
	}
}

// json writes v, a Message or an Event.
func (w *lineWriter) json(v any) {
	var b bytes.Buffer
	if err := json.NewEncoder(terminal.JSON(&b)).Encode(v); err != nil {
		w.cancel(fmt.Errorf("write output: %w", err))
		return
	}
	w.line(bytes.TrimSuffix(b.Bytes(), []byte("\n")))
}

func (w *lineWriter) flush() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.w.Flush(); err != nil {
		return fmt.Errorf("write output: %w", err)
	}
	return nil
}
