// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"bytes"
	"debug/elf"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"leakprof/profiler/bird/structure"
	"leakprof/profiler/target"
)

// birdPath is the BIRD of a root that scripts/bird-root makes.
func birdPath(t testing.TB, name string) string {
	t.Helper()
	path := filepath.Join("../../.bird", name, "usr/sbin/bird")
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("BIRD %s is missing: scripts/bird-root %s", name, name)
	}
	return path
}

var allEvents = []Event{
	BlockAllocated, BlockResized, BlockFreed, PageTaken, PageReturned, SlabObjectAllocated, SlabObjectFreed,
	LinpoolChunkAdded, LinpoolFlushed, LinpoolRestored, LinpoolObjectAllocated, PoolCreated, PoolFreed,
}

// TestDebian: of Debian's BIRDs, whatever their version, each layer is covered
// whole, by structure.
func TestDebian(t *testing.T) {
	for _, name := range []string{"bird3-trixie", "bird2-sid", "bird3-sid"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := planFile(t, birdPath(t, name), Options{LinpoolObjects: true})
			if err := p.Refusal(); err != nil {
				t.Fatal(err)
			}
			probed := map[Event]string{PageTaken: "alloc_page", PageReturned: "free_page", SlabObjectAllocated: "sl_alloc", LinpoolObjectAllocated: "lp_alloc"}
			var sites []Site
			for i, e := range p.Events {
				if e.Event != allEvents[i] {
					t.Fatalf("event %d is %s, want %s", i, e.Event, allEvents[i])
				}
				sites = append(sites, e.Sites...)
				want := probed[e.Event]
				if want != "" && !slices.ContainsFunc(e.Sites, func(s Site) bool { return s.Function == want }) {
					t.Errorf("%s: no probe on %s", e.Event, want)
				}
				if block := i < 3; block != (e.Missing != "") || !block && want == "" && e.CoveredBy == "" {
					t.Errorf("%s: covered by %q, missing %q", e.Event, e.CoveredBy, e.Missing)
				}
			}
			if len(p.Events) != len(allEvents) || !reflect.DeepEqual(sites, p.Sites) {
				t.Errorf("%d events; their sites are not those of the plan", len(p.Events))
			}
			for _, s := range p.Sites {
				isFunction := func(f Function) bool { return f.Name == s.Function && f.Address == s.Address }
				if s.FoundBy != ByStructure || !slices.ContainsFunc(p.Functions, isFunction) {
					t.Errorf("%s at 0x%x, found by %s", s.Function, s.Address, s.FoundBy)
				}
				if s.Event == SlabObjectAllocated && (!s.Return || s.Entry != (s.Function == "isl_alloc")) {
					t.Errorf("%s: entry %v, return %v", s.Function, s.Entry, s.Return)
				}
			}
			third := slices.ContainsFunc(p.Functions, func(f Function) bool { return f.Name == "mslab_free" })
			for _, f := range []string{"msl_alloc", "isl_alloc"} {
				if got := slices.ContainsFunc(p.Sites, func(s Site) bool { return s.Function == f }); got != third {
					t.Errorf("%s probed: %v, mslabs there: %v", f, got, third)
				}
			}
		})
	}
}

// TestModes: without the exact mode no slab object is probed, and without
// LinpoolObjects none of a linpool; words say what that means.
func TestModes(t *testing.T) {
	path := birdPath(t, "bird2-sid")
	for _, o := range []Options{{}, {Mode: Pages}, {LinpoolObjects: true}, {Mode: Pages, LinpoolObjects: true}} {
		p := planFile(t, path, o)
		for _, e := range p.Events {
			switch e.Event {
			case SlabObjectAllocated:
				if exact := o.Mode == Exact; exact != (len(e.Sites) > 0) || exact != (e.CoveredBy == "") {
					t.Errorf("%v: %d sites for slab objects, covered by %q", o, len(e.Sites), e.CoveredBy)
				}
			case LinpoolObjectAllocated:
				if o.LinpoolObjects != (len(e.Sites) > 0) || o.LinpoolObjects != (e.CoveredBy == "") {
					t.Errorf("%v: %d sites for linpool objects, covered by %q", o, len(e.Sites), e.CoveredBy)
				}
			}
		}
		unseen := strings.Join(p.NotCovered, "\n")
		if strings.Contains(unseen, slabObjectsNotCovered) != (o.Mode == Pages) || strings.Contains(unseen, linpoolObjectsNotCovered) == o.LinpoolObjects {
			t.Errorf("%v: not covered: %s", o, unseen)
		}
	}
}

