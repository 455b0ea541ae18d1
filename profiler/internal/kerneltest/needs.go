// SPDX-License-Identifier: Apache-2.0

// Package kerneltest lets tests run on kernels that lack something.
package kerneltest

import (
	"testing"

	"leakprof/bpf"
)

// Needs skips a test of something that the running kernel has not. It is the
// only way in which a test may skip, and fails the test if the kernel is of a
// release that has it.
func Needs(t testing.TB, f bpf.Feature) {
	t.Helper()
	if f.Err == nil {
		return
	}
	release := bpf.KernelRelease()
	if !bpf.Older(release, f.Since) {
		t.Fatalf("Linux %s should have %s, which is there since %s: %v", release, f.Name, f.Since, f.Err)
	}
	t.Skipf("Linux %s has no %s, which is there since %s", release, f.Name, f.Since)
}

// NeedsMode is Needs for a way to place probes.
func NeedsMode(t testing.TB, mode bpf.AttachMode) {
	t.Helper()
	if mode == bpf.AttachMulti {
		Needs(t, bpf.Multi())
	}
}
