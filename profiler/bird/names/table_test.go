// SPDX-License-Identifier: Apache-2.0

package names

import (
	"testing"

	"leakprof/profiler/bird/names/internal/hash"
)

// TestLiterals: the table has both generations of BIRD, and files as BIRD calls
// them.
func TestLiterals(t *testing.T) {
	tables, err := literalTables()
	if err != nil {
		t.Fatal(err)
	}
	for _, major := range []int{2, 3} {
		if n := len(tables[major]); n < 2000 {
			t.Errorf("%d literals of BIRD %d, want 2000", n, major)
		}
		for _, file := range tables[major] {
			if !sourceFile.MatchString(file) {
				t.Errorf("BIRD %d has no source file %s", major, file)
			}
		}
	}
	// Both are in the same file in all releases, one with a macro before it.
	for text, want := range map[string]string{"<line overflow>": "nest/cli.c", "\002CLI: %s": "nest/cli.c", "no such text in BIRD": ""} {
		for _, major := range []int{2, 3} {
			if got := tables[major].file(text); got != want {
				t.Errorf("%q is from %q in BIRD %d, want %q", text, got, major, want)
			}
		}
	}
}

func TestReadTables(t *testing.T) {
	tables, err := readTables("# made by\n2 lib/a.c 00000000000000ff 1\n3 lib/b.c ff\n")
	if err != nil {
		t.Fatal(err)
	}
	if tables[2][255] != "lib/a.c" || tables[2][1] != "lib/a.c" || tables[3][255] != "lib/b.c" {
		t.Errorf("got %v", tables)
	}
	for _, bad := range []string{"lib/a.c ff", "2 lib/a.c", "2 lib/a.c xyz", "2 lib/a.c 10000000000000000"} {
		if _, err := readTables(bad); err == nil {
			t.Errorf("%q is read without an error", bad)
		}
	}
	if hash.Telling("short") || !hash.Telling("longer") {
		t.Error("strings of 6 bytes and more tell")
	}
}
