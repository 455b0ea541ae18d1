// SPDX-License-Identifier: Apache-2.0

package experiment

import (
	"slices"
	"testing"

	"leakprof/collector/session"
	"leakprof/profiler/report"
)

// TestAgeGroup: groups do not overlap, the young are alone, and there are few.
func TestAgeGroup(t *testing.T) {
	for _, c := range []struct{ now, most int }{{1, 1}, {20, 20}, {65, 65}, {66, 65}, {1000, 210}, {100_000, 430}} {
		groups := 0
		for cycle := 1; cycle <= c.now; groups++ {
			first, last := AgeGroup(cycle, c.now)
			if first != cycle || last < first || c.now-cycle < 2*exactAges && last != first {
				t.Fatalf("in cycle %d, the group of %d is %d to %d", c.now, cycle, first, last)
			}
			for other := first; other <= last; other++ {
				if f, l := AgeGroup(other, c.now); f != first || l != last {
					t.Fatalf("in cycle %d, %d is in the group of %d to %d, %d in that of %d to %d", c.now, first, first, last, other, f, l)
				}
			}
			cycle = last + 1
		}
		if groups > c.most {
			t.Errorf("%d groups in cycle %d, want at most %d", groups, c.now, c.most)
		}
	}
	if first, last := AgeGroup(0, 1000); first != 0 || last != 0 {
		t.Errorf("the baseline is in the group of %d to %d", first, last)
	}
}

func TestAgeMarks(t *testing.T) {
	r := &run{phases: []report.Phase{{Name: string(session.Baseline)}}}
	for cycle := 1; cycle <= 70; cycle++ {
		r.phases = append(r.phases, report.Phase{Name: string(session.Running), Cycle: cycle}, report.Phase{Name: string(session.Settled), Cycle: cycle})
	}
	marks := r.ageMarks(70)
	// 70 - 4 cycles ago are 64; those before are in twos, of two phases each.
	if want := []uint32{0, 1, 1, 1, 1, 5, 5, 5, 5, 9, 9, 9, 9, 13, 14}; !slices.Equal(marks[:len(want)], want) {
		t.Errorf("marks %v, want %v", marks[:len(want)], want)
	}
}

// TestAgeMarkAnew: what was allocated before the experiment began anew was there
// at its baseline.
func TestAgeMarkAnew(t *testing.T) {
	r := &run{firstMark: 5}
	for mark, want := range map[uint32]uint32{0: 0, 3: 0, 5: 0, 6: 1, 9: 4} {
		if got := r.ageMark(mark); got != want {
			t.Errorf("mark %d is %d, want %d", mark, got, want)
		}
	}
}
