// SPDX-License-Identifier: Apache-2.0

package experiment

import (
	"context"
	"slices"
	"time"

	"leakprof/bpf"
	"leakprof/collector/birdc"
	"leakprof/collector/bmp"
	"leakprof/collector/session"
	"leakprof/profiler/report"
)

// controlRest is how long the control socket is left alone at most where
// somebody else tells of the sessions, and things are at rest.
const controlRest = 30 * time.Second

// guardRest is how long with a guard, which has to hear soon of sessions that were
// lost.
const guardRest = 5 * time.Second

// observe gathers what is known of BIRD now.
func (r *run) observe(ctx context.Context) (session.Observation, error) {
	o := session.Observation{Time: time.Now(), Routes: r.last.Routes, Kept: r.last.Kept, Keeping: r.last.Keeping, KeptUntil: r.last.KeptUntil, Busy: r.doing()}
	var err error
	if o.CPU, err = r.Process.CPUTime(); err != nil {
		return o, err
	}
	if r.Profiler != nil {
		c, err := r.Profiler.Counters()
		if err != nil {
			return o, err
		}
		o.Events = c[bpf.AllocatedObjects] + c[bpf.FreedObjects]
		o.LiveBytes = int64(c[bpf.AllocatedBytes] - c[bpf.FreedBytes])
	}
	if r.Control != nil {
		if err := r.askControl(ctx, &o); err != nil {
			if ctx.Err() != nil {
				return o, err
			}
			r.loseControl(err)
			o.Routes, o.Kept, o.Keeping = -1, -1, ""
		}
	}
	o.Sessionless = r.sessionless()
	o.PeerUps, o.PeerDowns, o.PeersUp = r.ups, r.downs, len(r.protocols)
	if r.Station != nil {
		r.observeStation(&o)
	}
	o.ByHand = r.Control == nil && r.peers.connections == 0
	o.PeerUps, o.PeerDowns = o.PeerUps-r.guarded.ups, o.PeerDowns-r.guarded.downs
	r.last = o
	return o, nil
}

// observeStation takes what BIRD says by BMP. From the time on that a router
// has connected, it tells of the sessions; before and without that the control
// socket does.
func (r *run) observeStation(o *session.Observation) {
	counts := r.Station.Counts()
	for _, n := range counts.ByType {
		o.Messages += n
	}
	if !r.byBMP && counts.Accepted > 0 {
		r.byBMP = true
		r.peers.assume(r.established())
	}
	if !r.byBMP {
		return
	}
	before := r.peers.connections
	r.peers.update(counts, o.Time)
	switch now := r.peers.connections; {
	case before > 0 && now == 0:
		r.note(o.Time, "the BMP connection ended; a new one is no cycle")
	case before == 0 && now > 0 && counts.Accepted > 1:
		r.note(o.Time, "BIRD connected to the BMP station again")
	}
	if r.Control != nil {
		if r.protocolsAt.Equal(o.Time) { // its answer is new
			r.compare(o.Time, o.Messages)
		}
		o.Behind = r.peers.lag.words(o.Time)
	}
	// Those of the control socket were before.
	o.PeerUps, o.PeerDowns = r.ups+r.peers.ups, r.downs+r.peers.downs
	switch {
	case !r.Session.Driven:
		o.PeersUp = r.peers.upNow()
	case r.Control == nil && r.peers.connections > 0 && !r.Station.Stalled():
		o.PeersUp = r.peers.upNow()
	case r.Control == nil:
		o.PeersUp = 0 // nobody tells, or nobody listens
	}
	if r.Peer != "" {
		o.Messages = r.peers.messages
	}
}

// askControl counts routes when the session's machine wants it, and reads the
// state of the BGP protocols.
func (r *run) askControl(ctx context.Context, o *session.Observation) error {
	ctx, cancel := context.WithTimeout(ctx, r.controlPatience())
	defer cancel()
	if r.machine.WantsRoutes() || o.Routes < 0 && r.isCalm(o) {
		if err := r.countNow(ctx, o); err != nil {
			return err
		}
	}
	if !r.asksProtocols(o.Time) {
		return nil
	}
	isFirst := r.protocolsAt.IsZero()
	r.protocolsAt = o.Time
	all, err := r.Control.ShowProtocols(ctx)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(all, func(p birdc.Protocol) bool { return isUp(p) && r.address(p.Name) == "" }) {
		if _, err := r.showSessions(ctx); err != nil {
			return err
		}
	}
	if err := r.watchTimers(ctx, o.Time, all); err != nil {
		return err
	}
	up := make(map[string]bool)
	r.configured = 0
	for _, p := range all {
		if p.Proto == "BGP" {
			r.configured++
		}
		if isUp(p) && r.peers.selects(r.address(p.Name), p.Name) {
			up[p.Name] = true
			// Sessions that were up before we came are the baseline's.
			if !r.byBMP && !r.protocols[p.Name] && !isFirst {
				r.ups++
			}
		}
	}
	for name := range r.protocols {
		if !r.byBMP && !up[name] {
			r.downs++
		}
	}
	r.protocols = up
	return nil
}

