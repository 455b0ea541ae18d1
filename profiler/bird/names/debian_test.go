// SPDX-License-Identifier: Apache-2.0

package names

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// birdData is the BIRD of a root that scripts/bird-root makes.
func birdData(t testing.TB, root string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("../../../.bird", root, "usr/sbin/bird"))
	if err != nil {
		t.Fatalf("BIRD %s is missing: scripts/bird-root %s: %v", root, root, err)
	}
	return data
}

// TestDebianBIRDs: in Debian's stripped BIRDs most functions get their file, and
// the hooks of BMP and BGP their names.
func TestDebianBIRDs(t *testing.T) {
	for _, c := range []struct {
		root  string
		least int // percent of functions that get their file
	}{
		{"bird3-trixie", 75},
		{"bird3-sid", 75},
		{"bird2-sid", 65},
	} {
		t.Run(c.root, func(t *testing.T) {
			n, err := Find(bytes.NewReader(birdData(t, c.root)))
			if err != nil {
				t.Fatal(err)
			}
			if n.Mixed != "" {
				t.Errorf("mixed: %s", n.Mixed)
			}
			at := make(map[string]Function)
			files := make(map[string]int)
			for i, f := range n.Functions {
				if i > 0 && f.Address <= n.Functions[i-1].Address {
					t.Errorf("%#x does not follow %#x", f.Address, n.Functions[i-1].Address)
				}
				if f.File == "" {
					t.Errorf("%#x has no file", f.Address)
				}
				at[f.Name] = f
				files[f.File]++
			}
			if got := len(n.Functions) * 100 / n.Total; got < c.least {
				t.Errorf("%d of %d functions have a file, want %d %%", len(n.Functions), n.Total, c.least)
			}
			for _, name := range []string{"bmp_init", "bmp_start", "bmp_shutdown", "bgp_init", "bgp_start", "bgp_show_proto_info", "krt_init", "dev_init"} {
				if at[name].Address == 0 {
					t.Errorf("%s not found", name)
				}
			}
			for file, least := range map[string]int{"proto/bmp/bmp.c": 30, "proto/bgp/bgp.c": 60, "proto/bgp/attrs.c": 60, "nest/rt-table.c": 60} {
				if files[file] < least {
					t.Errorf("%d functions in %s, want %d", files[file], file, least)
				}
			}
		})
	}
}

// BenchmarkFind measures one search in a BIRD.
func BenchmarkFind(b *testing.B) {
	data := birdData(b, "bird3-trixie")
	for b.Loop() {
		if _, err := Find(bytes.NewReader(data)); err != nil {
			b.Fatal(err)
		}
	}
}
