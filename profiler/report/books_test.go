// SPDX-License-Identifier: Apache-2.0

package report

import (
	"strings"
	"testing"

	"leakprof/profiler/footprint"
)

// TestResident checks that free pages which BIRD has lost are not told as free
// pages that it keeps.
func TestResident(t *testing.T) {
	const mega = 1 << 20
	for _, c := range []struct {
		name     string
		unlisted uint64
		want     string
	}{
		{"all listed", 0, "10.0 MB, no evidence of a leak: 3072.0 kB of it is live memory, 2048.0 kB free pages kept by BIRD, about "},
		{"some on no list", mega, "2048.0 kB free pages kept by BIRD, 1024.0 kB that it counts as such but that are on no list that could be read, about "},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := resident(&footprint.Footprint{RSS: 10 * mega, Parts: []footprint.Part{
				{Name: footprint.LivePages, Bytes: 3 * mega},
				{Name: footprint.KeptPages, Bytes: 2 * mega},
				{Name: footprint.UnlistedPages, Bytes: c.unlisted, Estimate: true},
				{Name: footprint.ProgramText, Bytes: 5*mega - c.unlisted},
			}})
			if !strings.Contains(got, c.want) {
				t.Errorf("got %q, want in it %q", got, c.want)
			}
			if rest := Size(int64(5*mega - c.unlisted)); !strings.Contains(got, "the rest ("+rest+")") {
				t.Errorf("got %q, want %s as the rest", got, rest)
			}
		})
	}
}
