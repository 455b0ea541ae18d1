// SPDX-License-Identifier: Apache-2.0

package experiment

import (
	"fmt"
	"slices"
	"strings"

	"leakprof/collector/bmp"
	"leakprof/collector/session"
)

// Treatment is how the station treats BIRD in the course of an experiment. The
// zero value does nothing on purpose.
type Treatment struct {
	// Behavior is that of the whole run. A station that has stalled by it reads
	// again after the last cycle has been looked at.
	Behavior bmp.Behavior
	// From, if it is not "", is a phase. When it begins in a cycle, the station
	// stalls, and it reads again after that cycle has been looked at; or with
	// Close, it closes its connections, and BIRD comes back in its own time.
	From  session.Phase
	Close bool
}

// treatedFrom are the phases with which a treatment can begin.
var treatedFrom = []session.Phase{session.Flooding, session.Flooded, session.Dropping, session.Running}

// ParseTreatment reads what bmp.ParseBehavior does, "stall@PHASE" or
// "close@PHASE", where the phase is flooding, flooded, dropping, or running.
func ParseTreatment(s string) (Treatment, error) {
	kind, from, given := strings.Cut(s, "@")
	if !given {
		b, err := bmp.ParseBehavior(s)
		if err != nil {
			return Treatment{}, fmt.Errorf("%w, stall@PHASE or close@PHASE", err)
		}
		return Treatment{Behavior: b}, nil
	}
	t := Treatment{From: session.Phase(from), Close: kind == "close"}
	if kind != "stall" && kind != "close" || !slices.Contains(treatedFrom, t.From) {
		return Treatment{}, fmt.Errorf("parse treatment %q: want stall@PHASE or close@PHASE, from flooding, flooded, dropping or running on", s)
	}
	return t, nil
}

// String is what ParseTreatment takes.
func (t Treatment) String() string {
	switch {
	case t.From == "":
		return t.Behavior.String()
	case t.Close:
		return "close@" + string(t.From)
	}
	return "stall@" + string(t.From)
}

// MarshalText and UnmarshalText make a Treatment a flag.
func (t Treatment) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalText is ParseTreatment.
func (t *Treatment) UnmarshalText(text []byte) (err error) {
	*t, err = ParseTreatment(string(text))
	return err
}

// treat does with the station what the beginning of a phase asks for.
func (r *run) treat(e session.Event) {
	if r.Station == nil {
		return
	}
	if e.Cycle == 1 && (e.Phase == session.Flooding || e.Phase == session.Running) && r.Treatment != (Treatment{}) {
		r.note(e.Time, "the station: "+r.Treatment.String())
	}
	switch {
	case e.Phase == session.Resumed:
		r.Station.Resume()
	case e.Phase != r.Treatment.From:
	case r.Treatment.Close:
		r.Station.CloseConnections()
	default:
		r.Station.Stall()
	}
}

// readsAgain says whether the station has stalled, by its treatment or by whoever
// else has it, and is to read again now: a cycle, perhaps the last, has settled
// and been looked at.
func (r *run) readsAgain(last bool) bool {
	return r.Station != nil && r.Station.Stalled() && (r.Treatment.From != "" || last)
}
