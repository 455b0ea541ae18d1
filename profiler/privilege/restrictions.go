// SPDX-License-Identifier: Apache-2.0

package privilege

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
	"kernel.org/pub/linux/libs/security/libcap/cap"
)

// Restrictions are what the kernel allows us, and what the machine forbids all.
type Restrictions struct {
	Lockdown string // "none", "integrity", "confidentiality"; "" without lockdown
	// UnprivilegedBPF and PerfParanoid are the settings of the names
	// kernel.unprivileged_bpf_disabled and kernel.perf_event_paranoid, "" if
	// they cannot be read.
	UnprivilegedBPF, PerfParanoid string
	Seccomp                       int    // our own mode, proc_pid_status(5): 0 none, 1 strict, 2 filter
	Capabilities                  uint64 // our effective ones, a bit for each number
	// UserNamespace says that our capabilities are not those of the machine.
	UserNamespace bool
}

// ReadRestrictions reads them.
func ReadRestrictions() Restrictions {
	r := Restrictions{
		Lockdown:        lockdown(read("/sys/kernel/security/lockdown")),
		UnprivilegedBPF: read("/proc/sys/kernel/unprivileged_bpf_disabled"),
		PerfParanoid:    read("/proc/sys/kernel/perf_event_paranoid"),
		UserNamespace:   mapped(read("/proc/self/uid_map")),
	}
	r.Seccomp, r.Capabilities = ownStatus(read("/proc/self/status"))
	return r
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

// Has says whether we have a capability (unix.CAP_*), by itself or in one that
// contains it.
func (r *Restrictions) Has(capability int) bool {
	if r.Capabilities&(1<<capability) != 0 {
		return true
	}
	b, ok := broader[cap.Value(capability)]
	return ok && r.Capabilities&(1<<b) != 0
}

// Paranoid says that perf events are forbidden to more than the kernel itself
// knows of: some distributions have levels above 2.
func (r *Restrictions) Paranoid() bool {
	level, err := strconv.Atoi(r.PerfParanoid)
	return err == nil && level > 2
}

// NoKernelMemory says that programs may not read the kernel's memory, as in
// lockdown's confidentiality mode (commit 9d1f8be5cf42, Linux 5.4): their helpers
// for it are unknown then.
func (r *Restrictions) NoKernelMemory() bool { return r.Lockdown == "confidentiality" }

// Locked is what to say and to do where NoKernelMemory.
const Locked = "lockdown is in its confidentiality mode, in which programs may not read the kernel's memory; boot with lockdown=integrity or without lockdown"

// Refusal says why the kernel, which has given no reason, likely did not permit us
// to load programs or to place probes (perfEvents: by perf events), and what to do.
func (r *Restrictions) Refusal(perfEvents bool) string {
	missing := slices.DeleteFunc([]cap.Value{cap.BPF, cap.PERFMON}, func(v cap.Value) bool { return r.Has(int(v)) })
	switch {
	case len(missing) == 1:
		return Names(missing) + " is not held; run as root, or with it"
	case len(missing) > 1:
		return Names(missing) + " are not held; run as root, or with them"
	case r.UserNamespace:
		return "the capabilities held are those of a user namespace, which do not count for BPF; run outside of it, in a container with --userns=host"
	case perfEvents && !r.Has(unix.CAP_SYS_ADMIN):
		return "this kernel places probes by perf events, which take CAP_SYS_ADMIN; run as root, or with it, or boot Linux 6.10 or later"
	case r.Seccomp != 0:
		return "a filter of system calls (seccomp) is in force; let the container have bpf, perf_event_open and process_vm_readv, as with --security-opt seccomp=unconfined"
	case r.NoKernelMemory():
		return Locked
	case perfEvents && r.Paranoid():
		return fmt.Sprintf("kernel.perf_event_paranoid is %s; sysctl kernel.perf_event_paranoid=2", r.PerfParanoid)
	}
	return "a security module may forbid it; leakprof doctor says what else there is"
}
