// SPDX-License-Identifier: Apache-2.0

package experiment

import (
	"context"
	"fmt"
	"strings"
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

// noteOthers notes what happened since the last look beside what the
// experiment is about: what other peers did, and that BIRD was reconfigured.
func (r *run) noteOthers(ctx context.Context, e session.Event) {
	others, messages := r.peers.others-r.noted.others, r.peers.otherMessages-r.noted.messages
	if r.Peer != "" && others+messages > 0 {
		r.note(e.Time, fmt.Sprintf("until %s of cycle %d, other peers: %d sessions came or went, %d messages", e.Phase, e.Cycle, others, messages))
	}
	r.noted.others, r.noted.messages = r.peers.others, r.peers.otherMessages
	if r.Control == nil || !r.Process.Alive() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, r.controlPatience())
	defer cancel()
	reply, err := r.Control.Command(ctx, "show status")
	if err != nil {
		r.loseControl(err)
		return
	}
	for _, l := range reply.Lines {
		// "Last reconfiguration on 2026-03-01 12:00:00.123"; or "at ... " as the
		// time's format is.
		if !strings.HasPrefix(l.Text, "Last reconfiguration") {
			continue
		}
		if r.noted.configured != "" && !sameMoment(l.Text, r.noted.configured) {
			r.note(e.Time, "BIRD was reconfigured: "+l.Text)
		}
		r.noted.configured = l.Text
	}
}

// sameMoment says whether two lines end with the same time. BIRD prints how
// long ago something was, taken from the clock (tm_format_time in lib/timer.c):
// from one answer to the next, the same moment is off by what the rounding and
// the clock's adjustment make.
func sameMoment(a, b string) bool {
	const off = time.Second
	s, okay := lastTime(a)
	t, okay2 := lastTime(b)
	if okay && okay2 {
		return s.Sub(t).Abs() <= off
	}
	return a == b
}

// lastTime reads the time at the end of a line in one of BIRD's own formats
// (`timeformat base iso long` and `iso short`); others are the user's.
func lastTime(line string) (time.Time, bool) {
	f := strings.Fields(line)
	for i, layout := range []string{time.DateTime, time.TimeOnly} {
		n := 2 - i // words
		if len(f) < n {
			continue
		}
		// A fraction of a second is read without being in the layout.
		if t, err := time.Parse(layout, strings.Join(f[len(f)-n:], " ")); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
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
