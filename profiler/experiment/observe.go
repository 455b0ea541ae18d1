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
	o.PeerUps, o.PeerDowns, o.PeersUp = r.ups, r.downs, len(r.protocols)
	if r.Station != nil {
		r.observeStation(&o)
	}
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
	var known map[string]bool
	if !r.byBMP && counts.Accepted > 0 {
		r.byBMP, known = true, make(map[string]bool)
		for address, name := range r.peers.names {
			known[address] = r.protocols[name]
		}
	}
	if !r.byBMP {
		return
	}
	before := r.peers.connections
	r.peers.update(counts, known, o.Time)
	if before > 0 && r.peers.connections == 0 {
		r.note(o.Time, "the BMP connection ended; a new one is no cycle")
	}
	// Those of the control socket were before.
	o.PeerUps, o.PeerDowns, o.PeersUp = r.ups+r.peers.ups, r.downs+r.peers.downs, r.peers.upNow()
	if r.Session.Driven && (r.peers.connections == 0 || r.Station.Stalled()) {
		o.PeersUp = 0 // nobody tells, or nobody listens
	}
	if r.Peer != "" {
		o.Messages = r.peers.messages
	}
}

// askControl counts routes when the session's machine wants it, and where no
// BMP tells of the sessions, reads the state of the BGP protocols.
func (r *run) askControl(ctx context.Context, o *session.Observation) error {
	ctx, cancel := context.WithTimeout(ctx, controlTimeout)
	defer cancel()
	if r.machine.WantsRoutes() || o.Routes < 0 {
		tables, err := r.Control.ShowRouteCount(ctx, "table all")
		if err != nil {
			return err
		}
		o.Routes, o.RoutesCounted = total(tables), true
		sessions, err := r.Control.ShowSessions(ctx)
		if err != nil {
			return err
		}
		for _, s := range sessions {
			if s.Neighbor != "" {
				r.peers.names[s.Neighbor] = s.Name
			}
		}
		sessions = slices.DeleteFunc(sessions, func(s birdc.Session) bool { return !r.peers.selects(s.Neighbor, s.Name) })
		o.Kept, o.Keeping, o.KeptUntil = kept(sessions, o.Time)
	}
	if r.byBMP || r.Driver != nil || o.Time.Sub(r.protocolsAt) < controlInterval {
		return nil
	}
	isFirst := r.protocolsAt.IsZero()
	r.protocolsAt = o.Time
	all, err := r.Control.ShowProtocols(ctx)
	if err != nil {
		return err
	}
	up := make(map[string]bool)
	for _, p := range all {
		if p.Proto == "BGP" && p.Info == "Established" && r.peers.selects(r.address(p.Name), p.Name) {
			up[p.Name] = true
			// Sessions that were up before we came are the baseline's.
			if !r.protocols[p.Name] && !isFirst {
				r.ups++
			}
		}
	}
	for name := range r.protocols {
		if !up[name] {
			r.downs++
		}
	}
	r.protocols = up
	return nil
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
