// SPDX-License-Identifier: Apache-2.0

package structure

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"leakprof/profiler/internal/fixture"
)

// variant is one way to build the fixture.
type variant struct {
	compiler, flags string
	// whole: no function has been inlined away or changed, so that all that
	// have a symbol must be found.
	whole bool
}

var variants = []variant{
	{"gcc", "-O1", true},
	{"gcc", "-O2", true},
	{"gcc", "-O2 -fcf-protection -fstack-protector-strong -D_FORTIFY_SOURCE=2 -fno-plt", true},
	{"gcc", "-O2 -no-pie -fno-pie", true},
	{"gcc", "-O2 -fno-omit-frame-pointer -flto", false},
	{"gcc", "-O3", false},
	{"gcc", "-O3 -flto -no-pie -fno-pie", false},
	{"gcc", "-Os", true},
	{"clang", "-O1", true},
	{"clang", "-O2", true},
	{"clang", "-O2 -no-pie -fno-pie", true},
	{"clang", "-O2 -flto", false},
	{"clang", "-O3", false},
	{"clang", "-O2 -fuse-ld=lld -Wl,--pack-dyn-relocs=relr", true},
	{"clang", "-Os", true},
}

// TestFixture builds allocators in BIRD's shape in many ways and compares what
// is found in the stripped file with the symbols. Nothing may be found wrong.
func TestFixture(t *testing.T) {
	for _, generation := range []int{2, 3} {
		for i, v := range variants {
			if testing.Short() && i%3 != 1 {
				continue
			}
			t.Run(fmt.Sprintf("%d %s %s", generation, v.compiler, v.flags), func(t *testing.T) {
				t.Parallel()
				testVariant(t, generation, v)
			})
		}
	}
}

func testVariant(t *testing.T, generation int, v variant) {
	path := buildFixture(t, generation, v)
	stripped := strip(t, path)
	found, _, err := findFile(stripped)
	if err != nil {
		t.Fatal(err)
	}
	checkFreePages(t, generation, v, path, stripped)
	if same, _, err := findFile(path); err != nil || !reflect.DeepEqual(found, same) {
		t.Errorf("symbols change what is found: %v", err)
	}
	want := Findings{ClassOffset: 16, MblockHeader: 32}
	if generation == 3 {
		want = Findings{ClassOffset: 24, MblockHeader: 48}
	}
	if found.ClassOffset != want.ClassOffset || found.MblockHeader != want.MblockHeader {
		t.Errorf("class at %d, header of %d bytes; want %d, %d", found.ClassOffset, found.MblockHeader, want.ClassOffset, want.MblockHeader)
	}
	checkConsistent(t, found)
	tr, err := readTruth(path)
	if err != nil {
		t.Fatal(err)
	}
	s := compare(found, tr)
	for _, w := range s.wrong {
		t.Errorf("wrong: %s", w)
	}
	if v.whole && len(s.missed) > 0 {
		t.Errorf("missed: %s\n%s", strings.Join(s.missed, " "), strings.Join(found.NotFound, "\n"))
	}
	t.Logf("right %d, inlined %d, missed %d: %s", s.right, s.inlined, len(s.missed), strings.Join(s.notes, "; "))
}

func TestMain(m *testing.M) { os.Exit(fixture.Run(m)) }

func buildFixture(t testing.TB, generation int, v variant) string {
	t.Helper()
	source, err := filepath.Abs("testdata/main.c")
	if err != nil {
		t.Fatal(err)
	}
	return fixture.BuildAllocators(t, generation, v.compiler, v.flags, source)
}

// TestNoSectionHeaders: a file whose section headers were removed has the same
// in it.
func TestNoSectionHeaders(t *testing.T) {
	data := fixtureBytes(t)
	want, err := Find(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	bare := bytes.Clone(data)
	clear(bare[0x28:0x30]) // e_shoff
	clear(bare[0x3c:0x40]) // e_shnum, e_shstrndx
	got, err := Find(bytes.NewReader(bare))
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %d functions, %d with section headers", len(got.Functions), len(want.Functions))
	}
}

// TestNotBIRD: other programs give an error that says so.
func TestNotBIRD(t *testing.T) {
	for _, path := range []string{"/bin/sh", "/proc/self/exe"} {
		if _, _, err := findFile(path); err == nil {
			t.Errorf("%s is taken for a BIRD", path)
		}
	}
	if _, _, err := findFile("/bin/sh"); !errors.Is(err, ErrNotBIRD) {
		t.Errorf("/bin/sh: %v, want ErrNotBIRD", err)
	}
}
