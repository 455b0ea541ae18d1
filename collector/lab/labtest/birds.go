// SPDX-License-Identifier: Apache-2.0

// Package labtest is what tests share that run on real BIRDs: the BIRDs, and a
// station that does not read.
package labtest

import (
	"os"
	"path/filepath"
	"testing"

	"leakprof/collector/lab"
)

// Roots are the BIRDs that scripts/bird-root makes.
var Roots = []string{"bird3-trixie", "bird2-sid", "bird3-sid"}

// Binaries returns the BIRDs to try, by name: those of scripts/bird-root, and
// any given in LEAKPROF_BIRD_PATHS, separated by colons. It fails the test if
// one of them is missing.
func Binaries(t testing.TB) map[string]*lab.Binary {
	t.Helper()
	all := make(map[string]*lab.Binary)
	for _, root := range Roots {
		path := filepath.Join(projectRoot(t), ".bird", root, "usr/sbin/bird")
		if _, err := os.Stat(path); err != nil {
			t.Fatalf("BIRD %s is missing: scripts/bird-root %s", root, root)
		}
		all[root] = find(t, path)
	}
	for _, path := range filepath.SplitList(os.Getenv("LEAKPROF_BIRD_PATHS")) {
		all[filepath.Base(filepath.Dir(path))] = find(t, path)
	}
	return all
}

func find(t testing.TB, path string) *lab.Binary {
	t.Helper()
	b, err := lab.Find(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// projectRoot is the directory of go.mod, above the one that a test runs in.
func projectRoot(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		if dir == filepath.Dir(dir) {
			t.Fatal("no go.mod above the directory that the test runs in")
		}
	}
}
