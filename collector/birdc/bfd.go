// SPDX-License-Identifier: Apache-2.0

package birdc

import (
	"context"
	"net/netip"
	"strings"
)

// ShowBFDSessions runs "show bfd sessions" and returns the neighbors to which a
// session is up. BIRD answers with an error where no BFD protocol runs.
func (c *Conn) ShowBFDSessions(ctx context.Context) ([]netip.Addr, error) {
	r, err := c.Command(ctx, "show bfd sessions")
	if err != nil {
		return nil, err
	}
	return parseBFDSessions(r), nil
}

// parseBFDSessions takes the rows of bfd_show_session (proto/bfd/bfd.c; BIRD 2.13
// to 3.4): address, interface, state, since, interval, timeout.
func parseBFDSessions(r *Reply) (up []netip.Addr) {
	for _, l := range r.Lines {
		f := strings.Fields(l.Text)
		if l.Code != codeBFD || len(f) < 3 || f[2] != "Up" {
			continue
		}
		if a, err := netip.ParseAddr(f[0]); err == nil {
			up = append(up, a)
		}
	}
	return up
}
