// SPDX-License-Identifier: Apache-2.0

package report

import (
	"fmt"
	"strings"
	"time"
)

// Sessions counts the BGP sessions that came and went during a run.
type Sessions struct {
	// ToldBy says who told of them: "bmp", "control socket" or "speakers", the
	// lab's own, who know of the sessions that broke alone.
	ToldBy string
	// Driven: the run took sessions up and down itself. Otherwise it followed
	// them, and nobody can tell who took them down.
	Driven bool
	// Ups and Downs are of the peers that the run is about, its phases are made
	// of them; those of OtherUps and OtherDowns are not waited for.
	Ups, Downs, OtherUps, OtherDowns uint64
	// Dropped of Downs are sessions that a Driven run did not take down.
	Dropped uint64
	// Down lists what went down, in the order of time, at most MaxDowns.
	Down []Down
}

// MaxDowns bounds Sessions.Down in a run of weeks.
const MaxDowns = 1000

// Cause says why a BGP session went down, as far as the run is concerned.
type Cause string

const (
	ByExperiment Cause = "experiment" // the run took it down
	Followed     Cause = "followed"   // the run waits for it, and makes its phases of it
	Dropped      Cause = "dropped"    // it was to stay up
	OtherPeer    Cause = "other peer" // the run is not about this peer
)

// Down is a BGP session that went down.
type Down struct {
	Time     time.Time `json:"time"`     // when leakprof heard of it
	Peer     string    `json:"peer"`     // address of the neighbor, "" if it is not known
	Protocol string    `json:"protocol"` // BIRD's name for it, "" if it is not known
	Phase    string    `json:"phase"`    // in which the run was then
	Cycle    int       `json:"cycle"`    // of that phase
	Reason   string    `json:"reason"`   // as BMP has it, "" without
	Cause    Cause     `json:"cause"`
}

// DocumentSessions is Sessions in report.json; Dropped is null where nobody can
// tell.
type DocumentSessions struct {
	ToldBy     string  `json:"told_by"`
	Driven     bool    `json:"driven"`
	Ups        uint64  `json:"ups"`
	Downs      uint64  `json:"downs"`
	OtherUps   uint64  `json:"other_ups"`
	OtherDowns uint64  `json:"other_downs"`
	Dropped    *uint64 `json:"dropped"`
	Down       []Down  `json:"down"`
}

func newSessions(s *Sessions) *DocumentSessions {
	if s == nil {
		return nil
	}
	d := &DocumentSessions{
		ToldBy: s.ToldBy, Driven: s.Driven, Ups: s.Ups, Downs: s.Downs, OtherUps: s.OtherUps, OtherDowns: s.OtherDowns,
		Down: []Down{},
	}
	for _, down := range s.Down {
		down.Time = down.Time.UTC()
		d.Down = append(d.Down, down)
	}
	if s.Driven {
		d.Dropped = &s.Dropped
	}
	return d
}

// sentence says whether a session went down that should not have. byTime says
// that it is the time which ends phases.
func (s *DocumentSessions) sentence(byTime bool) string {
	if s == nil {
		return "nobody told of BGP sessions: neither BMP nor a control socket"
	}
	var said string
	switch count := s.count(); {
	case s.Dropped != nil:
		said = s.driven()
	case s.Downs > 0 && byTime:
		said = fmt.Sprintf("%s: %s", count, s.list(Followed, s.Downs))
	case s.Downs > 0:
		said = fmt.Sprintf("%s, which the phases are made of: %s", count, s.list(Followed, s.Downs))
	case s.Ups > 0:
		said = count
	default:
		said = "none came or went"
	}
	if s.OtherUps+s.OtherDowns > 0 {
		said += fmt.Sprintf("; of other peers, as noise, %s up and %s down", number(s.OtherUps), number(s.OtherDowns))
		if s.OtherDowns > 0 {
			said += ": " + s.list(OtherPeer, s.OtherDowns)
		}
	}
	return said
}

func (s *DocumentSessions) count() string {
	return fmt.Sprintf("%s up and %s down", number(s.Ups), number(s.Downs))
}

// driven is for a run that takes sessions down itself.
func (s *DocumentSessions) driven() string {
	dropped := fmt.Sprintf("%s DROPPED, not by the experiment: %s", number(*s.Dropped), s.list(Dropped, *s.Dropped))
	switch {
	case *s.Dropped > 0 && s.ToldBy == "speakers":
		return dropped
	case *s.Dropped > 0:
		return s.count() + ", " + dropped
	case s.ToldBy == "speakers":
		return "none dropped but by the experiment, as its speakers saw it"
	case s.Downs == 0 || s.Ups != s.Downs:
		// Some were up before, or BIRD had no station to tell.
		who := "BIRD told the station"
		if s.ToldBy != "bmp" {
			who = "BIRD told"
		}
		return who + " of " + s.count() + "; none dropped but by the experiment"
	}
	return s.count() + " by the experiment, none dropped otherwise"
}

// list has the last few sessions that went down for a cause, of all so many.
func (s *DocumentSessions) list(cause Cause, all uint64) string {
	const most = 3
	var last []string
	for i := len(s.Down) - 1; i >= 0 && len(last) < most; i-- {
		if s.Down[i].Cause == cause {
			last = append(last, s.Down[i].String())
		}
	}
	n := uint64(len(last))
	for i, j := 0, len(last)-1; i < j; i, j = i+1, j-1 {
		last[i], last[j] = last[j], last[i]
	}
	said := strings.Join(last, ", ")
	if n < all {
		said += fmt.Sprintf(" and %s before", number(all-n))
	}
	return said
}

// String says which session it was, and when.
func (d Down) String() string {
	who := d.Peer
	switch {
	case who == "":
		who = d.Protocol
	case d.Protocol != "":
		who += " (" + d.Protocol + ")"
	}
	if who == "" {
		who = "one"
	}
	s := fmt.Sprintf("%s at %s", who, d.Time.Format(time.TimeOnly))
	if d.Cause == Dropped {
		s += " in " + (&DocumentPhase{Name: d.Phase, Cycle: d.Cycle}).title()
		if d.Reason != "" {
			s += ", " + d.Reason
		}
	}
	return printable(s)
}
