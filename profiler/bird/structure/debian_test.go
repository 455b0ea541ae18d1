// SPDX-License-Identifier: Apache-2.0

package structure

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// birdPath is the BIRD of a root that scripts/bird-root makes.
func birdPath(t testing.TB, name string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("../../../.bird", name, "usr/sbin/bird"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("BIRD %s is missing: scripts/bird-root %s", name, name)
	}
	return path
}

// TestDebianBIRDs searches Debian's stripped BIRDs, of which nothing is known
// but that they are not built with link time optimization. Whatever version
// they have, everything is found, and agrees with itself.
func TestDebianBIRDs(t *testing.T) {
	core := []string{
		"mb_alloc", "mb_allocz", "mb_realloc", "mb_free", "ralloc", "rfree", "pool_free", "mbl_free", "rp_new",
		"lp_new", "lp_alloc", "lp_allocu", "lp_allocz", "lp_flush", "lp_restore", "lp_free",
		"sl_new", "sl_alloc", "sl_allocz", "sl_free", "slab_free", "alloc_page", "free_page", "bird_xmalloc",
	}
	for _, name := range []string{"bird3-trixie", "bird2-sid", "bird3-sid"} {
		t.Run(name, func(t *testing.T) {
			before := cpuTime(t)
			found, _, err := findFile(birdPath(t, name))
			if err != nil {
				t.Fatal(err)
			}
			// Of processor time, because the machine may be busy otherwise.
			if used := cpuTime(t) - before; used > 2e9 {
				t.Errorf("used %d ms of processor time, want less than 1 s; 2 s are an error", used/1e6)
			}
			for _, fn := range core {
				if !slices.ContainsFunc(found.Functions, func(f Function) bool { return f.Name == fn }) {
					t.Errorf("%s not found: %v", fn, found.NotFound)
				}
			}
			if found.RootPool == 0 {
				t.Error("root_pool not found")
			}
			checkConsistent(t, found)
		})
	}
}

func cpuTime(t *testing.T) int64 {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return u.Utime.Nano() + u.Stime.Nano()
}

// checkConsistent checks what must hold of any findings.
func checkConsistent(t *testing.T, found *Findings) {
	t.Helper()
	third := found.ClassOffset == 24
	if !third && found.ClassOffset != 16 {
		t.Errorf("class offset %d", found.ClassOffset)
	}
	if h := found.MblockHeader; h != 32 && !(third && (h == 40 || h == 48)) {
		t.Errorf("header of a block has %d bytes", h)
	}
	hooks := map[string]string{"Pool": "pool_free", "Memory": "mbl_free", "LinPool": "lp_free", "Slab": "slab_free"}
	for _, c := range found.Classes {
		want, ok := hooks[c.Name]
		if !ok {
			continue
		}
		if !slices.ContainsFunc(found.Functions, func(f Function) bool {
			return f.Name == want && f.Address == c.Free && f.Confidence == Certain
		}) {
			t.Errorf("class %s frees with %#x, which is not %s", c.Name, c.Free, want)
		}
	}
	at := make(map[uint64]string)
	type key struct {
		name string
		part bool
	}
	seen := make(map[key]bool)
	for _, f := range found.Functions {
		if len(f.Signals) < 2 {
			t.Errorf("%s has %d signals, want at least 2", f.Name, len(f.Signals))
		}
		if other := at[f.Address]; other != "" {
			t.Errorf("%#x is %s and %s", f.Address, f.Name, other)
		}
		at[f.Address] = f.Name
		if seen[key{f.Name, f.Part}] {
			t.Errorf("%s (part: %v) twice", f.Name, f.Part)
		}
		seen[key{f.Name, f.Part}] = true
	}
	for _, s := range found.Inlined {
		if s.WithinName == s.Function {
			t.Errorf("%s has a copy of itself at %#x", s.Function, s.Address)
		}
	}
}
