// SPDX-License-Identifier: Apache-2.0

package report

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// MaxJSON bounds what ReadJSON takes in, in bytes. The largest report that a
// run can make, every stack retained at full depth, is below it.
const MaxJSON = 256 << 20

// Bounds of what a run can make; beyond them a file is no report.
const (
	maxCycles = 100_000
	maxPhases = 5 * maxCycles
	maxLive   = 1 << 20 // pools times allocators
	maxStacks = 1 << 20
	maxFrames = 4096 // physical ones and what was inlined
	maxLines  = 256  // of `show memory`, and of health
)

// WriteJSON writes a result as report.json.
func WriteJSON(w io.Writer, r *Result) error { return NewDocument(r).WriteJSON(w) }

// WriteJSON writes report.json. The order of keys is always the same.
func (d *Document) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	if err := e.Encode(d); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}

// ReadJSON reads a report.json of this schema and checks it. Fields that it
// does not know are passed over: a later leakprof may add some (Schema).
func ReadJSON(r io.Reader) (*Document, error) {
	limited := &io.LimitedReader{R: r, N: MaxJSON + 1}
	d, err := decode(limited)
	if limited.N <= 0 {
		return nil, fmt.Errorf("read report: longer than %d bytes", MaxJSON)
	}
	if err != nil {
		return nil, fmt.Errorf("read report: %w", err)
	}
	return d, nil
}

func decode(r io.Reader) (*Document, error) {
	var d Document
	j := json.NewDecoder(r)
	if err := j.Decode(&d); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, io.ErrUnexpectedEOF
		}
		return nil, err
	}
	if _, err := j.Token(); err == nil {
		return nil, errors.New("more than one JSON value")
	} else if !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("after the JSON value: %w", err)
	}
	if err := d.check(); err != nil {
		return nil, err
	}
	return &d, nil
}

func (d *Document) check() error {
	if d.Schema != Schema {
		return fmt.Errorf("schema %d is not known (this leakprof reads %d)", d.Schema, Schema)
	}
	switch d.Verdict {
	case Leak, Held, Clean, Incomplete:
	default:
		return fmt.Errorf("verdict %q is none", d.Verdict)
	}
	for _, n := range []struct {
		what      string
		have, max int
	}{
		{"cycles", len(d.Cycles), maxCycles}, {"phases", len(d.Phases), maxPhases},
		{"points", len(d.Series), MaxPoints},
		{"stacks", len(d.Stacks), maxStacks}, {"health", len(d.Health), maxLines},
	} {
		if n.have > n.max {
			return fmt.Errorf("%d %s are more than %d", n.have, n.what, n.max)
		}
	}
	for i := range d.Phases {
		if err := d.Phases[i].check(); err != nil {
			return fmt.Errorf("phase %d: %w", i, err)
		}
	}
	for i := range d.Stacks {
		if err := d.Stacks[i].check(); err != nil {
			return fmt.Errorf("stack %d: %w", i, err)
		}
	}
	return nil
}

func (p *DocumentPhase) check() error {
	switch {
	case p.Name == "":
		return errors.New("it has no name")
	case p.Cycle < 0:
		return fmt.Errorf("cycle %d", p.Cycle)
	case len(p.ShowMemory) > maxLines:
		return fmt.Errorf("%d lines of show memory are more than %d", len(p.ShowMemory), maxLines)
	case len(p.Live) > maxLive:
		return fmt.Errorf("%d pools are more than %d", len(p.Live), maxLive)
	case (p.LiveBytes == nil) != (p.LiveObjects == nil):
		return errors.New("live_bytes and live_objects are not both there")
	}
	return nil
}

func (s *DocumentStack) check() error {
	switch s.Class {
	case "lost", "held", classUnknown:
	default:
		return fmt.Errorf("class %q is none", s.Class)
	}
	if len(s.Frames) > maxFrames {
		return fmt.Errorf("%d frames are more than %d", len(s.Frames), maxFrames)
	}
	for i, f := range s.Frames {
		if f.Function == "" {
			return fmt.Errorf("frame %d has no function", i)
		}
	}
	return nil
}
