// SPDX-License-Identifier: Apache-2.0

package names

import (
	"debug/elf"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"leakprof/profiler/bird/names/internal/hash"
	"leakprof/profiler/bird/structure"
	"leakprof/profiler/internal/fixture"
)

func TestMain(m *testing.M) { os.Exit(fixture.Run(m)) }

// fixtureLiterals are those that the fixture's bgp.c has.
var fixtureLiterals = literalTable{
	hash.Of("a literal of one file"):        "proto/bgp/bgp.c",
	hash.Of("another literal of that file"): "proto/bgp/bgp.c",
}

// buildFixture links allocators in BIRD's shape with sources in which functions
// have their file's name as a prefix.
func buildFixture(t testing.TB, generation int, compiler, flags string) string {
	t.Helper()
	for _, source := range []string{"testdata/bgp.c", "testdata/attrs.c", "testdata/bmp.c", "testdata/calls.c"} {
		path, err := filepath.Abs(source)
		if err != nil {
			t.Fatal(err)
		}
		flags += " " + path
	}
	main, err := filepath.Abs("../structure/testdata/main.c")
	if err != nil {
		t.Fatal(err)
	}
	return fixture.BuildAllocators(t, generation, compiler, flags, main)
}

func outline(t testing.TB, path string) *structure.Outline {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	o, err := structure.ReadOutline(f)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// functionNames reads the symbols of a file that has them, by address.
func functionNames(t testing.TB, path string) map[uint64]string {
	t.Helper()
	f, err := elf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	symbols, err := f.Symbols()
	if err != nil {
		t.Fatal(err)
	}
	names := make(map[uint64]string)
	for _, s := range symbols {
		if elf.ST_TYPE(s.Info) == elf.STT_FUNC {
			names[s.Value], _, _ = strings.Cut(s.Name, ".")
		}
	}
	return names
}

// TestFixture compares what is told of a stripped program with its symbols.
func TestFixture(t *testing.T) {
	prefixes := map[string]string{"proto/bgp/bgp.c": "bgp_", "proto/bgp/attrs.c": "attrs_", "proto/bmp/bmp.c": "bmp_"}
	hooks := []string{"bmp_init", "bmp_start", "bmp_shutdown", "bmp_reconfigure", "bmp_show_proto_info", "bmp_copy_config"}
	for _, c := range []struct {
		generation      int
		compiler, flags string
	}{
		{2, "gcc", "-O1"},
		{3, "gcc", "-O2 -fcf-protection -fno-toplevel-reorder"},
		{2, "gcc", "-O2 -no-pie -fno-pie"},
		{3, "clang", "-O2"},
		{3, "clang", "-O2 -fuse-ld=lld -Wl,--pack-dyn-relocs=relr"},
	} {
		t.Run(c.compiler+" "+c.flags, func(t *testing.T) {
			t.Parallel()
			path := buildFixture(t, c.generation, c.compiler, c.flags)
			truth := functionNames(t, path)
			o := outline(t, fixture.Strip(t, path))
			var protocols []string
			for _, p := range o.Protocols {
				protocols = append(protocols, p.Name)
			}
			if slices.Sort(protocols); !slices.Equal(protocols, []string{"BMP", "New"}) {
				t.Errorf("protocols are %q", protocols)
			}
			n := of(o, fixtureLiterals)
			if n.Mixed != "" {
				t.Fatalf("mixed: %s", n.Mixed)
			}
			files := make(map[string]string) // by function
			var named []string
			for _, f := range n.Functions {
				is := truth[f.Address]
				files[is] = f.File
				if f.Name != "" {
					named = append(named, f.Name)
					if f.Name != is || f.Source != ByTable {
						t.Errorf("%s is called %s, by %v", is, f.Name, f.Source)
					}
				}
				if !strings.HasPrefix(is, prefixes[f.File]) && is != "new_init" && is != "other_init" {
					t.Errorf("%s is said to be in %s, by %v", is, f.File, f.Source)
				}
			}
			slices.Sort(named)
			if want := slices.Sorted(slices.Values(hooks)); !slices.Equal(named, want) {
				t.Errorf("named are %q, want %q", named, want)
			}
			for is, want := range map[string]string{
				"bgp_told": "proto/bgp/bgp.c", "bgp_quiet": "proto/bgp/bgp.c", "bgp_told_again": "proto/bgp/bgp.c",
				"bgp_quiet_first": "", "bgp_quiet_last": "",
				"attrs_quiet": "proto/bgp/attrs.c",
				"bmp_first":   "proto/bmp/bmp.c", "bmp_quiet": "proto/bmp/bmp.c", "bmp_last": "proto/bmp/bmp.c",
				"note": "", "mb_alloc": "",
			} {
				if got := files[is]; got != want {
					t.Errorf("%s is in %q, want %q", is, got, want)
				}
			}
		})
	}
}

// TestLinkTimeOptimization: hooks are named, but of what has code of several
// files in it no file is told.
func TestLinkTimeOptimization(t *testing.T) {
	path := buildFixture(t, 3, "gcc", "-O2 -flto")
	truth := functionNames(t, path)
	n := of(outline(t, fixture.Strip(t, path)), fixtureLiterals)
	if n.Mixed == "" {
		t.Error("not seen to be mixed")
	}
	if len(n.Functions) != 6 {
		t.Errorf("%d functions told, want the 6 hooks", len(n.Functions))
	}
	for _, f := range n.Functions {
		if f.Name == "" || f.Name != truth[f.Address] {
			t.Errorf("%s is called %q in %q", truth[f.Address], f.Name, f.File)
		}
	}
}

// FuzzFind: whatever the file, there is an error or names within its code.
func FuzzFind(f *testing.F) {
	data, err := os.ReadFile(buildFixture(f, 3, "gcc", "-O2 -s"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add(data[:len(data)/2])
	f.Fuzz(func(t *testing.T, data []byte) {
		n, err := Find(strings.NewReader(string(data)))
		if err == nil && n == nil {
			t.Fatal("neither names nor an error")
		}
		if err != nil {
			return
		}
		for _, fn := range n.Functions {
			if fn.Name == "" && fn.File == "" || fn.Address+fn.Size < fn.Address {
				t.Fatalf("told of nothing: %+v", fn)
			}
		}
	})
}
