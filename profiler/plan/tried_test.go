// SPDX-License-Identifier: Apache-2.0

package plan_test

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"leakprof/bpf"
	"leakprof/profiler/plan"
	"leakprof/profiler/plan/prologue"
	"leakprof/profiler/scratch"
	"leakprof/profiler/unwind"
)

var update = flag.Bool("update", false, "write the golden files")

// fixtureBuilds are ways to compile the allocators.
var fixtureBuilds = []string{"gcc -O0", "gcc -O2", "gcc -O2 -flto", "gcc -O3", "clang -O0", "clang -O2"}

// describe says where a site is and how its arguments are had there.
func describe(s plan.Site) string {
	out := fmt.Sprintf("%s+%d %s", s.Function, s.Offset, s.Instruction)
	if !s.Emulated {
		out += ", stepped"
	}
	if s.Return {
		out += ", return"
	}
	if s.Depth != 0 {
		out += fmt.Sprintf(", rsp-%d", s.Depth)
	}
	for _, a := range s.Arguments {
		if a.Moved() {
			out += ", " + a.String()
		}
	}
	return out
}

// everyPlace returns sites at each instruction on the straight line of a site's
// function, with the first three arguments as they can be had there, two in a
// site; and return probes where rsp is as at the entry.
func everyPlace(t *testing.T, s plan.Site) (sites []plan.Site) {
	t.Helper()
	code, err := s.Code()
	if err != nil {
		t.Fatal(err)
	}
	rows, err := unwind.NewTable(s.Module.ELF)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range prologue.Follow(code) {
		if p.Form == prologue.Ret || p.Depth%8 != 0 {
			continue
		}
		if r := rows.Lookup(s.Address + p.Offset); r.CFA != unwind.CFARegister || !p.IsFrame(prologue.FromDWARF(int(r.Reg)), int64(r.Off)) {
			t.Errorf("%s+%d: the frame is at %v by the unwind row, rsp %d bytes below the return address by the code", s.Function, p.Offset, r, p.Depth)
		}
		var args []plan.Argument
		for n := range 3 {
			if v, ok := p.Find(prologue.Argument(n), 64); ok {
				args = append(args, plan.Argument{Number: n, Bits: 64, Value: v})
			} else if v, ok := p.Find(prologue.Argument(n), 32); ok {
				args = append(args, plan.Argument{Number: n, Bits: 32, Value: v})
			}
		}
		s.Offset, s.Depth, s.Instruction, s.Entry, s.Return = p.Offset, p.Depth, p.Form, true, p.Depth == 0
		for pair := range slices.Chunk(args, 2) {
			s.Arguments = pair
			sites = append(sites, s)
		}
	}
	return sites
}

// tried fails the test for each site that is refused on a copy of its function.
// Those in may are refused in silence if no copy can be run, as of code that
// reads an array by a number that it finds somewhere: all but few can.
func tried(t *testing.T, must, may []plan.Site) {
	t.Helper()
	notRun := 0
	for part := range slices.Chunk(append(slices.Clone(must), may...), 200) {
		refused, err := bpf.Try(part, bpf.AttachBest)
		if err != nil {
			t.Fatalf("try sites (needs root): %v", err)
		}
		for i, err := range refused {
			cannotRun := errors.Is(err, prologue.ErrNoCopy) || errors.Is(err, scratch.ErrCrashed)
			isMust := slices.ContainsFunc(must, func(s plan.Site) bool { return s.Address == part[i].Address && s.Offset == part[i].Offset })
			switch {
			case err == nil:
			case cannotRun && !isMust:
				notRun++
			default:
				t.Error(err)
			}
		}
	}
	if notRun*4 > len(may) {
		t.Errorf("of %d sites %d could not be tried", len(may), notRun)
	}
}

