// SPDX-License-Identifier: Apache-2.0

package plan

import "time"

// What a hit costs the target, without what the program does then: measured
// with an empty program on Linux 6.18 in a virtual machine, where a
// single-step costs two exits; on bare metal it is nearer to two or three
// times an emulated instruction.
const (
	costEmulated = 700 * time.Nanosecond
	costStepped  = 10 * time.Microsecond
	costReturn   = 500 * time.Nanosecond
)

// Cost estimates what one call of the function costs the target in probes.
func (s Site) Cost() time.Duration {
	cost := costStepped
	if s.Emulated {
		cost = costEmulated
	}
	if s.Return {
		cost += costReturn
	}
	return cost
}
