// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
)

// objectAllocators are the functions that hand out objects, of which no BIRD has
// all and not every mode follows any, by what is to be loaded for them.
var objectAllocators = map[string][]string{
	"sl_alloc":            {liveProgLeaveSlAlloc},
	"msl_alloc":           {liveProgLeaveMslAlloc},
	"msl_alloc_from_page": {liveProgLeaveMslAlloc},
	"isl_alloc":           {liveProgEnterIslAlloc, liveProgLeaveIslAlloc},
	"lp_alloc":            {liveProgEnterLpAlloc, liveProgLeaveLpAlloc},
	"lp_allocu":           {liveProgEnterLpAlloc, liveProgLeaveLpAlloc},
	"lp_allocz":           {liveProgEnterLpAlloc, liveProgLeaveLpAlloc},
}

// leaveOut puts nothing in the place of the programs that only functions in without
// need: the kernel takes its time to verify them.
func leaveOut(spec *ebpf.CollectionSpec, without map[string]bool) {
	needed := make(map[string]bool)
	for function, programs := range objectAllocators {
		for _, name := range programs {
			needed[name] = needed[name] || !without[function]
		}
	}
	for name, is := range needed {
		if !is {
			spec.Programs[name].Instructions = asm.Instructions{asm.Mov.Imm(asm.R0, 0).WithSymbol(name), asm.Return()}
		}
	}
}