// TestTriedFixtures: for allocators in BIRD's shape, however compiled, the sites
// that are chosen are those of the golden table; and at each instruction that
// could have been chosen the arguments are what they are at the entry, and
// nobody's registers change.
func TestTriedFixtures(t *testing.T) {
	generations := []int{2, 3}
	tables := make([]strings.Builder, len(generations)*len(fixtureBuilds))
	t.Run("builds", func(t *testing.T) { // waits for all
		for i := range tables {
			table, generation, build := &tables[i], generations[i/len(fixtureBuilds)], fixtureBuilds[i%len(fixtureBuilds)]
			t.Run(fmt.Sprintf("%d %s", generation, build), func(t *testing.T) {
				t.Parallel()
				compiler, flags, _ := strings.Cut(build, " ")
				p := plan.PlanFile(t, plan.BuildFixture(t, generation, compiler, flags), plan.Options{LinpoolObjects: true})
				fmt.Fprintf(table, "%d %s\n", generation, build)
				var places []plan.Site
				for _, s := range p.Sites {
					fmt.Fprintf(table, "\t%s\n", describe(s))
					if s.Into == "" {
						places = append(places, everyPlace(t, s)...)
					}
				}
				tried(t, p.Sites, places)
			})
		}
	})
	var table strings.Builder
	for i := range tables {
		table.WriteString(tables[i].String())
	}
	const golden = "testdata/sites.golden"
	if *update {
		if err := os.WriteFile(golden, []byte(table.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if table.String() != string(want) {
		t.Errorf("sites are not those of %s (-update writes it):\n%s", golden, table.String())
	}
}

// TestTriedDebian: the same at each instruction of the allocators of Debian's
// BIRDs and of their C libraries.
func TestTriedDebian(t *testing.T) {
	for _, name := range []string{"bird3-trixie", "bird2-sid", "bird3-sid"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := plan.BirdPath(t, name)
			sites := plan.PlanFile(t, path, plan.Options{LinpoolObjects: true}).Sites
			libc := filepath.Join(path, "../../lib/x86_64-linux-gnu/libc.so.6")
			ofLibc, _, err := plan.LibrarySites(plan.OpenModule(t, libc), nil)
			if err != nil {
				t.Fatal(err)
			}
			sites = append(sites, ofLibc...)
			var places []plan.Site
			for _, s := range sites {
				t.Log(describe(s))
				// What the compiler makes of BIRD's changes from package to package.
				if s.Function == "free" && !s.Emulated {
					t.Errorf("%s is single-stepped", s.Function)
				}
				places = append(places, everyPlace(t, s)...)
			}
			tried(t, sites, places)
		})
	}
}

// TestRefused: a site that is wrong in one thing is refused.
func TestRefused(t *testing.T) {
	t.Parallel()
	p := plan.PlanFile(t, plan.BuildFixture(t, 2, "gcc", "-O0"), plan.Options{})
	i := slices.IndexFunc(p.Sites, func(s plan.Site) bool { return s.Function == "free_page" })
	// push rbp; mov rsp, rbp; ...
	var right plan.Site
	for _, s := range everyPlace(t, p.Sites[i]) {
		if s.Offset == 1 {
			right = s
			break
		}
	}
	if right.Depth != 8 || len(right.Arguments) != 2 {
		t.Fatalf("free_page begins otherwise: %s", describe(right))
	}
	for _, c := range []struct {
		name  string
		wrong func(*plan.Site)
		want  string // "" if it is right
	}{
		{"right", func(*plan.Site) {}, ""},
		{"depth", func(s *plan.Site) { s.Depth = 16 }, "rsp was not 16 bytes higher"},
		{"return probe behind push", func(s *plan.Site) { s.Return = true }, "returns were seen"},
		{"register", func(s *plan.Site) { s.Arguments[0].Value.Register = prologue.RCX }, "argument 1 was seen as"},
		{"offset", func(s *plan.Site) { s.Arguments[1].Value.Offset = -8 }, "argument 2 was seen as"},
		{"load", func(s *plan.Site) { s.Arguments[1].Value.Load = true }, "argument 2 was seen as"},
		{"no instruction", func(s *plan.Site) { s.Offset = 2 }, "no instruction begins there"},
	} {
		for _, mode := range []bpf.AttachMode{bpf.AttachMulti, bpf.AttachPerf} {
			site := right
			site.Arguments = slices.Clone(right.Arguments)
			c.wrong(&site)
			refused, err := bpf.Try([]plan.Site{site}, mode)
			if err != nil {
				t.Fatal(err)
			}
			if got := refused[0]; (got == nil) != (c.want == "") || got != nil && !strings.Contains(got.Error(), c.want) {
				t.Errorf("%s, mode %d: %v, want %q", c.name, mode, got, c.want)
			}
		}
	}
}

// BenchmarkTry tries all sites of a BIRD and its C library, as attaching does.
func BenchmarkTry(b *testing.B) {
	path := plan.BirdPath(b, "bird2-sid")
	sites := plan.PlanFile(b, path, plan.Options{LinpoolObjects: true}).Sites
	ofLibc, _, err := plan.LibrarySites(plan.OpenModule(b, filepath.Join(path, "../../lib/x86_64-linux-gnu/libc.so.6")), nil)
	if err != nil {
		b.Fatal(err)
	}
	sites = append(sites, ofLibc...)
	for b.Loop() {
		if _, err := bpf.Try(sites, bpf.AttachBest); err != nil {
			b.Fatal(err)
		}
	}
}
