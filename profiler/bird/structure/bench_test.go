// SPDX-License-Identifier: Apache-2.0

package structure

import (
	"bytes"
	"os"
	"testing"
)

// BenchmarkFind measures one search in a BIRD.
func BenchmarkFind(b *testing.B) {
	path := birdPath(b, "bird3-trixie")
	data, err := os.ReadFile(path)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := Find(bytes.NewReader(data)); err != nil {
			b.Fatal(err)
		}
	}
}
