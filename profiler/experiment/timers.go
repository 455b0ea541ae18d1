// SPDX-License-Identifier: Apache-2.0

package experiment

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"leakprof/collector/birdc"
	"leakprof/collector/bmp"
	"leakprof/profiler/guard"
)

// timers finds sessions that BIRD lost because a timer ran out in what its control
// socket answers, one answer after the other.
type timers struct {
	asked     time.Time // last; zero before
	rows, bfd map[string]row
	hasBFD    map[string]bool // neighbors with which a BFD session was up
}

// row is what was said of a protocol or of a BFD session.
type row struct{ state, since, info string }

// timerErrors are what BIRD says of a BGP session that it lost because a timer ran
// out, its own or the neighbor's (bgp_err_classes, bgp_misc_errors and bgp_msg_table
// in proto/bgp; BIRD 2.13 to 3.4): "BGP Error: Hold timer expired", "Received: Hold
// timer expired", "Error: BFD session down". Of a neighbor of which it keeps the
// routes it says only that it does, and the last is BFD Down of RFC 9384.
var timerErrors = []string{"Hold timer expired", "Send hold timer expired", "BFD session down", "Error: Graceful restart", "Unknown error 6.10"}

// unspecificCease is what a neighbor that is a BIRD sends when its own BFD session
// with ours goes down (bgp_bfd_notify): ours was late. An operator's shutdown has
// other words.
const unspecificCease = "Received: Cease"

// timerError says whether the last column of "show protocols" tells of a timer, for
// a neighbor with BFD or without.
func timerError(info string, hasBFD bool) bool {
	for _, text := range timerErrors {
		if strings.Contains(info, text) {
			return true
		}
	}
	return hasBFD && strings.HasSuffix(info, unspecificCease)
}

// told are the answers to one question, and what else is known then.
type told struct {
	asked, answered time.Time
	began           time.Time // when the probes had been placed
	protocols       []birdc.Protocol
	bfd             []birdc.BFDSession
	// address is the neighbor of a BGP protocol, "" if it is not known.
	address func(protocol string) string
	// explained says that somebody else tells why the session with a neighbor went
	// down after a time.
	explained func(address string, after time.Time) bool
}

// take returns which sessions were lost between the last answers and these. A BGP
// session that is up again has no error any more, but another time since when.
func (t *timers) take(n told) (lost []guard.Loss) {
	before := *t
	t.asked, t.rows, t.bfd, t.hasBFD = n.asked, make(map[string]row), make(map[string]row), make(map[string]bool)
	neighbors := make(map[string]bool)
	for _, p := range n.protocols {
		t.rows[p.Name] = row{p.State, p.Since, p.Info}
		if p.Proto == "BGP" {
			neighbors[neighbor(n.address(p.Name))] = true
		}
	}
	for _, s := range n.bfd {
		t.hasBFD[s.Neighbor.String()] = s.State == bfdUp || t.hasBFD[s.Neighbor.String()]
		// That of a BGP session goes with it, and begins anew.
		if !neighbors[s.Neighbor.String()] {
			t.bfd[s.Neighbor.String()+" "+s.Interface] = row{state: s.State, since: s.Since}
		}
	}
	isFirst := before.asked.IsZero()
	if isFirst {
		before.asked = n.began.Add(-guard.Before)
	}
	shift := clockShift(before.rows, t.rows)
	loss := func(session, read, since string) guard.Loss {
		l := guard.Loss{What: lostSession + session, Read: read, Stood: before.asked, Fell: n.answered}
		if at, ok := fell(since, before.asked, n.answered); ok {
			l.Fell = at
		}
		return l
	}
	for _, p := range n.protocols {
		then, ok := before.rows[p.Name]
		// Of what was down at first it counts when it went down.
		_, isNew := fell(p.Since, before.asked, n.answered)
		if p.Proto != "BGP" || isFirst && !isNew || !isFirst && (!ok || then.info != established) {
			continue
		}
		name, address := p.Name, neighbor(n.address(p.Name))
		if address != "" {
			name += " with " + address
		}
		switch {
		case timerError(p.Info, before.hasBFD[address]):
			lost = append(lost, loss(name, fmt.Sprintf("show protocols: %s since %s, %s", p.State, p.Since, p.Info), p.Since))
		case !isFirst && p.Info == established && moved(then.since, p.Since, shift) && !n.explained(address, before.asked):
			l := loss(name, fmt.Sprintf("show protocols: up again since %s, and nobody said why", p.Since), "")
			l.Fell = before.asked // what went on after it fell says nothing
			lost = append(lost, l)
		}
	}
	for key, now := range t.bfd {
		then := before.bfd[key]
		if then.state == bfdUp && (now.state == bfdDown || moved(then.since, now.since, shift)) {
			lost = append(lost, loss("BFD with "+key, fmt.Sprintf("show bfd sessions: %s since %s", now.state, now.since), now.since))
		}
	}
	return lost
}

// lostSession is what BIRD did, before the session's name.
const lostSession = "lost the session "

const established, bfdUp, bfdDown = "Established", "Up", "Down"

