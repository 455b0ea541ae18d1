// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	"leakprof/collector/session"
	"leakprof/profiler/experiment"
	"leakprof/profiler/report"
)

// statusLine shows what goes on: one line that is rewritten on a terminal,
// and elsewhere a line whenever the phase changes.
type statusLine struct {
	file     *os.File
	terminal bool
	start    time.Time
	last     string // phase of the last plain line
	keeping  string // what the last plain line waits for
	shown    time.Time
}

func newStatusLine(f *os.File) *statusLine {
	return &statusLine{file: f, terminal: term.IsTerminal(int(f.Fd())), start: time.Now()}
}

// redraw is how often the line changes on a terminal.
const redraw = 250 * time.Millisecond

func (l *statusLine) show(s experiment.Status) {
	phase := string(s.Phase)
	switch {
	case s.Phase == session.Interval:
		phase = fmt.Sprintf("interval %d", s.Cycle)
	case s.Cycle > 0:
		phase = fmt.Sprintf("cycle %d: %s", s.Cycle, s.Phase)
	}
	if s.Phase == session.Baseline && s.AtRest {
		phase += ", quiet" // the experiment can begin
	}
	waiting := s.Waiting
	if !s.Until.IsZero() {
		waiting += fmt.Sprintf(", %.0f s left", max(time.Until(s.Until), 0).Seconds())
	}
	if !l.terminal {
		// What lasts for minutes is worth a line of its own.
		if s.Keeping && s.Waiting != l.keeping {
			l.keeping = s.Waiting
			fmt.Fprintf(l.file, "%7.1fs  %-18s  waiting for: %s\n", time.Since(l.start).Seconds(), phase, waiting)
		}
		if phase != l.last {
			l.last, l.keeping = phase, ""
			fmt.Fprintf(l.file, "%7.1fs  %-18s  live %s\n", time.Since(l.start).Seconds(), phase, report.Size(s.LiveBytes))
		}
		return
	}
	if time.Since(l.shown) < redraw {
		return
	}
	l.shown = time.Now()
	text := fmt.Sprintf("%6.1fs  %s  live %s  %s hits/s", time.Since(l.start).Seconds(), phase, report.Size(s.LiveBytes), thousands(s.Hits))
	if s.Routes >= 0 {
		text += fmt.Sprintf("  %d routes", s.Routes)
	}
	text += fmt.Sprintf("  %d peers up", s.PeersUp)
	if s.Lost > 0 {
		text += fmt.Sprintf("  %d events LOST", s.Lost)
	}
	text += "  waiting for: " + waiting
	if width, _, err := term.GetSize(int(l.file.Fd())); err == nil && len(text) >= width && width > 1 {
		text = text[:width-1]
	}
	fmt.Fprintf(l.file, "\r%s\x1b[K", text)
}

// warn prints a line of its own.
func (l *statusLine) warn(text string) {
	l.end()
	fmt.Fprintf(l.file, "leakprof: warning: %s\n", text)
}

// end leaves the line empty for what follows.
func (l *statusLine) end() {
	if l.terminal {
		fmt.Fprint(l.file, "\r\x1b[K")
	}
}

func thousands(v float64) string {
	if v < 10000 {
		return fmt.Sprintf("%.0f", v)
	}
	return strings.TrimSuffix(fmt.Sprintf("%.0fk", v/1000), ".")
}
