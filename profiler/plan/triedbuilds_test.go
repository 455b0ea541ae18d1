// SPDX-License-Identifier: Apache-2.0

//go:build birdbuilds

package plan_test

import (
	"os"
	"path/filepath"
	"testing"

	"leakprof/profiler/plan"
)

// TestTriedBuilds is TestTriedDebian for the BIRDs that TestBuilds takes, and
// for the machine's own C library.
func TestTriedBuilds(t *testing.T) {
	paths, err := filepath.Glob(filepath.Join(os.Getenv("LEAKPROF_BIRDS"), "[^s]*/bird"))
	if err != nil || len(paths) == 0 {
		t.Fatal("name a directory of builds: LEAKPROF_BIRDS=DIR, with DIR/*/bird")
	}
	check := func(t *testing.T, sites []plan.Site) {
		var places []plan.Site
		for _, s := range sites {
			t.Log(describe(s))
			if s.Into == "" {
				places = append(places, everyPlace(t, s)...)
			}
		}
		tried(t, sites, places)
		t.Logf("%d sites, %d places", len(sites), len(places))
	}
	for _, path := range paths {
		t.Run(filepath.Base(filepath.Dir(path)), func(t *testing.T) {
			check(t, plan.PlanFile(t, path, plan.Options{LinpoolObjects: true}).Sites)
		})
	}
	t.Run("libc", func(t *testing.T) {
		sites, _, err := plan.LibrarySites(plan.OpenModule(t, "/lib/x86_64-linux-gnu/libc.so.6"), nil)
		if err != nil {
			t.Fatal(err)
		}
		check(t, sites)
	})
}
