// SPDX-License-Identifier: Apache-2.0

package privilege

import (
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestKernelFiles(t *testing.T) {
	for text, want := range map[string]string{
		"none [integrity] confidentiality": "integrity", "[none] integrity confidentiality": "none", "": "", "none": "", "[": "",
	} {
		if got := lockdown(text); got != want {
			t.Errorf("lockdown %q: %q, want %q", text, got, want)
		}
	}
	for text, want := range map[string]bool{
		"         0          0 4294967295": false, "         0       1000          1": true, "": false, "0 0 1\n1 100 65536": true,
	} {
		if got := mapped(text); got != want {
			t.Errorf("uid_map %q: %v, want %v", text, got, want)
		}
	}
	if mode, caps := ownStatus("Name:\tx\nCapPrm:\t01\nCapEff:\t000000c000080000\nSeccomp:\t2\n"); mode != 2 || caps != 0xc000080000 {
		t.Errorf("seccomp %d, capabilities %x", mode, caps)
	}
}

// TestRefusal: of several reasons the first that alone is enough is told.
func TestRefusal(t *testing.T) {
	const two = 1<<unix.CAP_BPF | 1<<unix.CAP_PERFMON
	for _, c := range []struct {
		r    Restrictions
		perf bool
		says string
	}{
		{Restrictions{Seccomp: 2, UserNamespace: true}, false, "CAP_BPF, CAP_PERFMON are not held"},
		{Restrictions{Capabilities: 1 << unix.CAP_BPF}, false, "CAP_PERFMON is not held"},
		{Restrictions{Capabilities: 1 << unix.CAP_PERFMON}, false, "CAP_BPF is not held"},
		{Restrictions{Capabilities: two, UserNamespace: true}, false, "user namespace"},
		{Restrictions{Capabilities: two}, true, "take CAP_SYS_ADMIN"},
		{Restrictions{Capabilities: two, Seccomp: 2}, false, "seccomp"},
		{Restrictions{Capabilities: two, Lockdown: "confidentiality"}, false, "lockdown=integrity"},
		{Restrictions{Capabilities: 1 << unix.CAP_SYS_ADMIN, PerfParanoid: "4"}, true, "sysctl kernel.perf_event_paranoid=2"},
		{Restrictions{Capabilities: 1 << unix.CAP_SYS_ADMIN, PerfParanoid: "2"}, true, "security module"},
		{Restrictions{Capabilities: two, PerfParanoid: "4", Lockdown: "integrity"}, false, "security module"},
	} {
		if got := c.r.Refusal(c.perf); !strings.Contains(got, c.says) {
			t.Errorf("%+v, %v: %s", c.r, c.perf, got)
		}
	}
}
