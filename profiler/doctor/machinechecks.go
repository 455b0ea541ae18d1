// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"golang.org/x/sys/unix"

	"leakprof/bpf"
	"leakprof/profiler/privilege"
)

const newerKernel = "boot Linux " + bpf.Floor + " or later"

// asRoot is how to get the rights that it takes.
func (m *Machine) asRoot() string {
	rights := "cap_sys_ptrace,cap_dac_read_search,cap_checkpoint_restore"
	if !m.Walk {
		rights = "cap_bpf,cap_perfmon," + rights
		if bpf.Older(m.Release, bpf.MultiFloor) {
			rights += ",cap_sys_admin" // for probes by perf events
		}
	}
	return "run as root, or setcap " + rights + "+ep $(which leakprof)"
}

func (m *Machine) checks() []Check {
	if m.Walk {
		checks := []Check{works("kernel", "Linux %s: nothing is probed, any will do", m.Release)}
		return append(checks, m.rights()...)
	}
	checks := []Check{m.kernel(), m.btf()}
	checks = append(checks, m.rights()...)
	if c, ok := m.lockdown(); ok {
		checks = append(checks, c)
	}
	checks = append(checks, m.seccomp(), m.programs(), m.probes(), m.runtime(), m.memory())
	return checks
}

// kernel judges by features, as vendors bring them to older releases; where
// they cannot be asked for, by the release.
func (m *Machine) kernel() Check {
	if f := bpf.Newest(m.Features); f != nil {
		return fails("kernel", newerKernel, "Linux %s has no %s, which is there since %s", m.Release, f.Name, f.Since)
	}
	unknown := slices.ContainsFunc(m.Features, func(f bpf.Feature) bool { return f.Err != nil })
	switch {
	case !unknown:
		return works("kernel", "Linux %s has all that the programs use", m.Release)
	case bpf.Older(m.Release, bpf.Floor):
		last := m.Features[len(m.Features)-1]
		return fails("kernel", newerKernel, "Linux %s is older than %s, the first with %s", m.Release, bpf.Floor, last.Name)
	}
	return limited("kernel", m.asRoot(), "Linux %s should have all that the programs use, but may not be asked", m.Release)
}

func (m *Machine) btf() Check {
	if !m.BTF {
		return fails("BTF", "boot a kernel built with CONFIG_DEBUG_INFO_BTF=y", "the kernel does not describe its types: no /sys/kernel/btf/vmlinux")
	}
	return works("BTF", "/sys/kernel/btf/vmlinux")
}

// rights are the capabilities, and what each is for. With the first two and the
// means to read BIRD attach does its whole job but what the others name.
func (m *Machine) rights() []Check {
	var checks []Check
	held := privilege.Following()
	if m.Walk {
		held = privilege.Walking()
	}
	for _, c := range []struct {
		name    string
		number  int
		missing State
		purpose string
		without string
	}{
		{"CAP_BPF", unix.CAP_BPF, Fails, "to load programs", "no programs can be loaded" + m.unprivileged()},
		{"CAP_PERFMON", unix.CAP_PERFMON, Fails, "to probe, and to read memory from programs", "no probes can be placed"},
		{"CAP_SYS_PTRACE", unix.CAP_SYS_PTRACE, Limited, "to read processes of other users", "no BIRD of another user, or that was started as root, can be read"},
		{"CAP_DAC_READ_SEARCH", unix.CAP_DAC_READ_SEARCH, Limited, "to open the memory of other users' processes", "memory can be opened of processes of our own user only"},
		{"CAP_CHECKPOINT_RESTORE", unix.CAP_CHECKPOINT_RESTORE, Limited, "to open files that were replaced while in use", "a BIRD whose libraries were upgraded on disk while it runs cannot be read"},
	} {
		if m.Walk && (c.number == unix.CAP_BPF || c.number == unix.CAP_PERFMON) {
			checks = append(checks, works(c.name, "not needed: nothing is probed"))
			continue
		}
		if m.Has(c.number) {
			checks = append(checks, works(c.name, "held, %s; %s", c.purpose, afterwards(held, c.number)))
		} else {
			checks = append(checks, Check{Name: c.name, State: c.missing, Text: "not held: " + c.without, Remedy: m.asRoot()})
		}
	}
	if m.UserNamespace && !m.Walk {
		checks = append(checks, limited("user namespace", "run outside of it, in a container with --userns=host",
			"capabilities here are those of a user namespace: the kernel does not count them for BPF"))
	}
	return checks
}

// afterwards says what attach does with a capability once its probes are in place.
func afterwards(kept []privilege.Kept, capability int) string {
	for _, k := range kept {
		if int(k.Capability) == capability {
			return "attach keeps it, to " + k.Purpose
		}
	}
	return "attach gives it up when the probes are in place"
}

