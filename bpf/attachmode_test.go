// SPDX-License-Identifier: Apache-2.0

package bpf

import "testing"

// TestAttachMode: where uprobe_multi follows but one thread, perf events are
// used, which follow all.
func TestAttachMode(t *testing.T) {
	for release, multi := range map[string]bool{
		"5.15.0-130-generic":  false, // has none
		"6.1.0-28-amd64":      false,
		"6.6.0":               false, // has it, and follows one thread
		"6.6.63-0-lts":        false,
		"6.8.0-49-generic":    false,
		"6.9.12":              false,
		"6.10.0-rc1":          true,
		"6.12.48+deb13-amd64": true,
		"7.0.0":               true,
		"10.2":                true,
		"":                    false,
		"six":                 false,
		"6":                   false,
	} {
		if got := useMulti(AttachBest, release, true); got != multi {
			t.Errorf("Linux %q: %v, want %v", release, got, multi)
		}
		if useMulti(AttachBest, release, false) {
			t.Errorf("Linux %q: uprobe_multi is used where there is none", release)
		}
	}
	if !useMulti(AttachMulti, "6.8.0", true) || useMulti(AttachPerf, "6.12.0", true) {
		t.Error("a mode that was asked for is not taken")
	}
}
