// SPDX-License-Identifier: Apache-2.0

package reachability

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"leakprof/profiler/bird/tree"
	"leakprof/profiler/internal/fixture"
	"leakprof/profiler/snapshot"
)

// TestRoots looks at blocks of which each is held by one kind of root.
func TestRoots(t *testing.T) {
	source, err := filepath.Abs("testdata/roots.c")
	if err != nil {
		t.Fatal(err)
	}
	for _, generation := range []int{2, 3} {
		t.Run(fmt.Sprintf("BIRD %d", generation), func(t *testing.T) {
			f := fixture.Start(t, fixture.BuildAllocators(t, generation, "gcc", "-O2", source))
			p, b := open(t, f.PID)
			resources, err := tree.Read(p, b, tree.Options{})
			if err != nil {
				t.Fatal(err)
			}
			r, err := Classify(p, b, &snapshot.Snapshot{Tree: resources, Quiet: true}, Options{})
			if err != nil {
				t.Fatal(err)
			}
			if r.Running != 1 || r.Waiting != 2 || r.Looks != 2 {
				t.Errorf("%d threads run, %d wait, %d looks", r.Running, r.Waiting, r.Looks)
			}
			doubted, err := Classify(p, b, &snapshot.Snapshot{Tree: resources, Why: "busy"}, Options{})
			if err != nil {
				t.Fatal(err)
			}
			for _, line := range f.Said {
				var what string
				var address uint64
				if _, err := fmt.Sscanf(line, "%s %x", &what, &address); err != nil {
					t.Fatal(err)
				}
				want := map[string]struct {
					class  Class
					holder string
				}{
					"variable": {Held, "variable of "},
					"middle":   {Held, "middle of "},
					"stack":    {Held, "stack of thread "},
					"local":    {Held, "thread-local storage of thread "},
					"running":  {Unknown, "what is alive of its stack is not known"},
					"lost":     {Lost, ""},
					"ended":    {Held, "a thread that has ended"},
				}[what]
				if c, by := doubted.Of(address); want.class == Lost && (c != Unknown || !strings.Contains(by.Why, "busy")) {
					t.Errorf("%s: block at 0x%x of no quiet snapshot is %v: %v", what, address, c, by)
				}
				if c, by := r.Of(address + 60); c != want.class || !strings.Contains(by.String(), want.holder) {
					t.Errorf("%s: block at 0x%x is %v by %q, want %v by %q", what, address, c, by, want.class, want.holder)
				}
			}
		})
	}
}

func TestParseSyscall(t *testing.T) {
	for _, c := range []struct {
		line   string
		sp     uint64
		values []uint64
		says   string
	}{
		{"running\n", 0, nil, ""},
		{"-1 0x7ffd5b30 0x7f01\n", 0x7ffd5b30, nil, ""},
		{"7 0x5581 0x2 0xbb8 0x0 0x9 0x8 0x7ffd5b30 0x7f01\n", 0x7ffd5b30, []uint64{0x5581, 2, 0xbb8}, ""},
		{"", 0, nil, ""},
		{"7 x 0x2 0xbb8 0x0 0x9 0x8 0x7ffd5b30 0x7f01\n", 0, nil, "unknown format"},
		{"7 0x1 0x2 0x3\n", 0, nil, "unknown format"},
	} {
		sp, values, err := parseSyscall(c.line)
		if sp != c.sp || !slices.Equal(values, c.values) || (err != nil) != (c.says != "") || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%q: 0x%x, %x, %v", c.line, sp, values, err)
		}
	}
}

func FuzzParseSyscall(f *testing.F) {
	f.Add("running\n")
	f.Add("-1 0x7ffd5b30 0x7f01\n")
	f.Add("7 0x5581 0x2 0xbb8 0x0 0x9 0x8 0x7ffd5b30 0x7f01\n")
	f.Fuzz(func(t *testing.T, line string) {
		if sp, values, err := parseSyscall(line); err != nil && (sp != 0 || values != nil) {
			t.Errorf("%q: an error, and 0x%x, %x", line, sp, values)
		}
	})
}
