// SPDX-License-Identifier: Apache-2.0

package kerneltest

import (
	"errors"
	"fmt"
	"testing"

	"leakprof/bpf"
)

// stand takes what a test would be told.
type stand struct {
	testing.TB
	said string
}

func (s *stand) Helper() {}
func (s *stand) Fatalf(format string, args ...any) {
	s.said = "fails"
	panic(s)
}
func (s *stand) Skipf(format string, args ...any) {
	s.said = "skips"
	panic(s)
}

// TestNeeds: only a kernel that is too old excuses a test.
func TestNeeds(t *testing.T) {
	missing := errors.New("not supported")
	for _, c := range []struct {
		since string
		err   error
		want  string
	}{
		{"2.6", nil, ""}, {"99.0", nil, ""}, {"2.6", missing, "fails"}, {"99.0", missing, "skips"},
		// A release that says nothing excuses nothing.
		{"soon", missing, "fails"},
	} {
		s := &stand{TB: t}
		func() {
			defer func() {
				if r := recover(); r != nil && r != any(s) {
					panic(fmt.Sprint(r))
				}
			}()
			Needs(s, bpf.Feature{Name: "feature", Since: c.since, Err: c.err})
		}()
		if s.said != c.want {
			t.Errorf("since %s, %v: %q, want %q", c.since, c.err, s.said, c.want)
		}
	}
}
