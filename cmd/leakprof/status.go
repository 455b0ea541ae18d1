// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	"leakprof/collector/session"
	"leakprof/profiler/experiment"
	"leakprof/profiler/report"
	"leakprof/profiler/terminal"
)

// statusLine shows what goes on: one line that is rewritten on a terminal,
// and elsewhere a line whenever the phase changes, and now and then while it
// lasts.
type statusLine struct {
	file    io.Writer
	width   func() int // of the terminal, nil if it is none
	now     func() time.Time
	start   time.Time
	last    string        // phase of the last plain line
	keeping string        // what the last plain line waits for
	began   time.Time     // when the phase was first shown
	due     time.Duration // how long after that it is worth another plain line
	shown   time.Time
}

func newStatusLine(f *os.File) *statusLine {
	l := &statusLine{file: f, now: time.Now, start: time.Now()}
	if fd := int(f.Fd()); term.IsTerminal(fd) {
		l.width = func() int {
			width, _, err := term.GetSize(fd)
			if err != nil {
				return 0
			}
			return width
		}
	}
	return l
}

const (
	// redraw is how often the line changes on a terminal.
	redraw = 250 * time.Millisecond
	// firstReminder is how long a phase lasts before a plain line says again what
	// is waited for, and then after twice as long each time, up to lastReminder.
	firstReminder, lastReminder = 15 * time.Second, 15 * time.Minute
)

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
	now := l.now()
	waiting := terminal.Line(s.Waiting)
	if !s.Until.IsZero() {
		waiting += fmt.Sprintf(", %s left", left(s.Until.Sub(now)))
	}
	if l.width == nil {
		l.plain(s, phase, waiting, now)
		return
	}
	if now.Sub(l.shown) < redraw {
		return
	}
	l.shown = now
	text := fmt.Sprintf("%6.1fs  %s  waiting for: %s", now.Sub(l.start).Seconds(), phase, waiting)
	if s.Lost > 0 {
		text += fmt.Sprintf("  %d events LOST", s.Lost)
	}
	text += fmt.Sprintf("  %s%d peers up", live(s), s.PeersUp)
	if s.Routes >= 0 {
		text += fmt.Sprintf("  %d routes", s.Routes)
	}
	if s.LiveBytes >= 0 {
		text += fmt.Sprintf("  %s hits/s", thousands(s.Hits))
	}
	if r, width := []rune(text), l.width(); len(r) >= width && width > 1 {
		text = string(r[:width-1])
	}
	fmt.Fprintf(l.file, "\r%s\x1b[K", text)
}

// plain writes a line where something is new.
func (l *statusLine) plain(s experiment.Status, phase, waiting string, now time.Time) {
	line := func(what string) {
		fmt.Fprintf(l.file, "%7.1fs  %-18s  %swaiting for: %s\n", now.Sub(l.start).Seconds(), phase, what, waiting)
	}
	switch {
	case phase != l.last:
		l.last, l.keeping, l.began, l.due = phase, "", now, firstReminder
		if s.Keeping {
			l.keeping = s.Waiting
		}
		line(live(s))
	// What lasts for minutes is worth a line of its own.
	case s.Keeping && s.Waiting != l.keeping:
		l.keeping = s.Waiting
		line("")
	case !s.AtRest && s.Phase != session.Interval && now.Sub(l.began) >= l.due:
		l.due += min(l.due, lastReminder)
		line("")
	}
}

// live is what BIRD holds, "" if nobody counts that.
func live(s experiment.Status) string {
	if s.LiveBytes < 0 {
		return ""
	}
	return fmt.Sprintf("live %s  ", report.Size(s.LiveBytes))
}

// left is how long something lasts, in words.
func left(d time.Duration) string {
	if d = max(d, 0); d < 2*time.Minute {
		return fmt.Sprintf("%.0f s", d.Seconds())
	}
	return d.Round(time.Second).String()
}

// warn prints a line of its own.
func (l *statusLine) warn(text string) {
	l.end()
	say(l.file, "warning: %s", text)
}

// end leaves the line empty for what follows.
func (l *statusLine) end() {
	if l.width != nil {
		fmt.Fprint(l.file, "\r\x1b[K")
	}
}

func thousands(v float64) string {
	if v < 10000 {
		return fmt.Sprintf("%.0f", v)
	}
	return strings.TrimSuffix(fmt.Sprintf("%.0fk", v/1000), ".")
}
