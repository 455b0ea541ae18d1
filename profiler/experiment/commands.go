// SPDX-License-Identifier: Apache-2.0

package experiment

import (
	"leakprof/profiler/attribution"
	"leakprof/profiler/report"
)

// ownGrowth returns the sites that held exactly one object more for each command
// that we had sent to the control socket, from look to look. commands is how many
// that were until each. If all cycles took the same number nothing is said: a leak
// of as many objects looks no different.
//
// BIRD 3.1.0 to 3.1.7 lose a lock of 80 bytes with each command: cli_command
// (nest/cli.c) has one made by obstacle_target_init, and nobody freed it before
// commit 66eb8e455 of 3.1.8.
func ownGrowth(looks []*attribution.Heap, commands []uint64) map[site]bool {
	var own map[site]bool
	var before map[site]int64
	varied := false
	for i, h := range looks {
		now := objects(h)
		if i > 0 {
			sent := commands[i] - commands[i-1]
			varied = varied || sent != commands[1]-commands[0]
			grown := make(map[site]bool)
			for k, n := range now {
				if sent > 0 && n-before[k] == int64(sent) && (i == 1 || own[k]) {
					grown[k] = true
				}
			}
			own = grown
		}
		before = now
	}
	if !varied {
		return nil
	}
	return own
}

// commandsAt returns how many commands had been sent at the end of some phases.
func commandsAt(phases []*report.Phase) []uint64 {
	n := make([]uint64, len(phases))
	for i, p := range phases {
		n[i] = p.Commands
	}
	return n
}

// noteOwn notes what our commands have left in BIRD, and returns how much that
// is, in bytes.
func noteOwn(res *report.Result, own map[site]bool) int64 {
	var bytes, objects int64
	for i := range res.Retained {
		if s := &res.Retained[i]; own[siteOf(s.Stack, s.Allocator)] {
			bytes, objects = bytes+s.Bytes, objects+s.Objects
		}
	}
	if objects > 0 {
		res.Health = append(res.Health, report.Health{
			Name: "objects that BIRD keeps of leakprof's own commands", Count: uint64(objects), Bytes: uint64(bytes), Harmless: true,
			Meaning: "one for each command on the control socket: BIRD loses them, but not with its sessions",
		})
	}
	return bytes
}
