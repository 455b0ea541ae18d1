// SPDX-License-Identifier: Apache-2.0

package experiment

import (
	"fmt"
	"time"

	"leakprof/collector/birdc"
)

// kept sums up what BIRD keeps of sessions that are down: how many routes,
// and where it is on purpose, why and until when. BIRD helps a neighbor that
// restarts by default, for the time that the neighbor asks for, 120 s in BIRD.
func kept(sessions []birdc.Session, now time.Time) (routes int64, why string, until time.Time) {
	var keeping int
	var held uint64
	for _, s := range sessions {
		if s.Established() {
			continue
		}
		routes += int64(s.Imported)
		if !s.Restarting && !s.LongLived {
			continue
		}
		if keeping++; keeping == 1 {
			why = "graceful restart of " + s.Name
			if s.LongLived {
				why = "long-lived graceful restart of " + s.Name
			}
		}
		held += s.Imported
		if s.Left > 0 && now.Add(s.Left).After(until) {
			until = now.Add(s.Left)
		}
	}
	if keeping > 1 {
		why += fmt.Sprintf(" and %d more", keeping-1)
	}
	if keeping > 0 {
		why += fmt.Sprintf(" holds %s", count(int64(held), "route"))
	}
	return routes, why, until
}
