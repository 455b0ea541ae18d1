// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"leakprof/bpf"
	"leakprof/profiler"
)

// Machine is the kernel, what it allows, and what we may do.
type Machine struct {
	Release  string        // uname -r
	Features []bpf.Feature // what the programs need, the oldest first
	BTF      bool          // the kernel describes its types: /sys/kernel/btf/vmlinux
	Lockdown string        // "none", "integrity", "confidentiality"; "" without lockdown
	// UnprivilegedBPF and PerfParanoid are the settings of the names
	// kernel.unprivileged_bpf_disabled and kernel.perf_event_paranoid, "" if
	// they cannot be read.
	UnprivilegedBPF, PerfParanoid string
	Seccomp                       int    // our own mode, proc_pid_status(5): 0 none, 1 strict, 2 filter
	Capabilities                  uint64 // our effective ones, a bit for each number
	// UserNamespace says that our capabilities are not those of the machine.
	UserNamespace bool
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

// ReadMachine collects what is to be known of the machine. It loads programs and
// places a probe on a function of ours that nobody calls; all of it is gone when
// it returns.
func ReadMachine() Machine {
	m := Machine{
		Release: bpf.KernelRelease(), Features: bpf.Features(), BTF: exists("/sys/kernel/btf/vmlinux"),
		Lockdown:        lockdown(read("/sys/kernel/security/lockdown")),
		UnprivilegedBPF: read("/proc/sys/kernel/unprivileged_bpf_disabled"),
		PerfParanoid:    read("/proc/sys/kernel/perf_event_paranoid"),
		UserNamespace:   mapped(read("/proc/self/uid_map")),
		Memory:          profiler.MemoryRoom(),
	}
	m.Seccomp, m.Capabilities = ownStatus(read("/proc/self/status"))
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

// read is the content of a small file of the kernel's, "" if there is none.
func read(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// lockdown is the choice in brackets of "none [integrity] confidentiality"
// (kernel_lockdown(7)).
func lockdown(text string) string {
	_, after, _ := strings.Cut(text, "[")
	choice, _, _ := strings.Cut(after, "]")
	return choice
}

// mapped says whether a uid_map (user_namespaces(7)) is not that of the first
// user namespace, which maps all numbers to themselves.
func mapped(uidMap string) bool {
	return uidMap != "" && strings.Join(strings.Fields(uidMap), " ") != "0 0 4294967295"
}

// ownStatus reads the mode of seccomp and the effective capabilities.
func ownStatus(status string) (seccomp int, capabilities uint64) {
	for line := range strings.Lines(status) {
		key, value, _ := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		switch key {
		case "Seccomp":
			seccomp, _ = strconv.Atoi(value)
		case "CapEff":
			capabilities, _ = strconv.ParseUint(value, 16, 64)
		}
	}
	return seccomp, capabilities
}

// has says whether we have a capability (unix.CAP_*), by itself or in one that
// contains it (capabilities(7)).
func (m *Machine) has(capability int) bool {
	if m.Capabilities&(1<<capability) != 0 {
		return true
	}
	switch capability {
	case unix.CAP_BPF, unix.CAP_PERFMON, unix.CAP_CHECKPOINT_RESTORE:
		return m.Capabilities&(1<<unix.CAP_SYS_ADMIN) != 0
	case unix.CAP_DAC_READ_SEARCH:
		return m.Capabilities&(1<<unix.CAP_DAC_OVERRIDE) != 0
	}
	return false
}
