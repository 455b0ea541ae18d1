// SPDX-License-Identifier: Apache-2.0

//go:build birdbuilds

package structure

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"text/tabwriter"
	"time"
)

// TestTruthTable prints how Find does on stripped copies of BIRDs with symbols,
// function by function, and fails on anything found wrong. LEAKPROF_BIRDS is a
// directory that holds NAME/bird, built with -g and not stripped. It is behind a
// build tag, since such builds are at hand only where somebody has made them:
//
//	LEAKPROF_BIRDS=DIR go test -tags birdbuilds -run TruthTable -v ./profiler/bird/structure
func TestTruthTable(t *testing.T) {
	root := os.Getenv("LEAKPROF_BIRDS")
	if root == "" {
		t.Fatal("name a directory of builds: LEAKPROF_BIRDS=DIR, with DIR/*/bird")
	}
	paths, err := filepath.Glob(filepath.Join(root, "*/bird"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no %s/*/bird", root)
	}
	var out strings.Builder
	w := tabwriter.NewWriter(&out, 1, 8, 2, ' ', 0)
	fmt.Fprintln(w, "build\tright\tinlined\tmissed\twrong\tcpu ms\twhat")
	for _, path := range paths {
		truth, err := readTruth(path)
		if err != nil || len(truth.functions) == 0 {
			continue // stripped
		}
		name := filepath.Base(filepath.Dir(path))
		if strings.HasPrefix(name, "src-") {
			continue // a source tree with the same binary
		}
		stripped := strip(t, path)
		before := cpuTime(t)
		found, _, err := findFile(stripped)
		took := time.Duration(cpuTime(t) - before)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			fmt.Fprintf(w, "%s\t-\t-\t-\t-\t%d\t%v\n", name, took.Milliseconds(), err)
			continue
		}
		s := compare(found, truth)
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%d\t%s\n", name, s.right, s.inlined, len(s.missed), len(s.wrong), took.Milliseconds(),
			strings.TrimSpace(strings.Join(s.notes, "; ")))
		for _, bad := range s.wrong {
			t.Errorf("%s: wrong: %s", name, bad)
		}
		if testing.Verbose() {
			for _, n := range found.NotFound {
				t.Logf("%s: %s", name, n)
			}
		}
	}
	w.Flush()
	t.Log("\n" + out.String())
}