// sessionless says why no session can come up, "" if one can or nobody knows.
func (r *run) sessionless() string {
	if r.Control == nil || r.protocolsAt.IsZero() || r.configured > 0 {
		return ""
	}
	return "BIRD has no BGP protocol (--interval needs none)"
}

// countNow counts routes: in all tables, or those of the peers that the run is
// about.
func (r *run) countNow(ctx context.Context, o *session.Observation) error {
	sessions, err := r.showSessions(ctx)
	if err != nil {
		return err
	}
	o.Kept, o.Keeping, o.KeptUntil = kept(sessions, o.Time)
	o.RoutesCounted = true
	if r.Peer != "" {
		o.Routes = 0
		for _, s := range sessions {
			o.Routes += int64(s.Imported)
		}
		return nil
	}
	tables, err := r.Control.ShowRouteCount(ctx, "table all")
	if err != nil {
		return err
	}
	o.Routes = total(tables)
	return nil
}

// isCalm says whether BIRD has rested since the last observation. For the first
// time routes are counted then: BIRD 3.1.7 may crash where it counts routes while
// it withdraws some. Of a run that is about some peers others may never rest, and
// there their sessions alone are asked for.
func (r *run) isCalm(o *session.Observation) bool {
	const calm = 0.03 // of a CPU
	spent, passed := o.CPU-r.last.CPU, o.Time.Sub(r.last.Time)
	return r.Peer != "" || !r.last.Time.IsZero() && float64(spent) < calm*float64(passed)
}

// asksProtocols says whether it is time to ask which sessions are up. BIRD 2
// answers between two packets of its only thread, and BIRD 3.1.0 to 3.1.7 lose
// 80 bytes with each command: so it is left alone for a while, for longer where
// the answer does not matter at once, and just before a look.
func (r *run) asksProtocols(now time.Time) bool {
	// A driver without a station knows its sessions, and has nobody who lags.
	if r.machine.Undisturbed() || r.Driver != nil && r.Station == nil {
		return false
	}
	phase, _ := r.machine.Phase()
	told := r.peers.connections > 0 && r.machine.Looked() || r.Session.Interval > 0
	pause := controlInterval
	switch {
	case r.machine.WantsRoutes():
		return true // they are counted as of now
	case r.Driver != nil && phase == session.Dropping && len(r.protocols) > 0:
		pause = 2 * pollInterval
	case told && !r.peers.lag.behind():
		pause = max(controlInterval, min(r.Session.Settle, controlRest))
	}
	if r.Guard != nil {
		pause = min(pause, guardRest)
	}
	return now.Sub(r.protocolsAt) >= pause
}

func isUp(p birdc.Protocol) bool { return p.Proto == "BGP" && p.Info == established }

// showSessions asks for the experiment's BGP sessions, and remembers their
// neighbors.
func (r *run) showSessions(ctx context.Context) ([]birdc.Session, error) {
	sessions, err := r.Control.ShowSessions(ctx)
	if err != nil {
		return nil, err
	}
	for _, s := range sessions {
		if s.Neighbor != "" {
			r.peers.names[neighbor(s.Neighbor)] = s.Name
		}
	}
	return slices.DeleteFunc(sessions, func(s birdc.Session) bool { return !r.peers.selects(neighbor(s.Neighbor), s.Name) }), nil
}

// address is the neighbor of a BGP protocol, "" if it is not known.
func (r *run) address(protocol string) string {
	for address, name := range r.peers.names {
		if name == protocol {
			return address
		}
	}
	return ""
}

// established has the addresses of the experiment's neighbors whose sessions
// are up, by the control socket.
func (r *run) established() map[string]bool {
	all := make(map[string]bool)
	for name := range r.protocols {
		if address := r.address(name); address != "" {
			all[address] = true
		}
	}
	return all
}

// total is how many routes all tables have.
func total(tables []birdc.RouteCount) (n int64) {
	for _, t := range tables {
		n += int64(t.Total)
	}
	return n
}

func bmpCounts(c bmp.Counts) map[string]uint64 {
	counts := make(map[string]uint64)
	for i, n := range c.ByType {
		counts[bmp.MessageType(i).String()] = n
	}
	counts["Prefixes Announced"] = c.Announced
	counts["Prefixes Withdrawn"] = c.Withdrawn
	return counts
}

func memoryLines(m *birdc.Memory) []report.MemoryLine {
	var lines []report.MemoryLine
	for _, l := range m.Lines {
		line := report.MemoryLine{Name: l.Name, Effective: float64(l.Effective.Bytes), Overhead: -1, Text: report.Size(int64(l.Effective.Bytes))}
		if !l.Single {
			line.Overhead = float64(l.Overhead.Bytes)
			line.Text += " " + report.Size(int64(l.Overhead.Bytes))
		}
		lines = append(lines, line)
	}
	return lines
}
