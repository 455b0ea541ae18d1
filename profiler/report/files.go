// SPDX-License-Identifier: Apache-2.0

package report

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/google/pprof/profile"

	"leakprof/profiler/attribution"
)

// Names of the files that WriteAll makes.
const (
	BaselineFile = "baseline.pb.gz"
	FloodedFile  = "flooded.pb.gz"
	SettledFile  = "settled.pb.gz"
	RetainedFile = "retained.pb.gz"
	TextFile     = "report.txt"
	HTMLFile     = "report.html"
	JSONFile     = "report.json"
)

// WriteAll writes everything that a run found into a directory, which it
// makes if it is not there: the profiles before the first flood, after the
// last one and after the last drop, what is retained, and the reports.
// report.json comes last: where it is, the others are. A snapshot that the run
// did not take has no file; one that an earlier run left under its name is
// removed, so that a directory never mixes two runs. It returns the paths of
// the files written, also if a later one fails.
func WriteAll(dir string, r *Result) ([]string, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make output directory: %w", err)
	}
	o := r.ProfileOptions()
	var written []string
	write := func(name string, content func(io.Writer) error) error {
		path := filepath.Join(dir, name)
		if err := WriteFile(path, content); err != nil {
			return err
		}
		written = append(written, path)
		return nil
	}
	// A reader who finds report.json must not take it for this run's before
	// this run's is complete.
	if err := remove(dir, JSONFile); err != nil {
		return nil, err
	}
	for _, f := range []struct{ name, phase string }{
		{BaselineFile, phaseBaseline}, {FloodedFile, phaseFlooded}, {SettledFile, phaseSettled},
	} {
		h := r.lastHeap(f.phase)
		if h == nil && f.phase == phaseSettled {
			h = r.lastHeap(phaseInterval)
		}
		if h == nil {
			if err := remove(dir, f.name); err != nil {
				return written, err
			}
			continue
		}
		p, err := Profile(h, o)
		if err != nil {
			return written, err
		}
		if err := write(f.name, p.Write); err != nil {
			return written, err
		}
	}
	p, err := r.retainedProfile(o)
	if err != nil {
		return written, err
	}
	if err := write(RetainedFile, p.Write); err != nil {
		return written, err
	}
	d := NewDocument(r)
	if err := write(TextFile, func(w io.Writer) error { return d.WriteText(w, TextOptions{Dir: dir, Books: true}) }); err != nil {
		return written, err
	}
	if err := write(HTMLFile, d.WriteHTML); err != nil {
		return written, err
	}
	return written, write(JSONFile, d.WriteJSON)
}

// WriteProfile writes a profile, compressed, as `go tool pprof` reads it. The
// file has its name only when it is complete.
func WriteProfile(path string, p *profile.Profile) error {
	return WriteFile(path, p.Write)
}

// ProfileOptions returns what the profiles of a run have in common.
func (r *Result) ProfileOptions() ProfileOptions {
	o := ProfileOptions{Started: r.Started, Comments: comments(r)}
	for _, p := range r.Phases {
		o.Marks = append(o.Marks, Mark{Phase: p.Name, Cycle: p.Cycle})
	}
	return o
}

// retainedProfile is valid, and empty, also for a run without any snapshot.
func (r *Result) retainedProfile(o ProfileOptions) (*profile.Profile, error) {
	at := &attribution.Heap{Time: r.Ended}
	for _, p := range r.Phases {
		if p.Heap != nil {
			at = p.Heap
		}
	}
	return RetainedProfile(r.Retained, at, o)
}

// lastHeap returns the last snapshot at the end of a phase of that name, or
// nil.
func (r *Result) lastHeap(phase string) *attribution.Heap {
	for i := len(r.Phases) - 1; i >= 0; i-- {
		if p := &r.Phases[i]; p.Name == phase && p.Heap != nil {
			return p.Heap
		}
	}
	return nil
}

func remove(dir, name string) error {
	if err := os.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove an earlier run's file: %w", err)
	}
	return nil
}
