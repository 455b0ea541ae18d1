// SPDX-License-Identifier: Apache-2.0

package unwind

import (
	"os"
	"path/filepath"
	"testing"
)

// TestBIRD compares Debian's BIRDs, and the C libraries that they run with,
// which are newer than the machine's own.
func TestBIRD(t *testing.T) {
	for _, root := range []string{"bird3-trixie", "bird2-sid", "bird3-sid"} {
		for _, file := range []string{"usr/sbin/bird", "usr/lib/x86_64-linux-gnu/libc.so.6", "usr/lib64/ld-linux-x86-64.so.2"} {
			t.Run(root+"/"+filepath.Base(file), func(t *testing.T) {
				t.Parallel()
				path := filepath.Join("../../.bird", root, file)
				if _, err := os.Stat(path); err != nil {
					t.Fatalf("%v: run scripts/bird-root %s", err, root)
				}
				compareWithReadelf(t, path)
			})
		}
	}
}
