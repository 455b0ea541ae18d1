// SPDX-License-Identifier: Apache-2.0

package experiment

import (
	"context"
	"fmt"
	"time"

	"leakprof/collector/session"
	"leakprof/profiler/report"
)

// Mark is set by hand in a running experiment. The name of a phase begins it
// (flooding, dropping, running) or looks at it now (baseline, flooded,
// settled); any other name is a note.
type Mark struct {
	Name string
	// Answer gets what came of it, once; it must have room for it.
	Answer chan<- MarkAnswer
}

// MarkAnswer is what came of a mark.
type MarkAnswer struct {
	Text string // what was done
	Err  error  // why nothing was
}

// phasesByName are those that a mark can begin or end.
var phasesByName = map[string]session.Phase{
	string(session.Baseline): session.Baseline, string(session.Flooding): session.Flooding, string(session.Flooded): session.Flooded,
	string(session.Dropping): session.Dropping, string(session.Settled): session.Settled, string(session.Running): session.Running,
}

// mark does what a mark asks for, and answers it. An error ends the experiment.
func (r *run) mark(ctx context.Context, m Mark) error {
	now := time.Now()
	phase, isPhase := phasesByName[m.Name]
	var events []session.Event
	if isPhase {
		before, cycle := r.machine.Phase()
		ok := false
		if events, ok = r.machine.Mark(phase, now); !ok {
			m.Answer <- MarkAnswer{Err: fmt.Errorf("set mark %s: makes no sense in phase %s of cycle %d", m.Name, before, cycle)}
			return nil
		}
	}
	r.note(now, "mark "+m.Name)
	err := r.handle(ctx, events)
	p, cycle := r.machine.Phase()
	m.Answer <- MarkAnswer{Text: fmt.Sprintf("mark %s set: cycle %d, %s", m.Name, cycle, p), Err: err}
	return err
}

// maxNotes bounds what a run of weeks notes down.
const maxNotes = 1000

// note writes down what happened, for the report.
func (r *run) note(at time.Time, text string) {
	if len(r.notes) == maxNotes {
		return
	}
	r.notes = append(r.notes, report.Note{Time: at, Text: text})
}
