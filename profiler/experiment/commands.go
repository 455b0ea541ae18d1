// SPDX-License-Identifier: Apache-2.0

package experiment

import (
	"slices"

	"leakprof/profiler/attribution"
	"leakprof/profiler/report"
)

// own is the sites that held exactly one object more for each command that we had
// sent to the control socket, from look to look.
//
// BIRD 3 before 3.1.8, 3.2.3 and 3.3.2 loses a lock of 80 bytes with each command:
// cli_command (nest/cli.c) has one made by obstacle_target_init, and nobody freed
// it before commit 66eb8e455.
type own struct {
	// bytes is what each site retained in each cycle after the first; nil before
	// the second.
	bytes  map[site][]int64
	first  uint64 // commands in the second cycle
	varied bool   // not all cycles took as many
}

// take takes a cycle after the first: the objects before and after, the bytes
// retained, and how many commands were sent.
func (o *own) take(before, after, bytes map[site]int64, sent uint64) {
	isFirst := o.bytes == nil
	now := make(map[site][]int64)
	for k, n := range after {
		if sent > 0 && n-before[k] == int64(sent) && (isFirst || o.bytes[k] != nil) {
			now[k] = append(o.bytes[k], bytes[k])
		}
	}
	if isFirst {
		o.first = sent
	}
	o.varied = o.varied || sent != o.first
	o.bytes = now
}

// sites are those that are our own. If all cycles took the same number of
// commands nothing is said: a leak of as many objects looks no different.
func (o *own) sites() map[site]bool {
	if !o.varied {
		return nil
	}
	all := make(map[site]bool)
	for k := range o.bytes {
		all[k] = true
	}
	return all
}

// takeOutOwn takes what our commands have left in BIRD out of what is retained,
// and notes it: the stacks that the report begins with are to blame for something.
func takeOutOwn(res *report.Result, own map[site]bool) {
	var ours []attribution.Retained
	res.Retained = slices.DeleteFunc(res.Retained, func(s attribution.Retained) bool {
		if !own[siteOf(s.Stack, s.Allocator)] {
			return false
		}
		ours = append(ours, s)
		return true
	})
	if bytes, objects := sumRetained(ours); objects > 0 {
		res.Health = append(res.Health, report.Health{
			Name: "objects that BIRD keeps of leakprof's own commands", Count: uint64(objects), Bytes: uint64(bytes), Harmless: true,
			Meaning: "one for each command on the control socket: BIRD loses them, but not with its sessions",
		})
	}
}
