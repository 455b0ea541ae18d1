// SPDX-License-Identifier: Apache-2.0

package reachability

import (
	"cmp"
	"fmt"
	"slices"
	"testing"

	"leakprof/bpf"
	"leakprof/profiler/bird/tree"
	"leakprof/profiler/internal/fixture"
	"leakprof/profiler/live"
	"leakprof/profiler/snapshot"
)

// liveSet returns the live set as probes would have it.
func liveSet(m *fixture.Memory) *live.Snapshot {
	s := new(live.Snapshot)
	for address, b := range m.Blocks {
		s.Blocks = append(s.Blocks, live.Block{Address: address, Size: b.Bytes, Stack: uint32(address >> 4)})
	}
	for address := range m.Pages {
		s.Blocks = append(s.Blocks, live.Block{Address: address, Size: 4096, Function: bpf.FunctionAllocPage})
	}
	slices.SortFunc(s.Blocks, func(a, b live.Block) int { return cmp.Compare(a.Address, b.Address) })
	return s
}

// TestFixture compares with the books of a program that loses memory on purpose,
// exactly: with a live set, and with what can be read without probes.
func TestFixture(t *testing.T) {
	for _, generation := range []int{2, 3} {
		for _, flags := range []string{"-O2", "-O0"} {
			t.Run(fmt.Sprintf("BIRD %d %s", generation, flags), func(t *testing.T) {
				path := fixture.BuildBIRD(t, generation, "gcc", flags)
				f := fixture.Start(t, path)
				f.Do(t, "init")
				f.Do(t, "run 7 4000")
				p, b := open(t, f.PID)
				commands := []string{
					"keep chain 100", "lose chain 1000", "lose cycle 500", "keep cycle 30", "lose list 3000", "keep list 100",
					"lose middle 50", "keep middle 50", "lose object 300", "keep object 200", "lose page 40", "keep page 30",
					"lose raw 60", "keep raw 40", "lose linpool 200", "keep linpool 200", "lose pool 20", "lose event 10",
				}
				for i, command := range commands {
					f.Do(t, command)
					if i < len(commands)-1 && (flags != "-O2" || i%3 != 0) {
						continue
					}
					truth := f.Memory(t)
					resources, err := tree.Read(p, b, tree.Options{})
					if err != nil {
						t.Fatal(err)
					}
					for name, set := range map[string]*live.Snapshot{"with a live set": liveSet(truth), "by the tree": nil} {
						r, err := Classify(p, b, &snapshot.Snapshot{Tree: resources, Live: set, Quiet: true}, Options{})
						if err != nil {
							t.Fatal(err)
						}
						compare(t, command+", "+name, r, truth, set != nil)
					}
					if t.Failed() {
						return
					}
				}
			})
		}
	}
}

// compare compares the class of everything with the books.
func compare(t *testing.T, when string, r *Result, truth *fixture.Memory, pages bool) {
	t.Helper()
	if r.Doubt != "" || r.Running != 0 || r.Unread != 0 {
		t.Errorf("%s: doubt %q, %d threads run, %d bytes unread", when, r.Doubt, r.Running, r.Unread)
	}
	wrong, checked := 0, 0
	check := func(kind string, address uint64, h fixture.Held) {
		want := Held
		if truth.Astray[address] {
			want = Lost
		}
		checked++
		if got, by := r.Of(address); got != want {
			if wrong++; wrong < 8 {
				t.Errorf("%s: %s at 0x%x of %q, %v, is %v by %v, want %v", when, kind, address, h.Class, h.Calls, got, by, want)
				for range 20000 { // up to the root
					if by.Root != "" || by.Address == 0 {
						break
					}
					_, by = r.Of(by.Address)
					t.Logf("  by %v 0x%x", by, by.Address)
				}
			}
		}
	}
	for address, h := range truth.Blocks {
		check("block", address, h)
	}
	for address, h := range truth.Objects {
		check("object", address, h)
	}
	for address, h := range truth.Pages {
		// A page of a slab has the class of its objects; without a live set,
		// pages that no resource has are not known.
		if h.Class == "Slab" || h.Class == "" && !pages {
			continue
		}
		check("page", address, h)
	}
	if len(truth.Pools) == 0 || checked == 0 {
		t.Fatalf("%s: the books are empty", when)
	}
}

// TestLinpoolHeader: nothing is read of a linpool's header. Its chunks are known,
// and the address behind the last is where another's page may begin.
func TestLinpoolHeader(t *testing.T) {
	for _, generation := range []int{2, 3} {
		f := fixture.Start(t, fixture.BuildBIRD(t, generation, "gcc", "-O2"))
		f.Do(t, "init")
		f.Do(t, "keep linpool 20")
		p, b := open(t, f.PID)
		resources, err := tree.Read(p, b, tree.Options{})
		if err != nil {
			t.Fatal(err)
		}
		table, linpools := newTable(), 0
		addTree(resources, headersOf(b.Generation), func(address uint64, s shape, owner uint64) {
			if err := table.add(address, s, owner); err != nil {
				t.Fatal(err)
			}
		})
		table.finish()
		for i := range table.keys {
			if s := table.shape(uint32(i)); s.kind == linpoolUnit {
				if linpools++; s.from != s.to || s.bytes < 72 {
					t.Errorf("BIRD %d: of a linpool's header of %d bytes %d are read", generation, s.bytes, s.to-s.from)
				}
			}
		}
		if linpools == 0 {
			t.Errorf("BIRD %d: no linpool is found", generation)
		}
	}
}
