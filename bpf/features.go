// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/features"
	"golang.org/x/sys/unix"
)

const (
	// Floor is the oldest release of Linux with all that the programs use.
	Floor = "5.15"
	// MultiFloor is the oldest of which uprobe_multi follows all threads of one
	// process (commit 46ba0e49b642).
	MultiFloor = "6.10"
)

// Feature is something of the kernel's that the programs use.
type Feature struct {
	Name  string
	Since string // the first release of Linux that has it
	// Err is nil if the kernel has it, wraps ebpf.ErrNotSupported if it has not,
	// and is another error if that cannot be told, for lack of rights.
	Err error
}

// Features asks the kernel for each feature that the programs cannot do
// without, the oldest first.
func Features() []Feature {
	helper := func(name, since string, f asm.BuiltinFunc) Feature {
		return Feature{name, since, features.HaveProgramHelper(ebpf.Kprobe, f)}
	}
	return []Feature{
		helper("bpf_probe_read_user", "5.5", asm.FnProbeReadUser),
		helper("bpf_get_ns_current_pid_tgid", "5.7", asm.FnGetNsCurrentPidTgid),
		helper("bpf_get_current_task_btf", "5.11", asm.FnGetCurrentTaskBtf),
		helper("task storage for probes", "5.12", asm.FnTaskStorageGet), // commit a10787e6d58c
		helper("bpf_get_attach_cookie", Floor, asm.FnGetAttachCookie),   // commit 7adfc6c9b315
	}
}

// Multi is the feature without which probes are placed by perf events: a
// uprobe_multi that follows all threads of a process.
func Multi() Feature {
	f := Feature{Name: "uprobe_multi of whole processes", Since: MultiFloor}
	switch release := KernelRelease(); {
	case !multiFollowsProcess(release):
		f.Err = fmt.Errorf("Linux %s: %w", release, ebpf.ErrNotSupported)
	default:
		f.Err = features.HaveBPFLinkUprobeMulti()
	}
	return f
}

// Newest is the last of the features that the kernel is known to lack, nil if
// there is none. A release that has it has the others too.
func Newest(all []Feature) *Feature {
	for i := len(all) - 1; i >= 0; i-- {
		if errors.Is(all[i].Err, ebpf.ErrNotSupported) {
			return &all[i]
		}
	}
	return nil
}

// KernelRelease is what uname -r prints, "" if it cannot be had.
func KernelRelease() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return ""
	}
	return unix.ByteSliceToString(u.Release[:])
}

// Older says whether a release (uname -r) is before a version such as "5.15";
// false if one cannot be read.
func Older(release, version string) bool {
	a, ok := numbers(release)
	b, ok2 := numbers(version)
	return ok && ok2 && (a[0] < b[0] || a[0] == b[0] && a[1] < b[1])
}

// numbers are the major and minor number of a release.
func numbers(release string) (n [2]int, ok bool) {
	got, _ := fmt.Sscanf(release, "%d.%d", &n[0], &n[1])
	return n, got == 2
}

// lacking turns an error of loading into what the kernel lacks, where that is
// why; nil otherwise.
func lacking(release string, all []Feature) error {
	if f := Newest(all); f != nil {
		return fmt.Errorf("Linux %s has no %s, which is there since %s: boot Linux %s or later", release, f.Name, f.Since, f.Since)
	}
	return nil
}
