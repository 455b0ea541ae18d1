// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"time"

	"leakprof/profiler/plan/prologue"
)

// What a hit costs the target, without what the program does then, if nothing was
// measured: with an empty program on Linux 6.18 in a virtual machine, where a
// single-step costs two exits; on bare metal it is nearer to two or three
// times an emulated instruction.
const (
	costEmulated = 700 * time.Nanosecond
	costStepped  = 10 * time.Microsecond
	costReturn   = 500 * time.Nanosecond
)

// Costs is what a probe costs by the instruction it is on, as measured on this
// machine: see package probecost.
type Costs struct {
	Hit map[prologue.Form]time.Duration
	// Return is what a return probe adds.
	Return time.Duration
}

// emulatedSince515 are the forms that every kernel since 5.15 emulates
// (arch/x86/kernel/uprobes.c, branch_setup_xol_ops and push_setup_xol_ops).
var emulatedSince515 = map[prologue.Form]bool{
	prologue.Push: true, prologue.PushHigh: true, prologue.Nop: true, prologue.NopLong: true, prologue.Nop5: true,
	prologue.Jmp8: true, prologue.Jmp32: true, prologue.Jcc8: true, prologue.Jcc32: true, prologue.Call: true,
}

// Emulates says whether the kernel emulates instructions of a form. What was
// measured says so if there are two kinds of costs that lie well apart.
func (c *Costs) Emulates(f prologue.Form) bool {
	const apart = 1.5
	if c == nil || len(c.Hit) == 0 {
		return emulatedSince515[f]
	}
	least, most := c.bounds()
	hit, ok := c.Hit[f]
	if float64(most) < apart*float64(least) {
		return emulatedSince515[f]
	}
	return ok && hit < (least+most)/2
}

func (c *Costs) bounds() (least, most time.Duration) {
	for _, hit := range c.Hit {
		if least == 0 || hit < least {
			least = hit
		}
		most = max(most, hit)
	}
	return least, most
}

// price notes on a site what a hit costs there.
func (c *Costs) price(s *Site) {
	s.Emulated = c.Emulates(s.Instruction)
	if c == nil || len(c.Hit) == 0 {
		return
	}
	hit, ok := c.Hit[s.Instruction]
	if !ok {
		_, hit = c.bounds()
	}
	s.hit, s.back = hit, c.Return
}

// Cost estimates what one call of the function costs the target in probes.
func (s Site) Cost() time.Duration {
	cost, back := s.hit, s.back
	if cost == 0 {
		cost, back = costStepped, costReturn
		if s.Emulated {
			cost = costEmulated
		}
	}
	if s.Return {
		cost += back
	}
	return cost
}
