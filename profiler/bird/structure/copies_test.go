// SPDX-License-Identifier: Apache-2.0

package structure

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/arch/x86/x86asm"
)

// TestCopies has the compiler put copies of sl_alloc and free_page into one
// caller each (gcc's attribute flatten): what is found lies in a copy by DWARF,
// and the register with a page that is given back is told.
func TestCopies(t *testing.T) {
	const declarations = `
typedef struct slab slab;
void *alloc_page(void) __attribute__((noinline));
void free_page(void *) __attribute__((noclone));
void *sl_alloc(slab *) __attribute__((noclone));
void *sl_allocz(slab *) __attribute__((flatten, noinline));
void sl_free(void *) __attribute__((flatten, noinline));
`
	header := filepath.Join(t.TempDir(), "inline.h")
	if err := os.WriteFile(header, []byte(declarations), 0o600); err != nil {
		t.Fatal(err)
	}
	flags := "-O2 -flto -include " + header
	for _, generation := range []int{2, 3} {
		t.Run(fmt.Sprint(generation), func(t *testing.T) {
			t.Parallel()
			path := buildFixture(t, generation, variant{"gcc", flags, false})
			tr, err := readTruth(path)
			if err != nil {
				t.Fatal(err)
			}
			found, _, err := findFile(strip(t, path))
			if err != nil {
				t.Fatal(err)
			}
			seen := make(map[string]int)
			for _, s := range found.Inlined {
				if s.Function != "sl_alloc" && s.Function != "free_page" {
					continue
				}
				seen[s.Function]++
				inside := false
				for _, c := range tr.inlined[s.Function] {
					inside = inside || c.contains(s.Address)
				}
				if !inside {
					t.Errorf("no copy of %s at %#x: %s", s.Function, s.Address, s.What)
				}
				if told := s.Register >= 0; told != (s.Function == "free_page") {
					t.Errorf("%s at %#x: register %d", s.Function, s.Address, s.Register)
				}
			}
			for _, name := range []string{"sl_alloc", "free_page"} {
				if seen[name] == 0 {
					t.Errorf("no copy of %s is found, DWARF has %d", name, len(tr.inlined[name]))
				}
			}
		})
	}
}

// TestDWARFRegister: the numbers of figure 3.36 of the System V ABI for x86-64.
func TestDWARFRegister(t *testing.T) {
	for want, r := range []x86asm.Reg{
		x86asm.RAX, x86asm.RDX, x86asm.RCX, x86asm.RBX, x86asm.RSI, x86asm.RDI, x86asm.RBP, x86asm.RSP,
		x86asm.R8, x86asm.R9, x86asm.R10, x86asm.R11, x86asm.R12, x86asm.R13, x86asm.R14, x86asm.R15,
	} {
		if got := dwarfRegister(r); got != want {
			t.Errorf("%v: %d, want %d", r, got, want)
		}
	}
	for _, r := range []x86asm.Reg{x86asm.EDI, x86asm.X0, x86asm.RIP} {
		if got := dwarfRegister(r); got != -1 {
			t.Errorf("%v: %d, want -1", r, got)
		}
	}
}
