// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/pprof/profile"

	"leakprof/profiler/bird/names"
	"leakprof/profiler/report"
	"leakprof/profiler/symbol"
)

// region is where in a BIRD the code of one directory of its sources lies, as
// far as source files are told.
type region struct {
	dir    string
	lo, hi uint64
}

// regions are those of the protocols that the experiment is about: linkers keep
// together what is in one directory.
func regions(t *testing.T, path string) []region {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	n, err := names.Find(f)
	if err != nil {
		t.Fatal(err)
	}
	all := []region{{dir: "proto/bgp/"}, {dir: "proto/bmp/"}}
	for i := range all {
		for _, fn := range n.Functions {
			if r := &all[i]; strings.HasPrefix(fn.File, r.dir) {
				if r.lo == 0 {
					r.lo = fn.Address
				}
				r.hi = fn.Address + fn.Size
			}
		}
	}
	return all
}

// checkSources: of a stripped BIRD each call stack in retained.pb.gz names a
// source file beside its allocators', and one that goes through BGP's or BMP's
// code a file of theirs. It returns how many stacks do so, by directory.
func checkSources(t *testing.T, bird, out string) map[string]int {
	t.Helper()
	f, err := os.Open(filepath.Join(out, report.RetainedFile))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	p, err := profile.Parse(f)
	if err != nil {
		t.Fatal(err)
	}
	through := make(map[string]int)
	protocols := regions(t, bird)
	for _, s := range p.Sample {
		var files, functions []string
		for _, l := range s.Location {
			for _, line := range l.Line {
				functions = append(functions, line.Function.Name)
				isAllocator := report.Caller([]symbol.Frame{{Function: line.Function.Name}}) == ""
				if line.Function.Filename != "" && !isAllocator {
					files = append(files, line.Function.Filename)
				}
			}
		}
		if len(functions) == 1 && strings.HasPrefix(functions[0], "[") {
			continue // no stack: from before leakprof came
		}
		if len(files) == 0 {
			t.Errorf("no source file in %q", functions)
		}
		for _, r := range protocols {
			if !slices.ContainsFunc(s.Location, func(l *profile.Location) bool {
				return l.Mapping != nil && l.Mapping.ID == 1 && r.lo <= l.Address && l.Address < r.hi
			}) {
				continue
			}
			through[r.dir]++
			if !slices.ContainsFunc(files, func(file string) bool { return strings.HasPrefix(file, r.dir) }) {
				t.Errorf("no file of %s in %q", r.dir, functions)
			}
		}
	}
	return through
}
