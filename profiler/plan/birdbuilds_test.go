// SPDX-License-Identifier: Apache-2.0

//go:build birdbuilds

package plan

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"
)

// TestBuilds prints what is planned for BIRDs with symbols, and for stripped
// copies of them, and fails on anything that is wrong in the latter.
//
//	LEAKPROF_BIRDS=DIR go test -tags birdbuilds -run Builds -v ./profiler/plan
//
// LEAKPROF_BIRDS is as for the test of package structure.
func TestBuilds(t *testing.T) {
	paths, err := filepath.Glob(filepath.Join(os.Getenv("LEAKPROF_BIRDS"), "[^s]*/bird"))
	if err != nil || len(paths) == 0 {
		t.Fatal("name a directory of builds: LEAKPROF_BIRDS=DIR, with DIR/*/bird")
	}
	var out strings.Builder
	w := tabwriter.NewWriter(&out, 1, 8, 2, ' ', 0)
	fmt.Fprintln(w, "build\tfunctions right\twrong\tinlined\tnot found\tpages\tslab objects\tlinpool objects")
	var unfollowed []string
	for _, path := range paths {
		name := filepath.Base(filepath.Dir(path))
		o := Options{LinpoolObjects: true}
		symbols := planFile(t, path, o)
		if len(symbols.Functions) == 0 || symbols.Functions[0].Symbol == "" {
			continue // stripped
		}
		stripped := planFile(t, strip(t, path), o)
		bad := wrong(t, stripped, path)
		for _, line := range bad {
			t.Errorf("%s: %s", name, line)
		}
		var missed []string
		inlined := 0
		for _, n := range stripped.NotFound {
			if slices.ContainsFunc(symbols.Functions, func(f Function) bool { return f.Name == n.Name }) {
				missed = append(missed, n.Name)
			} else {
				inlined++
			}
		}
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d %s\t%s\t%s\t%s\n", name, len(stripped.Functions), len(bad), inlined, len(missed), strings.Join(missed, " "),
			layer(symbols, stripped, layerPages, PageReturned), layer(symbols, stripped, layerSlabObjects, SlabObjectAllocated), layer(symbols, stripped, layerLinpoolObjects, LinpoolObjectAllocated))
		for kind, p := range map[string]*Plan{"symbols": symbols, "stripped": stripped} {
			for _, i := range p.Incomplete {
				unfollowed = append(unfollowed, fmt.Sprintf("%s, %s: %s: %s", name, kind, i.Layer, i.Why))
			}
		}
	}
	w.Flush()
	slices.Sort(unfollowed)
	t.Log("\n" + out.String() + strings.Join(unfollowed, "\n"))
}

// layer says how a layer is followed by symbols / by structure.
func layer(symbols, stripped *Plan, layer string, e Event) string {
	one := func(p *Plan) string {
		if slices.ContainsFunc(p.Incomplete, func(i Incomplete) bool { return i.Layer == layer }) {
			return "no"
		}
		var names []string
		for _, s := range p.Sites {
			if s.Event == e {
				name := s.Function
				if s.Into != "" {
					name += "@copy"
				}
				names = append(names, name)
			}
		}
		return strings.Join(names, "+")
	}
	a, b := one(symbols), one(stripped)
	if a == b {
		return a
	}
	return a + " / " + b
}
