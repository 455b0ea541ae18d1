// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"errors"
	"fmt"
	"testing"

	"github.com/cilium/ebpf"
)

func TestOlder(t *testing.T) {
	for release, want := range map[string]bool{
		"5.10.0-35-amd64": true, "5.15": false, "5.9.1": true, "6.1.0": false, "4.20": true, "10.0": false,
		"6.12.107+deb13-cloud-amd64": false, "": false, "x.y": false, "5": false,
	} {
		if got := Older(release, "5.15"); got != want {
			t.Errorf("%q is older than 5.15: %v, want %v", release, got, want)
		}
	}
}

// TestLacking: what is missing is said in one line, with the release that has
// it; what may not be asked for is not said to be missing.
func TestLacking(t *testing.T) {
	no := fmt.Errorf("helper: %w", ebpf.ErrNotSupported)
	denied := errors.New("permission denied")
	for _, c := range []struct {
		errs []error
		want string
	}{
		{[]error{nil, nil, nil}, ""},
		{[]error{denied, denied, denied}, ""},
		{[]error{nil, nil, no}, "Linux 5.10.0-46-amd64 has no third, which is there since 5.15: boot Linux 5.15 or later"},
		{[]error{nil, no, no}, "Linux 5.10.0-46-amd64 has no third, which is there since 5.15: boot Linux 5.15 or later"},
		{[]error{nil, no, denied}, "Linux 5.10.0-46-amd64 has no second, which is there since 5.12: boot Linux 5.12 or later"},
	} {
		all := []Feature{{"first", "5.5", c.errs[0]}, {"second", "5.12", c.errs[1]}, {"third", "5.15", c.errs[2]}}
		got := ""
		if err := lacking("5.10.0-46-amd64", all); err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%v: %q, want %q", c.errs, got, c.want)
		}
	}
}

// TestFeatures: a kernel has what its release promises.
func TestFeatures(t *testing.T) {
	for _, f := range append(Features(), Multi()) {
		old := Older(KernelRelease(), f.Since)
		if !old && f.Err != nil {
			t.Errorf("Linux %s: %s: %v", KernelRelease(), f.Name, f.Err)
		}
	}
	// The last of them makes the floor.
	all := Features()
	if got := all[len(all)-1].Since; got != Floor {
		t.Errorf("the newest feature is there since %s, the floor is %s", got, Floor)
	}
}
