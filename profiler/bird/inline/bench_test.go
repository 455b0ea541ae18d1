// SPDX-License-Identifier: Apache-2.0

package inline

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// BenchmarkFind reads a program with more inlined calls than the largest BIRD.
func BenchmarkFind(b *testing.B) {
	f := open(b, largeProgram(b))
	b.ReportAllocs()
	count := 0
	for b.Loop() {
		found, err := Find(f, "l0", "l3")
		if err != nil {
			b.Fatal(err)
		}
		count = len(found["l0"]) + len(found["l3"])
	}
	b.ReportMetric(float64(count), "instances")
	b.ReportMetric(float64(f.Section(".debug_info").Size)/1e6, "MB-info")
}

// largeProgram compiles functions that are inlined into each other 8 deep.
func largeProgram(b *testing.B) string {
	b.Helper()
	var source strings.Builder
	source.WriteString("#define IN static inline __attribute__((always_inline))\nvoid *malloc(unsigned long);\n")
	source.WriteString("void *volatile v;\nIN void l0(int n) { v = malloc(n); }\n")
	for i := 1; i < 8; i++ {
		fmt.Fprintf(&source, "IN void l%d(int n)\n{\n\tint m = n + %d, o = m * 3;\n\tif (v)\n\t\tl%d(m ^ o);\n}\n", i, i, i-1)
	}
	for i := range 450 {
		fmt.Fprintf(&source, "__attribute__((used)) void f%d(int n)\n{\n\tl7(n);\n\tl7(%d);\n}\n", i, i)
	}
	source.WriteString("int main(void) { f0(1); }\n")
	path := filepath.Join(b.TempDir(), "large.c")
	if err := os.WriteFile(path, []byte(source.String()), 0o644); err != nil {
		b.Fatal(err)
	}
	return compile(b, "gcc", "-g -O2 -fno-ipa-icf", path)
}
