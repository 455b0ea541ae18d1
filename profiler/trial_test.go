// SPDX-License-Identifier: Apache-2.0

package profiler

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"leakprof/bpf"
	"leakprof/profiler/internal/fixture"
	"leakprof/profiler/plan"
	"leakprof/profiler/target"
)

// TestRetreat: a site that fails its trial is put on the entry of its function,
// the others stay; where there is no trial, those stay that need none.
func TestRetreat(t *testing.T) {
	t.Parallel()
	source, err := filepath.Abs("bird/structure/testdata/main.c")
	if err != nil {
		t.Fatal(err)
	}
	m, err := target.OpenModule(fixture.BuildAllocators(t, 2, "gcc", "-O2", source))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	const moved = "free_page"
	site := func(p *plan.Plan, function string) *plan.Site {
		return &p.Sites[slices.IndexFunc(p.Sites, func(s plan.Site) bool { return s.Function == function })]
	}
	none := errors.New("no program may be run")
	for _, c := range []struct {
		name  string
		wrong func(*plan.Plan)
		try   func([]plan.Site) ([]error, error)
		want  string // in the notes
	}{
		{"right", func(*plan.Plan) {}, nil, ""},
		{"wrong", func(p *plan.Plan) { site(p, moved).Depth += 8 }, nil, "rsp was not"},
		{"no trial", func(*plan.Plan) {}, func([]plan.Site) ([]error, error) { return nil, none }, none.Error()},
	} {
		p, err := plan.NewForFile(m, plan.Options{LinpoolObjects: true})
		if err != nil {
			t.Fatal(err)
		}
		if s := site(p, moved); s.Offset == 0 || s.IsProved() {
			t.Fatalf("%s is probed at +%d, proved %v", s.Function, s.Offset, s.IsProved())
		}
		c.wrong(p)
		try := c.try
		if try == nil {
			try = func(s []plan.Site) ([]error, error) { return bpf.Try(s, bpf.AttachBest) }
		}
		back := tryPlan(p, try)
		notes := strings.Join(p.Notes, "; ")
		for _, s := range p.Sites {
			if s.Function == moved && (s.Offset == 0 && s.Depth == 0) == (c.want == "") {
				t.Errorf("%s: %s is probed at +%d, depth %d; notes: %s", c.name, s.Function, s.Offset, s.Depth, notes)
			}
			if s.Function == "mb_free" && s.Offset == 0 {
				t.Errorf("%s: mb_free, which begins with test and jump, is probed at its entry", c.name)
			}
		}
		if (len(back) > 0) != (c.want != "") || !strings.Contains(notes, c.want) {
			t.Errorf("%s: %v; notes: %s, want %q", c.name, back, notes, c.want)
		}
		for _, e := range p.Events {
			for _, s := range e.Sites {
				if all := *site(p, s.Function); s.Address == all.Address && s.Offset != all.Offset {
					t.Errorf("%s: %s is at +%d among the events, at +%d among the sites", c.name, s.Function, s.Offset, all.Offset)
				}
			}
		}
	}
}
