// SPDX-License-Identifier: Apache-2.0

package report

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// printed are the lines of a report that has these phases, from the one that
// begins with a word to the next empty one.
func printed(t *testing.T, phases []DocumentPhase, word string) []string {
	t.Helper()
	d := &Document{Schema: Schema, Verdict: Clean, Phases: phases}
	var b bytes.Buffer
	if err := d.WriteText(&b, TextOptions{}); err != nil {
		t.Fatal(err)
	}
	_, table, found := strings.Cut(b.String(), "\n"+word)
	if !found {
		return nil
	}
	table, _, _ = strings.Cut(word+table, "\n\n")
	return strings.Split(table, "\n")
}

// lookAt is a phase with a look of which all is known.
func lookAt(name string, cycle int, live uint64, routes int64) DocumentPhase {
	objects, none, lost := uint64(cycle), uint64(0), live/2
	held := live - lost
	return DocumentPhase{Name: name, Cycle: cycle, LiveBytes: &live, LiveObjects: &objects, LostBytes: &lost, HeldBytes: &held, UnknownBytes: &none, Routes: &routes}
}

// firstWords are the names in a table.
func firstWords(lines []string, width int) (names []string) {
	for _, l := range lines[1:] {
		names = append(names, strings.TrimSpace(l[:min(len(l), width)]))
	}
	return names
}

func TestManyCycles(t *testing.T) {
	cycles := func(n int) (phases []DocumentPhase) {
		phases = append(phases, lookAt(phaseBaseline, 0, 1<<20, 0))
		for i := range n {
			phases = append(phases, lookAt(phaseFlooded, i+1, 9<<20, 7), lookAt(phaseSettled, i+1, uint64(i+1)<<20, int64(i)))
		}
		return phases
	}
	if got := printed(t, cycles(1), "after drop"); got != nil {
		t.Errorf("one cycle has a table of cycles: %q", got)
	}
	for n, want := range map[int][]string{
		2:  {"cycle 1", "cycle 2"},
		12: {"cycle 1", "cycle 2", "cycle 3", "cycle 4", "cycle 5", "cycle 6", "cycle 7", "cycle 8", "cycle 9", "cycle 10", "cycle 11", "cycle 12"},
		20: {"cycle 1", "cycle 2", "cycle 3", "… 9 more in", "cycle 13", "cycle 14", "cycle 15", "cycle 16", "cycle 17", "cycle 18", "cycle 19", "cycle 20"},
	} {
		got := printed(t, cycles(n), "after drop")
		if got == nil {
			t.Fatalf("%d cycles have no table", n)
		}
		if names := firstWords(got, 16); !slices.EqualFunc(names, want, strings.HasPrefix) {
			t.Errorf("%d cycles are printed as %q, want %q", n, names, want)
		}
		last := strings.Fields(got[len(got)-1])
		if routes := last[len(last)-1]; routes != fmt.Sprint(n-1) {
			t.Errorf("%d cycles end with %s routes in %q, want %d", n, routes, last, n-1)
		}
	}
}

// TestColumns: each kind of run has the looks that say something.
func TestColumns(t *testing.T) {
	before, flooded, settled := lookAt(phaseBaseline, 0, 1<<20, 0), lookAt(phaseFlooded, 1, 9<<20, 7), lookAt(phaseSettled, 1, 2<<20, 0)
	for name, c := range map[string]struct {
		phases []DocumentPhase
		want   string
	}{
		"a cycle":             {[]DocumentPhase{before, flooded, settled}, "memory before flooded dropped"},
		"not finished":        {[]DocumentPhase{before}, "memory before flooded dropped"},
		"a station that read": {[]DocumentPhase{before, flooded, settled, lookAt(phaseResumed, 1, 1<<20, 0)}, "memory before flooded dropped read again"},
		"an interval":         {[]DocumentPhase{before, lookAt(phaseInterval, 1, 1<<20, 5)}, "memory before interval 1"},
		"intervals":           {[]DocumentPhase{before, lookAt(phaseInterval, 1, 1<<20, 5), lookAt(phaseInterval, 2, 1<<20, 5), lookAt(phaseInterval, 3, 3<<20, 5)}, "memory before interval 1 interval 3"},
	} {
		t.Run(name, func(t *testing.T) {
			got := printed(t, c.phases, "memory")
			if got == nil {
				t.Fatal("no table")
			}
			if head := strings.Join(strings.Fields(got[0]), " "); head != c.want {
				t.Errorf("columns %q, want %q", head, c.want)
			}
			if names := firstWords(got, 11); !slices.Equal(names, []string{"live memory", "number", "lost", "held", "unknown", "routes"}) {
				t.Errorf("rows %q", names)
			}
		})
	}
	// Where nobody looked for pointers, no row says so.
	for _, p := range []*DocumentPhase{&before, &flooded, &settled} {
		p.LostBytes, p.HeldBytes, p.UnknownBytes, p.Routes = nil, nil, nil, nil
	}
	if names := firstWords(printed(t, []DocumentPhase{before, flooded, settled}, "memory"), 11); !slices.Equal(names, []string{"live memory", "number"}) {
		t.Errorf("rows %q of what is not known", names)
	}
}

func TestPageColumns(t *testing.T) {
	var phases []DocumentPhase
	for i := range 7 {
		phases = append(phases, lookAt(phaseInterval, i+1, 1<<20, 5))
	}
	settled := []DocumentPhase{lookAt(phaseBaseline, 0, 1, 0), lookAt(phaseFlooded, 1, 1, 0), lookAt(phaseSettled, 1, 1, 0), lookAt(phaseResumed, 1, 1, 0)}
	for _, c := range []struct {
		phases []DocumentPhase
		want   []string
	}{
		{phases, []string{"interval 1", "interval 2", "interval 3", "…", "interval 5", "interval 6", "interval 7"}},
		{phases[:6], []string{"interval 1", "interval 2", "interval 3", "interval 4", "interval 5", "interval 6"}},
		{settled, []string{"before", "flooded", "dropped", "read again"}},
		{append(slices.Clone(settled), lookAt(phaseFlooded, 2, 1, 0), lookAt(phaseSettled, 2, 1, 0)), []string{"before", "flooded", "dropped 1", "read again", "dropped 2"}},
	} {
		titles, rows := (&Document{Phases: c.phases}).memoryRows()
		if !slices.Equal(titles, c.want) {
			t.Errorf("columns %q, want %q", titles, c.want)
		}
		for _, r := range rows {
			if len(r.Cells) != len(titles) {
				t.Errorf("%s has %d cells below %d titles", r.Name, len(r.Cells), len(titles))
			}
		}
	}
}