// TestIncomplete: what cannot be followed whole is refused in one line that
// says what to run.
func TestIncomplete(t *testing.T) {
	exe := openModule(t, "/proc/self/exe")
	pages := []Function{body("alloc_page", 1), body("free_page", 2)}
	for _, c := range []struct {
		name    string
		o       Options
		s       survey
		refusal string // parts of it, "" for none
	}{
		{"whole", Options{}, survey{functions: append(pages, body("sl_alloc", 3))}, ""},
		{"slabs", Options{}, survey{functions: pages}, "follow slab objects: |--mode pages|--partial"},
		{"slabs not asked for", Options{Mode: Pages}, survey{functions: pages}, ""},
		{"linpools", Options{Mode: Pages, LinpoolObjects: true}, survey{functions: pages}, "follow linpool objects: |without --linpool-objects"},
		{"pages", Options{}, survey{functions: append(pages[:1:1], body("sl_alloc", 3))}, "follow pages: |free_page|--partial"},
	} {
		c.s.exe = exe
		p := &Plan{Options: c.o}
		p.addProgram(&c.s)
		err := p.Refusal()
		if (err == nil) != (c.refusal == "") || len(p.Incomplete) > 1 {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		for _, part := range strings.Split(c.refusal, "|") {
			if err != nil && (!strings.Contains(err.Error(), part) || strings.Contains(err.Error(), "\n")) {
				t.Errorf("%s: %v, want %q in a line", c.name, err, part)
			}
		}
		for _, e := range p.Events {
			if c.name == "pages" && e.Event != LinpoolObjectAllocated && len(e.Sites) > 0 {
				t.Errorf("%s: %s is probed", c.name, e.Event)
			}
		}
	}
}

func TestParseMode(t *testing.T) {
	for _, m := range []Mode{Exact, Pages, Walk, Auto} {
		if got, err := ParseMode(m.String()); err != nil || got != m {
			t.Errorf("%v: %v, %v", m, got, err)
		}
	}
	if _, err := ParseMode("every"); err == nil {
		t.Error("a mode that is none is accepted")
	}
}

func TestNotBIRD(t *testing.T) {
	if _, err := NewForFile(openModule(t, "/bin/true"), Options{}); !errors.Is(err, structure.ErrNotBIRD) {
		t.Errorf("/bin/true: %v, want ErrNotBIRD", err)
	}
}

// FuzzFile: whatever the file is, there is a plan or an error.
func FuzzFile(f *testing.F) {
	for _, flags := range []string{"-O2", "-O2 -s"} {
		data, err := os.ReadFile(buildFixture(f, 2, "gcc", flags))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
		f.Add(data[:len(data)/2])
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := elf.NewFile(bytes.NewReader(data))
		if err != nil {
			return
		}
		p, err := NewForFile(&target.Module{Path: "fuzz", Name: "fuzz", ELF: file, Reader: bytes.NewReader(data)}, Options{LinpoolObjects: true})
		if err == nil && len(p.Functions) == 0 {
			t.Error("a BIRD without a function")
		}
	})
}

// BenchmarkPlan plans a stripped BIRD.
func BenchmarkPlan(b *testing.B) {
	m := openModule(b, birdPath(b, "bird3-sid"))
	for b.Loop() {
		if _, err := NewForFile(m, Options{}); err != nil {
			b.Fatal(err)
		}
	}
}
