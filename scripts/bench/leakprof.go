// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"leakprof/collector/session"
	"leakprof/profiler/report"
)

// leakprofRun is `leakprof attach` as users run it, for one cycle.
type leakprofRun struct {
	*command
	out string
}

// startLeakprof returns when it is attached and has looked at BIRD at rest. The
// station is the harness's; leakprof is told of sessions by the control socket.
func startLeakprof(ctx context.Context, leakprof, mode string, s *subject) (attached, error) {
	l := &leakprofRun{out: filepath.Join(s.dir, "out")}
	var err error
	l.command, err = startCommand(ctx, leakprof, "attach", "--pid", strconv.Itoa(s.bird.PID()), "--mode", mode,
		"--bmp", "", "--birdc", s.bird.Control(), "--estimate", "0", "--settle", "1s", "--cycles", "1", "--out", l.out)
	if err != nil {
		return nil, err
	}
	if err := l.await(ctx, string(session.Baseline)+", quiet"); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// Flooded waits for its look.
func (l *leakprofRun) Flooded(ctx context.Context) error {
	if err := l.await(ctx, "cycle 1: "+string(session.Flooded)); err != nil {
		return err
	}
	return l.lookAtMaps()
}

// Finish waits for its end, which comes after the last look by itself.
func (l *leakprofRun) Finish(ctx context.Context, r *run) error {
	if err := l.wait(ctx); err != nil {
		return err
	}
	if err := l.used(r); err != nil {
		return err
	}
	data, err := os.ReadFile(filepath.Join(l.out, "report.json"))
	if err != nil {
		return err
	}
	return fromReport(data, r)
}

// fromReport takes from a report.json what the tables have of it.
func fromReport(data []byte, r *run) error {
	var d struct {
		Verdict  string `json:"verdict"`
		Overhead *struct {
			Hits      uint64                `json:"hits"`
			Functions []report.FunctionHits `json:"functions"`
		} `json:"overhead"`
		Phases []struct {
			Name        string `json:"name"`
			LiveBytes   *int64 `json:"live_bytes"`
			LiveObjects *int64 `json:"live_objects"`
		} `json:"phases"`
		Health []struct {
			Count    uint64 `json:"count"`
			Harmless bool   `json:"harmless"`
		} `json:"health"`
	}
	if err := json.Unmarshal(data, &d); err != nil {
		return fmt.Errorf("read report.json: %w", err)
	}
	r.Verdict = d.Verdict
	if d.Overhead != nil {
		r.Hits, r.HitsBy = d.Overhead.Hits, d.Overhead.Functions
	}
	for _, p := range d.Phases {
		if p.Name == string(session.Flooded) && p.LiveBytes != nil && p.LiveObjects != nil {
			r.LiveBytes, r.LiveObjects = *p.LiveBytes, *p.LiveObjects
		}
	}
	for _, h := range d.Health {
		if !h.Harmless {
			r.Lost += h.Count
		}
	}
	return nil
}
