// SPDX-License-Identifier: Apache-2.0

// Package privilege gives up rights that are not needed any more, and says
// which are kept and what for.
package privilege

import (
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
	"kernel.org/pub/linux/libs/security/libcap/cap"
)

// Kept is a capability that is not given up, and what needs it.
type Kept struct {
	Capability cap.Value
	Purpose    string
}

// Walking are those that following a BIRD without probes needs, from the start.
func Walking() []Kept {
	return slices.DeleteFunc(Following(), func(k Kept) bool { return k.Capability == cap.BPF })
}

// Attaching are those that placing probes needs besides following, for who does
// it later; multi says that they are placed by uprobe_multi (Linux 6.10).
func Attaching(multi bool) []Kept {
	all := append(Following(), Kept{cap.PERFMON, "place probes"})
	if !multi {
		all = append(all, Kept{cap.SYS_ADMIN, "place probes by perf events"})
	}
	return all
}

// Following are the capabilities that following a BIRD needs once the probes are
// in place. Placing them took CAP_PERFMON as well, and before Linux 6.10
// CAP_SYS_ADMIN; to take them off takes nothing.
func Following() []Kept {
	return []Kept{
		// Creating a map takes it wherever kernel.unprivileged_bpf_disabled is not
		// 0, and before Linux 6.0 (commit c8644cd0efe7) so does reading one.
		{cap.BPF, "let the live set grow"},
		// process_vm_readv(2), /proc/PID/maps and /proc/PID/task/TID/syscall test at
		// each use, not when they are opened.
		{cap.SYS_PTRACE, "read BIRD's memory and mappings at each look"},
		// /proc/PID/map_files and /proc/PID/task/TID/syscall are their user's alone.
		{cap.DAC_READ_SEARCH, "read where BIRD's threads are, and the files that it runs"},
		// /proc/PID/map_files.
		{cap.CHECKPOINT_RESTORE, "open libraries that BIRD loads later"},
	}
}

// broader is what contains a capability, where that itself is not held
// (capabilities(7)).
var broader = map[cap.Value]cap.Value{
	cap.BPF:                cap.SYS_ADMIN,
	cap.PERFMON:            cap.SYS_ADMIN,
	cap.CHECKPOINT_RESTORE: cap.SYS_ADMIN,
	cap.DAC_READ_SEARCH:    cap.DAC_OVERRIDE,
}

// Keep gives up all capabilities of the process but those named, in all its
// threads and for good: programs that it starts get no more (no_new_privs). In
// place of one that is not held it keeps what contains it. With CAP_SETPCAP the
// bounding set shrinks likewise; without it no_new_privs has to do. It returns
// what is held now, in the order of the numbers.
func Keep(named ...cap.Value) ([]cap.Value, error) {
	now := cap.GetProc()
	kept, err := choose(named, func(v cap.Value) (bool, error) { return now.GetFlag(cap.Permitted, v) })
	if err != nil {
		return nil, fmt.Errorf("read capabilities: %w", err)
	}
	if canBound, err := now.GetFlag(cap.Effective, cap.SETPCAP); err == nil && canBound {
		var off []cap.Value
		for v := range cap.MaxBits() {
			if bound, err := cap.GetBound(v); err == nil && bound && !slices.Contains(kept, v) {
				off = append(off, v)
			}
		}
		if err := cap.DropBound(off...); err != nil {
			return nil, fmt.Errorf("shrink bounding set of capabilities: %w", err)
		}
	}
	if _, err := cap.Prctlw(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return nil, fmt.Errorf("set no_new_privs: %w", err)
	}
	set := cap.NewSet()
	for _, flag := range []cap.Flag{cap.Permitted, cap.Effective} {
		if err := set.SetFlag(flag, true, kept...); err != nil {
			return nil, fmt.Errorf("choose capabilities: %w", err)
		}
	}
	// Ambient ones go with it: they are inheritable, and none is any more.
	if err := set.SetProc(); err != nil {
		return nil, fmt.Errorf("give up capabilities: %w", err)
	}
	return kept, nil
}

// choose returns those of the named capabilities that are held, or in their place
// what contains them.
func choose(named []cap.Value, held func(cap.Value) (bool, error)) ([]cap.Value, error) {
	var kept []cap.Value
	for _, v := range named {
		has, err := held(v)
		if err != nil {
			return nil, err
		}
		if b, ok := broader[v]; ok && !has {
			if has, err = held(b); err != nil {
				return nil, err
			}
			v = b
		}
		if has {
			kept = append(kept, v)
		}
	}
	slices.Sort(kept)
	return slices.Compact(kept), nil
}

// Holds says whether the process may use a capability now.
func Holds(v cap.Value) bool {
	has, err := cap.GetProc().GetFlag(cap.Effective, v)
	return err == nil && has
}

// Names are capabilities as capabilities(7) writes them, in one line; "none" if
// there are none.
func Names(all []cap.Value) string {
	var names []string
	for _, v := range all {
		names = append(names, strings.ToUpper(v.String()))
	}
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}
