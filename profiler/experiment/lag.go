// SPDX-License-Identifier: Apache-2.0

package experiment

import (
	"fmt"
	"time"
)

const (
	// silenceLeast and silenceMost bound after how long without a BMP message the
	// control socket is believed, twice the settle time else: BIRD 3.1.7 tells
	// nothing of sessions that were up before BMP was.
	silenceLeast, silenceMost = time.Second, 10 * time.Second
	// lagMost is after how long it is believed though messages come: those of
	// others may never end.
	lagMost = 2 * time.Minute
	// lagNoted is from when on BMP's lag is worth a note: the control socket is
	// asked once a second.
	lagNoted = 2 * time.Second
)

// lag is how far BMP is behind BIRD's control socket: what BIRD has to say
// waits in its queue, which is long where the station is slow.
type lag struct {
	since    time.Time // when they began to differ; zero if they do not
	sessions int       // of which they say different things
	most     int
	messages uint64    // of BMP, at
	changed  time.Time // when the last one came
}

func (l *lag) behind() bool { return !l.since.IsZero() }

// words say what BMP has yet to tell of, "" if there is nothing.
func (l *lag) words(now time.Time) string {
	if !l.behind() {
		return ""
	}
	return fmt.Sprintf("BMP to tell of %s that BIRD's control socket does, for %.0f s", count(int64(l.sessions), "session"), now.Sub(l.since).Seconds())
}

// compare holds what BMP says of the sessions against the control socket, whose
// answer is new.
func (r *run) compare(now time.Time, messages uint64) {
	l, established := &r.peers.lag, r.established()
	if messages != l.messages || !l.behind() {
		l.messages, l.changed = messages, now
	}
	l.sessions = r.peers.differ(established)
	if l.sessions == 0 {
		if took := now.Sub(l.since); l.behind() && took >= lagNoted {
			r.note(now, fmt.Sprintf("BMP told of %s %.0f s after BIRD's control socket", count(int64(l.most), "session"), took.Seconds()))
		}
		*l = lag{}
		return
	}
	if !l.behind() {
		l.since = now
	}
	l.most = max(l.most, l.sessions)
	silence := min(max(2*r.Session.Settle, silenceLeast), silenceMost)
	// Whoever drives goes by the control socket anyway.
	if !r.Session.Driven && (r.peers.connections == 0 || now.Sub(l.changed) >= silence || now.Sub(l.since) >= lagMost) {
		r.note(now, fmt.Sprintf("BMP said nothing of %s; BIRD's control socket did", count(int64(l.sessions), "session")))
		r.peers.adopt(established, now)
		*l = lag{}
	}
}
