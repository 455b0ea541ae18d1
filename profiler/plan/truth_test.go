// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"leakprof/profiler/bird/inline"
	"leakprof/profiler/internal/fixture"
	"leakprof/profiler/target"
)

func openModule(t testing.TB, path string) *target.Module {
	t.Helper()
	m, err := target.OpenModule(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

func planFile(t testing.TB, path string, o Options) *Plan {
	t.Helper()
	p, err := NewForFile(openModule(t, path), o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// strip returns a copy of the file without symbols and debug information.
func strip(t testing.TB, path string) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "stripped")
	if msg, err := exec.Command("strip", "-s", "-o", out, path).CombinedOutput(); err != nil {
		t.Fatalf("strip: %v: %s (apt-get install -y binutils)", err, msg)
	}
	return out
}

// wrong compares a plan of a stripped file with the symbols and DWARF of the
// file that it was made from. The result is what is wrong, one thing a line.
func wrong(t testing.TB, stripped *Plan, path string) (list []string) {
	t.Helper()
	m := openModule(t, path)
	bodies := inline.OutOfLine(m.ELF, functionNames...)
	instances, err := inline.Find(m.ELF, functionNames...)
	if err != nil {
		t.Fatal(err)
	}
	isBody := func(name string, address uint64, part bool) bool {
		return slices.ContainsFunc(bodies[name], func(b inline.Body) bool {
			return b.Address == address && !b.Has(inline.Cold) && b.Has(inline.Part) == part
		})
	}
	for _, f := range stripped.Functions {
		if !isBody(f.Name, f.Address, f.Part) {
			list = append(list, fmt.Sprintf("%s (part: %v) is not at 0x%x", f.Name, f.Part, f.Address))
		}
	}
	for _, s := range stripped.Sites {
		if s.Module.Path == path || s.FoundBy != ByStructure {
			list = append(list, fmt.Sprintf("%s is found by %s", s.Function, s.FoundBy))
		}
		ok := false
		switch {
		case s.Into == "":
			ok = isBody(s.Function, s.Address, false) || isBody(s.Function, s.Address, true)
		case s.Offset == 0 && s.Return: // a function with a copy
			ok = isBody(s.Into, s.Address, false)
		default:
			ok = slices.ContainsFunc(instances[s.Function], func(i inline.Instance) bool {
				return slices.ContainsFunc(i.Ranges, func(r [2]uint64) bool { return s.Address >= r[0] && s.Address < r[1] })
			})
		}
		if !ok {
			list = append(list, fmt.Sprintf("%s of %s is not at 0x%x", s.Event, s.Function, s.Address))
		}
	}
	// What the symbols know to be incomplete cannot be whole without them.
	symbols := planFile(t, path, stripped.Options)
	for _, f := range symbols.Functions {
		if strings.Contains(f.Symbol, ".cold") {
			list = append(list, f.Symbol+" is taken for a function")
		}
	}
	for _, i := range symbols.Incomplete {
		if !slices.ContainsFunc(stripped.Incomplete, func(o Incomplete) bool { return o.Layer == i.Layer }) {
			list = append(list, fmt.Sprintf("%s are incomplete: %s", i.Layer, i.Why))
		}
	}
	return append(list, differences(symbols, stripped)...)
}

// differences are the events that both plans probe, but at different places,
// and copies that only the first one probes; these have different places.
func differences(a, b *Plan) (list []string) {
	places := func(p *Plan, e Event) (at []string, copies int) {
		for _, s := range p.Sites {
			switch {
			case s.Event != e || strings.HasPrefix(s.Function, "mb_"):
			case s.Into != "" && !s.Return:
				copies++
			default:
				at = append(at, fmt.Sprintf("%s 0x%x+%d %v %v", s.Function, s.Address, s.Offset, s.Entry, s.Return))
			}
		}
		slices.Sort(at)
		return at, copies
	}
	for _, e := range a.Events {
		x, xCopies := places(a, e.Event)
		y, yCopies := places(b, e.Event)
		if len(x) > 0 && len(y) > 0 && (!slices.Equal(x, y) || xCopies > yCopies) {
			list = append(list, fmt.Sprintf("%s: by symbols %v and %d copies, by structure %v and %d", e.Event, x, xCopies, y, yCopies))
		}
	}
	return list
}

func TestMain(m *testing.M) { os.Exit(fixture.Run(m)) }

// buildFixture builds the program of package structure's tests.
func buildFixture(t testing.TB, generation int, compiler, flags string) string {
	t.Helper()
	source, err := filepath.Abs("../bird/structure/testdata/main.c")
	if err != nil {
		t.Fatal(err)
	}
	return fixture.BuildAllocators(t, generation, compiler, flags, source)
}

// TestStripped builds allocators in BIRD's shape in several ways: what is
// planned for the stripped file is what the symbols say.
func TestStripped(t *testing.T) {
	for _, generation := range []int{2, 3} {
		for _, build := range []string{"gcc -O2", "gcc -O2 -flto", "gcc -O3", "gcc -Os -no-pie -fno-pie", "clang -O2"} {
			t.Run(fmt.Sprint(generation, build), func(t *testing.T) {
				t.Parallel()
				compiler, flags, _ := strings.Cut(build, " ")
				path := buildFixture(t, generation, compiler, flags)
				p := planFile(t, strip(t, path), Options{LinpoolObjects: true})
				for _, w := range wrong(t, p, path) {
					t.Error(w)
				}
				t.Logf("%d sites; %v", len(p.Sites), p.Refusal())
			})
		}
	}
}
