// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"os"

	"leakprof/bpf"
	"leakprof/profiler"
	"leakprof/profiler/plan"
	"leakprof/profiler/privilege"
)

// Machine is the kernel, what it allows, and what we may do.
type Machine struct {
	// Walk says that nothing is to be probed (plan.Walk): of all below only
	// Restrictions are known then.
	Walk     bool
	Release  string        // uname -r
	Features []bpf.Feature // what the programs need, the oldest first
	BTF      bool          // the kernel describes its types: /sys/kernel/btf/vmlinux
	privilege.Restrictions
	// Load is why the kernel does not take the programs, nil if it does.
	Load error
	// Multi says that uprobe_multi places the probes; otherwise perf events do.
	Multi bool
	// Probe is why no probe can be placed, nil if one can.
	Probe error
	// Runtime is why the run time of programs cannot be measured, nil if it can.
	Runtime error
	Memory  profiler.Room
}

// ReadMachine collects what is to be known of the machine for a mode. It loads
// programs and places a probe on a function of ours that nobody calls, unless the
// mode needs neither; all of it is gone when it returns.
func ReadMachine(mode plan.Mode) Machine {
	if mode == plan.Walk {
		return Machine{Walk: true, Release: bpf.KernelRelease(), Restrictions: privilege.ReadRestrictions()}
	}
	m := Machine{
		Release: bpf.KernelRelease(), Features: bpf.Features(), BTF: exists("/sys/kernel/btf/vmlinux"),
		Restrictions: privilege.ReadRestrictions(), Memory: profiler.MemoryRoom(),
	}
	m.Multi, m.Load = tryLoad()
	if m.Load == nil {
		m.Probe = tryProbe(m.Multi)
	}
	m.Runtime = tryRuntime()
	return m
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
