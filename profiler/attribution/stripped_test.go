// SPDX-License-Identifier: Apache-2.0

package attribution

import (
	"os"
	"strings"
	"testing"

	"leakprof/profiler/plan"
	"leakprof/profiler/symbol"
	"leakprof/profiler/target"
)

// TestStrippedBIRD: in Debian's BIRD hooks have their names and files, other
// functions their files, and allocators the names they had.
func TestStrippedBIRD(t *testing.T) {
	const path = "../../.bird/bird3-trixie/usr/sbin/bird"
	f, err := os.Open(path)
	if err != nil {
		t.Fatalf("BIRD is missing: scripts/bird-root bird3-trixie: %v", err)
	}
	defer f.Close()
	symbols, err := symbol.Open(f, "bird")
	if err != nil {
		t.Fatal(err)
	}
	m := &module{Module: &target.Module{Name: "bird", Reader: f}, symbols: symbols}
	m.useStructure(nil)
	if !m.toldFiles() {
		t.Fatal("nothing told")
	}
	m.useStructure([]plan.Function{{Name: "mb_alloc", Address: m.functions[0].Address - 16, Size: 16, FoundBy: plan.ByStructure}})
	if got := m.frames(m.functions[0].Address-8, false)[0]; got.Function != "mb_alloc" || got.File != "" {
		t.Errorf("the allocator is %s in %q", got.Function, got.File)
	}
	files := 0
	for i, fn := range m.functions {
		// The address behind a call at the end is still of the function.
		for _, at := range []struct {
			vaddr    uint64
			isReturn bool
		}{{fn.Address, false}, {fn.Address + fn.Size, true}} {
			got := m.frames(at.vaddr, at.isReturn)
			want := fn.Name
			if want == "" {
				want = "bird+0x"
			}
			if len(got) != 1 || got[0].File != fn.File || !strings.HasPrefix(got[0].Function, want) {
				t.Fatalf("function %d at %#x is %+v, want %s in %s", i, at.vaddr, got, want, fn.File)
			}
			files++
		}
	}
	if files < 2000 {
		t.Errorf("%d functions asked, want 1000", files/2)
	}
	// The names of frames are shared, so they must be as they were.
	first := m.functions[0].Address
	if got := symbols.Frames(first, false)[0].File; got != "" {
		t.Errorf("the module's frame has got file %s", got)
	}
	for _, at := range []uint64{0, 1 << 40} {
		if got := m.frames(at, false); len(got) != 1 || got[0].File != "" {
			t.Errorf("at %#x is %+v", at, got)
		}
	}
}
