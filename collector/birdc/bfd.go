// SPDX-License-Identifier: Apache-2.0

package birdc

import (
	"context"
	"errors"
	"net/netip"
	"strings"
)

// BFDSession is one row of "show bfd sessions".
type BFDSession struct {
	Neighbor  netip.Addr // without a zone
	Interface string     // "---" of a multihop session
	State     string     // Up, Down, Init, AdminDown
	Since     string     // of the state, in BIRD's configured time format
}

// ShowBFDSessions runs "show bfd sessions". Where BIRD refuses, for no BFD protocol runs,
// there is none.
func (c *Conn) ShowBFDSessions(ctx context.Context) ([]BFDSession, error) {
	r, err := c.Command(ctx, "show bfd sessions")
	if bad := new(CommandError); errors.As(err, &bad) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return parseBFDSessions(r), nil
}

// parseBFDSessions takes the rows of bfd_show_session (proto/bfd/bfd.c; BIRD 2.13
// to 3.4): address, interface, state, since, interval, timeout.
func parseBFDSessions(r *Reply) (all []BFDSession) {
	for _, l := range r.Lines {
		f := strings.Fields(l.Text)
		if l.Code != codeBFD || len(f) < 4 {
			continue
		}
		a, err := netip.ParseAddr(f[0])
		if err != nil {
			continue // the protocol's name, the heading
		}
		s := BFDSession{Neighbor: a, Interface: f[1], State: f[2]}
		s.Since, _ = since(f[3:])
		all = append(all, s)
	}
	return all
}
