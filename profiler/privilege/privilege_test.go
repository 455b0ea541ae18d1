// SPDX-License-Identifier: Apache-2.0

package privilege

import (
	"errors"
	"slices"
	"testing"

	"kernel.org/pub/linux/libs/security/libcap/cap"
)

// That Keep gives up what it says, in every thread, is tested where programs of
// ours run (cmd/leakprof): a test that gave up its own would take them from all
// others.

func TestChoose(t *testing.T) {
	for _, c := range []struct {
		name              string
		held, named, want []cap.Value
	}{
		{"nothing is held", nil, []cap.Value{cap.BPF}, nil},
		{"nothing is named", []cap.Value{cap.BPF, cap.SYS_ADMIN}, nil, nil},
		{"of all", []cap.Value{cap.BPF, cap.PERFMON, cap.SYS_ADMIN, cap.SYS_PTRACE}, []cap.Value{cap.SYS_PTRACE, cap.BPF}, []cap.Value{cap.SYS_PTRACE, cap.BPF}},
		{"the broader one for two", []cap.Value{cap.SYS_ADMIN, cap.SYS_PTRACE}, []cap.Value{cap.BPF, cap.CHECKPOINT_RESTORE}, []cap.Value{cap.SYS_ADMIN}},
		{"the broader one of files", []cap.Value{cap.DAC_OVERRIDE}, []cap.Value{cap.DAC_READ_SEARCH, cap.SYS_PTRACE}, []cap.Value{cap.DAC_OVERRIDE}},
		{"no broader one where its own is held", []cap.Value{cap.DAC_OVERRIDE, cap.DAC_READ_SEARCH}, []cap.Value{cap.DAC_READ_SEARCH}, []cap.Value{cap.DAC_READ_SEARCH}},
	} {
		got, err := choose(c.named, func(v cap.Value) (bool, error) { return slices.Contains(c.held, v), nil })
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, %v, want %v", c.name, got, err, c.want)
		}
	}
	bad := errors.New("bad")
	if _, err := choose([]cap.Value{cap.BPF}, func(cap.Value) (bool, error) { return false, bad }); !errors.Is(err, bad) {
		t.Errorf("%v, want %v", err, bad)
	}
}

func TestNames(t *testing.T) {
	if got := Names([]cap.Value{cap.BPF, cap.CHECKPOINT_RESTORE}); got != "CAP_BPF, CAP_CHECKPOINT_RESTORE" {
		t.Error(got)
	}
	if got := Names(nil); got != "none" {
		t.Error(got)
	}
}
