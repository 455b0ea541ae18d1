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
	var builds []string
	verdicts := make(map[string][]string) // by function, for each build
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
		builds = append(builds, name)
		for _, fn := range functionNames {
			verdicts[fn] = append(verdicts[fn], verdict(fn, symbols, stripped))
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

	out.Reset()
	fmt.Fprintln(w, "function\t"+strings.Join(builds, "\t"))
	for _, fn := range functionNames {
		fmt.Fprintln(w, fn+"\t"+strings.Join(verdicts[fn], "\t"))
	}
	w.Flush()
	t.Log("R found right, P its part, iN no function but N copies, M missed, . not in this build, ? not looked for, W wrong\n" + out.String())
}

// verdict is a letter for how a function is found in a stripped file.
func verdict(name string, symbols, stripped *Plan) string {
	inSymbols := func(at uint64) bool {
		return slices.ContainsFunc(symbols.Functions, func(f Function) bool { return f.Name == name && (at == 0 || f.Address == at) })
	}
	found := ""
	for _, f := range stripped.Functions {
		switch {
		case f.Name != name:
		case !inSymbols(f.Address):
			return "W"
		case f.Part:
			found += "P"
		default:
			found += "R"
		}
	}
	switch {
	case found != "":
		return found
	case inSymbols(0):
		if slices.ContainsFunc(stripped.NotFound, func(a Absent) bool { return a.Name == name }) {
			return "M"
		}
		return "?"
	}
	for _, a := range symbols.NotFound {
		if a.Name == name {
			return fmt.Sprintf("i%d", a.Copies)
		}
	}
	return "."
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
