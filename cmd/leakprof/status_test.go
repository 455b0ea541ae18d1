// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"testing"
	"time"

	"leakprof/collector/session"
	"leakprof/profiler/experiment"
)

// TestStatusLines: without a terminal there is a line for each phase, for what
// lasts on purpose, and a few while a phase does not come to rest.
func TestStatusLines(t *testing.T) {
	start := time.Unix(1000, 0)
	var b bytes.Buffer
	now := start
	l := &statusLine{file: &b, start: start, now: func() time.Time { return now }}
	step := func(d time.Duration, s experiment.Status) {
		for end := now.Add(d); now.Before(end); now = now.Add(time.Second) {
			l.show(s)
		}
	}
	baseline := experiment.Status{Phase: session.Baseline, Waiting: "quiet", Until: start.Add(60 * time.Second), LiveBytes: 1 << 20}
	step(10*time.Second, baseline)
	baseline.Waiting, baseline.Until = "quiet, but bird uses 50 % of a cpu", time.Time{}
	step(30*time.Second, baseline)
	baseline.Waiting, baseline.AtRest = "a session to come up", true
	step(3*time.Hour, baseline) // says nothing more
	dropping := experiment.Status{Phase: session.Dropping, Cycle: 1, Waiting: "quiet"}
	step(2*time.Second, dropping)
	dropping.Waiting, dropping.Keeping, dropping.Until = "graceful restart of peer1 holds 1 route", true, now.Add(time.Hour)
	step(2*time.Hour, dropping)
	step(time.Minute, experiment.Status{Phase: session.Interval, Cycle: 7, Waiting: "the interval's end", Until: now.Add(50 * time.Hour)})
	const want = `    0.0s  baseline            live 1024.0 kB  waiting for: quiet, 60 s left
   15.0s  baseline            waiting for: quiet, but bird uses 50 % of a cpu
   30.0s  baseline            waiting for: quiet, but bird uses 50 % of a cpu
   40.0s  baseline, quiet     live 1024.0 kB  waiting for: a session to come up
10840.0s  cycle 1: dropping   live 0 B  waiting for: quiet
10842.0s  cycle 1: dropping   waiting for: graceful restart of peer1 holds 1 route, 1h0m0s left
10855.0s  cycle 1: dropping   waiting for: graceful restart of peer1 holds 1 route, 59m47s left
10870.0s  cycle 1: dropping   waiting for: graceful restart of peer1 holds 1 route, 59m32s left
10900.0s  cycle 1: dropping   waiting for: graceful restart of peer1 holds 1 route, 59m2s left
10960.0s  cycle 1: dropping   waiting for: graceful restart of peer1 holds 1 route, 58m2s left
11080.0s  cycle 1: dropping   waiting for: graceful restart of peer1 holds 1 route, 56m2s left
11320.0s  cycle 1: dropping   waiting for: graceful restart of peer1 holds 1 route, 52m2s left
11800.0s  cycle 1: dropping   waiting for: graceful restart of peer1 holds 1 route, 44m2s left
12700.0s  cycle 1: dropping   waiting for: graceful restart of peer1 holds 1 route, 29m2s left
13600.0s  cycle 1: dropping   waiting for: graceful restart of peer1 holds 1 route, 14m2s left
14500.0s  cycle 1: dropping   waiting for: graceful restart of peer1 holds 1 route, 0 s left
15400.0s  cycle 1: dropping   waiting for: graceful restart of peer1 holds 1 route, 0 s left
16300.0s  cycle 1: dropping   waiting for: graceful restart of peer1 holds 1 route, 0 s left
17200.0s  cycle 1: dropping   waiting for: graceful restart of peer1 holds 1 route, 0 s left
18042.0s  interval 7          live 0 B  waiting for: the interval's end, 50h0m0s left
`
	if got := b.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// TestStatusOnTerminal: one line, no longer than the terminal is wide.
func TestStatusOnTerminal(t *testing.T) {
	var b bytes.Buffer
	start := time.Unix(1000, 0)
	l := &statusLine{file: &b, start: start, now: func() time.Time { return start.Add(time.Minute) }, width: func() int { return 60 }}
	for range 3 {
		l.show(experiment.Status{Phase: session.Flooding, Cycle: 2, Waiting: "700 of 1000 routes in", Routes: 700, PeersUp: 3, Lost: 1, Hits: 123456})
	}
	l.end()
	if got, want := b.String(), "\r  60.0s  cycle 2: flooding  waiting for: 700 of 1000 routes\x1b[K\r\x1b[K"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
