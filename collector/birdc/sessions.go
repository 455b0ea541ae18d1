// SPDX-License-Identifier: Apache-2.0

package birdc

import (
	"context"
	"strconv"
	"strings"
	"time"
)

// Session is what "show protocols all" says of a BGP protocol and of the
// routes that it keeps.
type Session struct {
	Protocol
	Neighbor string // its address; "" of a dynamic protocol's template
	Imported uint64 // routes in BIRD's tables, over all channels
	// Restarting: BIRD keeps the routes because the neighbor is to come back
	// (graceful restart, RFC 4724). LongLived: it keeps them as stale for much
	// longer (RFC 9494).
	Restarting, LongLived bool
	// Left is when the last of the timers runs out that end this, 0 if none
	// runs.
	Left time.Duration
}

// Established says whether the BGP session is up.
func (s Session) Established() bool { return s.Info == "Established" }

// ShowSessions runs "show protocols all" and returns its BGP protocols.
func (c *Conn) ShowSessions(ctx context.Context) ([]Session, error) {
	r, err := c.Command(ctx, "show protocols all")
	if err != nil {
		return nil, err
	}
	return parseSessions(r)
}

func parseSessions(r *Reply) ([]Session, error) {
	var all []Session
	isBGP := false
	for _, l := range r.Lines {
		switch l.Code {
		case codeProtocol:
			p, err := parseProtocol(l.Text)
			if err != nil {
				return nil, err
			}
			if isBGP = p.Proto == "BGP"; isBGP {
				all = append(all, Session{Protocol: p})
			}
		case codeProtocolDetail:
			if isBGP {
				all[len(all)-1].detail(l.Text)
			}
		}
	}
	return all, nil
}

// detail takes one line of bgp_show_proto_info and what it calls
// (proto/bgp/bgp.c, nest/proto.c; BIRD 2.13 to 3.4).
func (s *Session) detail(line string) {
	name, value, hasValue := strings.Cut(strings.TrimSpace(line), ":")
	value = strings.TrimSpace(value)
	switch {
	case name == "Neighbor graceful restart active" && !hasValue:
		s.Restarting = true
	case name == "Neighbor address":
		s.Neighbor = value
	case name == "Restart timer":
		s.Left = max(s.Left, remaining(value))
	case name == "LL stale timer":
		s.LongLived, s.Left = true, max(s.Left, remaining(value))
	case name == "Neighbor GR" && value == "Long-lived":
		s.LongLived = true
	case name == "Routes":
		first, _, _ := strings.Cut(value, " ")
		if n, err := strconv.ParseUint(first, 10, 32); err == nil {
			s.Imported += n
		}
	}
}

// remaining reads what a timer has left, such as "83.512/-" or "83.512/120";
// 0 of anything else.
func remaining(value string) time.Duration {
	left, _, _ := strings.Cut(value, "/")
	seconds, err := strconv.ParseFloat(left, 64)
	const most = 1 << 32 // seconds; the largest timer has 24 bits of them
	if err != nil || !(seconds > 0 && seconds < most) {
		return 0
	}
	return time.Duration(seconds * float64(time.Second))
}