// sinceLayouts are those of BIRD's own formats of time that have one of day (iso
// short and iso long; a fraction of a second is read without being in the layout).
var sinceLayouts = []string{time.DateTime, time.TimeOnly}

// sinceTime reads a time since when something is as it is. ok is false where it is
// a date alone, of what is old, or in a format of the user's.
func sinceTime(text string) (t time.Time, layout string, ok bool) {
	for _, layout := range sinceLayouts {
		if t, err := time.Parse(layout, text); err == nil {
			return t, layout, true
		}
	}
	return t, "", false
}

// between is the time from one since to another; ok is false where that cannot be
// told. BIRD reckons both back from the clock, so that they are off by its rounding.
func between(before, after string) (d time.Duration, ok bool) {
	a, layout, okay := sinceTime(before)
	b, layout2, okay2 := sinceTime(after)
	if !okay || !okay2 || layout != layout2 {
		return 0, false
	}
	if d = b.Sub(a); layout == time.TimeOnly {
		const day = 24 * time.Hour
		d = (d%day+day+day/2)%day - day/2 // past midnight
	}
	return d, true
}

// clockShift is by how much the machine's clock was set between two answers: all
// that has not changed since is reckoned back from it.
func clockShift(before, after map[string]row) (shift time.Duration) {
	found := false
	for name, now := range after {
		d, ok := between(before[name].since, now.since)
		if ok && (!found || d.Abs() < shift.Abs()) {
			shift, found = d, true
		}
	}
	return shift
}

// sinceSlack is by how much a since is off at most.
const sinceSlack = time.Second

// moved says whether something began anew between two answers.
func moved(before, after string, shift time.Duration) bool {
	if d, ok := between(before, after); ok {
		return d-shift > sinceSlack
	}
	// What was old has a date alone, and has a time of day when it is new.
	_, dateErr := time.Parse(time.DateOnly, before)
	_, err := time.Parse(time.TimeOnly, after)
	return dateErr == nil && err == nil
}

// fell is when a session went down that stood at a time and did not when BIRD
// answered, by BIRD's since; ok is false where that cannot be so, or be told. BIRD's
// time zone is taken to be ours or UTC, as in containers.
func fell(since string, stood, answered time.Time) (at time.Time, ok bool) {
	t, _, ok := sinceTime(since)
	if !ok {
		return at, false
	}
	for _, zone := range []*time.Location{answered.Location(), time.UTC} {
		local := answered.In(zone)
		at = time.Date(local.Year(), local.Month(), local.Day(), t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), zone)
		if at.After(answered.Add(sinceSlack)) {
			at = at.AddDate(0, 0, -1) // before midnight
		}
		if !at.Before(stood.Add(-sinceSlack)) {
			return at, true
		}
	}
	return at, false
}

// The NOTIFICATIONs by which a session ends when a timer has run out: codes of RFC
// 4271 and 9687, and the subcode of Cease of RFC 9384.
const (
	codeHoldTimer, codeSendHoldTimer = 4, 8
	codeCease, subBFDDown            = 6, 10
)

// isTimer says whether a Peer Down tells of a timer. BIRD 2 does, and not of BFD;
// BIRD 3 gives no reasons.
func isTimer(p bmp.PeerCounts) bool {
	n := p.LastNotification
	return n != nil && (n.Code == codeHoldTimer || n.Code == codeSendHoldTimer || n.Code == codeCease && n.Subcode == subBFDDown)
}

// peerTimers finds the same in what BMP tells, one count after the other.
type peerTimers struct {
	at   time.Time // of the last count; zero before
	seen map[heard]uint64
}

// take returns which sessions were lost between the last count and this one. What
// a router sends before its Initiation is its queue from before this connection.
func (t *peerTimers) take(c bmp.Counts, at time.Time) (lost []guard.Loss) {
	before := *t
	t.at, t.seen = at, make(map[heard]uint64)
	for _, conn := range c.Connections {
		for _, p := range conn.Peers {
			key := heard{conn.Connection, p.Peer.Type, same(p.Peer)}
			t.seen[key] = p.Downs
			if before.at.IsZero() || conn.Initiation == nil || p.Downs == before.seen[key] || !isTimer(p) {
				continue
			}
			lost = append(lost, guard.Loss{
				What: lostSession + p.Peer.Addr.String(), Stood: before.at, Fell: p.Changed,
				Read: fmt.Sprintf("BMP Peer Down: %v, %v", p.LastReason, p.LastNotification),
			})
		}
	}
	return lost
}

// downExplained says whether BMP tells why the session with a neighbor went down
// after a time: by a NOTIFICATION. Those of timers it tells of itself.
func downExplained(c bmp.Counts, address string, after time.Time) bool {
	a, err := netip.ParseAddr(address)
	if err != nil {
		return false
	}
	for _, conn := range c.Connections {
		for _, p := range conn.Peers {
			if p.Peer.Addr == a && p.Downs > 0 && p.LastNotification != nil && p.Changed.After(after) {
				return true
			}
		}
	}
	return false
}
