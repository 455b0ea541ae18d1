// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"crypto/sha256"
	"os"
	"path/filepath"
	"testing"
)

// TestObjects: each object file of the directory is named, with its digest.
func TestObjects(t *testing.T) {
	files, err := filepath.Glob("*.o")
	if err != nil {
		t.Fatal(err)
	}
	digests := make(map[string][sha256.Size]byte)
	for _, o := range Objects() {
		digests[o.Name] = o.SHA256
	}
	if len(files) == 0 || len(digests) != len(files) {
		t.Errorf("%d objects, %d files", len(digests), len(files))
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if digests[file] != sha256.Sum256(data) {
			t.Errorf("%s: digest %x", file, digests[file])
		}
	}
}
