// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"

	"golang.org/x/sys/unix"
	"kernel.org/pub/linux/libs/security/libcap/cap"

	"leakprof/bpf"
	"leakprof/profiler/experiment"
	"leakprof/profiler/plan"
	"leakprof/profiler/privilege"
)

// limitRights gives up what following a BIRD does not take, now that the probes
// are in place and all files are open, and returns what is left, in words. What
// it takes to measure run times goes to a process of its own, which stop ends. A
// cycle's command is to have the rights that the user gave, so that nothing is
// given up for it.
func (f *experimentFlags) limitRights(c *experiment.Config) (left string, stop func(), err error) {
	if f.cycleExec != "" {
		return "all rights, for --cycle-exec", func() {}, nil
	}
	var needed []cap.Value
	probes, following := true, privilege.Following()
	switch f.plan.Mode {
	case plan.Auto:
		following = privilege.Attaching(bpf.Multi().Err == nil)
	case plan.Walk:
		probes, following = false, privilege.Walking()
	}
	for _, k := range following {
		needed = append(needed, k.Capability)
	}
	if !ownsDirectory(f.out) {
		needed = append(needed, cap.DAC_OVERRIDE)
	}
	stop = func() {}
	if probes && privilege.Holds(cap.SYS_ADMIN) {
		m, err := startMeter()
		if err != nil {
			return "", nil, err
		}
		stop = func() { m.close() }
		c.MeasureRuntime = m.measure
	}
	kept, err := privilege.Keep(needed...)
	if err != nil {
		stop()
		return "", nil, err
	}
	return privilege.Names(kept), stop, nil
}

// ownsDirectory says whether files can be made in a directory by whom it belongs
// to, without a capability.
func ownsDirectory(dir string) bool {
	var st unix.Stat_t
	const writable = 0o300
	return unix.Stat(dir, &st) == nil && int(st.Uid) == os.Geteuid() && st.Mode&writable == writable
}
