// SPDX-License-Identifier: Apache-2.0

package experiment

import (
	"slices"
	"time"

	"leakprof/collector/session"
	"leakprof/profiler/report"
)

// change is what became of one peer's BGP session between two observations.
type change struct {
	peer       string // address of the neighbor, "" if it is not known
	protocol   string // BIRD's name for it, likewise
	at         time.Time
	ups, downs uint64
	isUp       bool
	reason     string // of the last Peer Down
}

// sessions keeps an account of the BGP sessions that came and went, and of
// those that should not have gone.
type sessions struct {
	counts    report.Sessions
	protocols map[string]bool // as of the last observation, where BMP does not tell
	byControl bool
	// A driver takes each session down once in a cycle. BIRD may tell of that
	// much later, when the next cycle has begun: so downs are counted, by peer,
	// against the cycles.
	drops   uint64            // how often the driver took all sessions down
	cycle   int               // in which it last did
	excused map[string]uint64 // of those, how many were a peer's
	down    map[string]bool   // peers that were dropped, and have not come back
	// What the driver's own ends lost in this cycle, and all that in the run: of
	// a station that is not connected BIRD tells nothing.
	broken int
	lost   []report.Down
}

// observe takes what the last observation brought.
func (s *sessions) observe(r *run, now time.Time) {
	phase, cycle := r.machine.Phase()
	if s.excused == nil {
		s.excused, s.down = make(map[string]uint64), make(map[string]bool)
	}
	if r.Driver != nil && phase == session.Dropping && cycle != s.cycle {
		s.cycle, s.broken = cycle, 0
		s.drops++
		for peer := range s.down {
			s.excused[peer]++ // it is down already
		}
	}
	s.askDriver(r, now)
	if !r.byBMP {
		s.compare(r, now)
		return
	}
	for _, c := range r.peers.changes {
		s.take(r, c)
	}
	r.peers.changes = r.peers.changes[:0]
}

// take counts one peer's change.
func (s *sessions) take(r *run, c change) {
	if !r.peers.selects(c.peer, c.protocol) {
		s.counts.OtherUps, s.counts.OtherDowns = s.counts.OtherUps+c.ups, s.counts.OtherDowns+c.downs
		for range c.downs {
			s.list(r, c, report.OtherPeer)
		}
		return
	}
	s.counts.Ups, s.counts.Downs = s.counts.Ups+c.ups, s.counts.Downs+c.downs
	if c.isUp {
		delete(s.down, c.peer)
	}
	for range c.downs {
		cause := s.cause(r, c.peer)
		if cause == report.Dropped {
			s.counts.Dropped++
			if !c.isUp {
				s.down[c.peer] = true
			}
		}
		s.list(r, c, cause)
	}
}

// cause says why a session of a peer that the run is about went down.
func (s *sessions) cause(r *run, peer string) report.Cause {
	phase, _ := r.machine.Phase()
	switch {
	case r.Driver != nil && s.excused[peer] < s.drops:
		s.excused[peer]++
		return report.ByExperiment
	case r.Command != nil && phase == session.Running:
		return report.ByExperiment
	case r.Session.Driven:
		return report.Dropped
	}
	return report.Followed
}

func (s *sessions) list(r *run, c change, cause report.Cause) {
	if len(s.counts.Down) == report.MaxDowns {
		return
	}
	phase, cycle := r.machine.Phase()
	s.counts.Down = append(s.counts.Down, report.Down{
		Time: c.at, Peer: c.peer, Protocol: c.protocol, Phase: string(phase), Cycle: cycle, Reason: c.reason, Cause: cause,
	})
}

// askDriver: the driver's own ends know which sessions broke, while it is neither
// bringing them up nor taking them down.
func (s *sessions) askDriver(r *run, now time.Time) {
	d, ok := r.Driver.(Watcher)
	phase, cycle := r.machine.Phase()
	if !ok || r.work.done != nil || phase != session.Flooding && phase != session.Flooded {
		return
	}
	n, why := d.Dropped()
	for ; s.broken < n; s.broken++ {
		down := report.Down{Time: now, Phase: string(phase), Cycle: cycle, Cause: report.Dropped}
		if why != nil {
			down.Reason = why.Error()
		}
		s.lost = append(s.lost, down)
	}
}

// compare finds what came and went in BIRD's own list of protocols.
func (s *sessions) compare(r *run, now time.Time) {
	if r.protocolsAt.IsZero() {
		return
	}
	if s.byControl {
		for name := range r.protocols {
			if !s.protocols[name] {
				s.take(r, change{peer: r.address(name), protocol: name, at: now, ups: 1, isUp: true})
			}
		}
		for name := range s.protocols {
			if !r.protocols[name] {
				s.take(r, change{peer: r.address(name), protocol: name, at: now, downs: 1})
			}
		}
	}
	s.protocols, s.byControl = r.protocols, true
}

// result is the account, nil if nobody told of sessions.
func (s *sessions) result(r *run) *report.Sessions {
	out := s.counts
	out.Driven, out.Down = r.Session.Driven, slices.Clone(s.counts.Down)
	// What BIRD told of as well is in both.
	if more := len(s.lost) - int(out.Dropped); more > 0 {
		out.Dropped, out.Downs = out.Dropped+uint64(more), out.Downs+uint64(more)
		out.Down = append(out.Down, s.lost[len(s.lost)-more:]...)
		slices.SortStableFunc(out.Down, func(a, b report.Down) int { return a.Time.Compare(b.Time) })
		out.Down = out.Down[:min(len(out.Down), report.MaxDowns)]
	}
	switch _, knows := r.Driver.(Watcher); {
	case r.byBMP:
		out.ToldBy = "bmp"
	case s.byControl:
		out.ToldBy = "control socket"
	case knows:
		out.ToldBy = "speakers"
	default:
		return nil
	}
	return &out
}