// unprivileged says what is behind the refusal of BPF to common users.
func (m *Machine) unprivileged() string {
	if m.UnprivilegedBPF == "" || m.UnprivilegedBPF == "0" {
		return ""
	}
	return fmt.Sprintf(" (kernel.unprivileged_bpf_disabled is %s, but 0 would not do for probes)", m.UnprivilegedBPF)
}

// lockdown: programs may not read the kernel's memory in its confidentiality
// mode (commit 9d1f8be5cf42, Linux 5.4), which the unwinder has to.
func (m *Machine) lockdown() (Check, bool) {
	switch m.Lockdown {
	case "":
		return Check{}, false
	case "confidentiality":
		return fails("lockdown", "boot with lockdown=integrity or without lockdown", "confidentiality: programs may not read the kernel's list of return probes, without which no stack can be walked"), true
	}
	return works("lockdown", "%s", m.Lockdown), true
}

func (m *Machine) seccomp() Check {
	const name = "seccomp"
	const remedy = "let the container have bpf, perf_event_open and process_vm_readv, as with --security-opt seccomp=unconfined"
	switch {
	case m.Seccomp == 0:
		return works(name, "no filter")
	case m.denied() && m.Has(unix.CAP_BPF) && m.Has(unix.CAP_PERFMON) && !m.UserNamespace:
		return fails(name, remedy, "a filter of system calls is in force, and likely what refuses BPF: the capabilities are held")
	case m.Load != nil || m.Probe != nil:
		return limited(name, remedy, "a filter of system calls is in force; what it refuses cannot be told")
	}
	return works(name, "a filter is in force, and lets BPF and probes pass")
}

// denied says that BPF or probes were refused for lack of rights.
func (m *Machine) denied() bool {
	return errors.Is(m.Load, fs.ErrPermission) || errors.Is(m.Probe, fs.ErrPermission)
}

func (m *Machine) programs() Check {
	switch {
	case m.Load == nil:
		return works("programs", "the kernel takes them")
	case m.unprivilegedUser():
		return fails("programs", "", "refused for lack of rights")
	}
	return fails("programs", "", "%s", m.Load)
}

// unprivilegedUser says that rights which are not held are why something was
// refused, which their own checks say better.
func (m *Machine) unprivilegedUser() bool {
	return m.denied() && !(m.Has(unix.CAP_BPF) && m.Has(unix.CAP_PERFMON))
}

func (m *Machine) probes() Check {
	const name = "probes"
	way := "by perf events"
	if m.Multi {
		way = "by uprobe_multi, all at once"
	}
	switch {
	case m.Load != nil:
		return fails(name, "", "not tried: there are no programs")
	case m.unprivilegedUser():
		return fails(name, "", "%s: refused for lack of rights", way)
	case errors.Is(m.Probe, fs.ErrPermission) && !m.Multi && !m.Has(unix.CAP_SYS_ADMIN):
		// Measured on Linux 6.18: CAP_PERFMON is enough for uprobe_multi alone.
		return fails(name, "run as root, or with CAP_SYS_ADMIN; or boot Linux "+bpf.MultiFloor+" or later", "%s: refused, because they take CAP_SYS_ADMIN, and the kernel has no uprobe_multi that would do", way)
	case errors.Is(m.Probe, fs.ErrPermission) && !m.Multi && m.Paranoid():
		return fails(name, "sysctl kernel.perf_event_paranoid=2", "%s: %s (kernel.perf_event_paranoid is %s)", way, m.Probe, m.PerfParanoid)
	case m.Probe != nil:
		return fails(name, "", "%s: %s", way, m.Probe)
	case !m.Multi:
		return limited(name, "boot Linux "+bpf.MultiFloor+" or later for uprobe_multi", "%s, one for each probe, which take some seconds to attach and to detach", way)
	}
	return works(name, "%s", way)
}

func (m *Machine) runtime() Check {
	if m.Runtime != nil {
		return limited("cost", "run as root, or with CAP_SYS_ADMIN", "the run time of programs is not measured: reports estimate less overhead than there is")
	}
	return works("cost", "the run time of programs is measured in samples")
}

func (m *Machine) memory() Check {
	const name = "memory"
	r := m.Memory
	switch {
	case r.Short:
		return fails(name, "free memory, or raise the limit of leakprof's control group", "%s are left, less than what is kept for others: the live set would take nothing", size(r.Available))
	case r.Group:
		return works(name, "%s of the control group are left, up to %s for the live set", size(r.Available), size(r.Budget))
	}
	return works(name, "%s are available, up to %s for the live set", size(r.Available), size(r.Budget))
}

// size prints bytes.
func size(n uint64) string {
	switch {
	case n < 10<<20:
		return fmt.Sprintf("%d kB", n>>10)
	case n < 10<<30:
		return fmt.Sprintf("%d MB", n>>20)
	}
	return fmt.Sprintf("%.1f GB", float64(n)/(1<<30))
}
