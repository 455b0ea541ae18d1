// SPDX-License-Identifier: Apache-2.0

package symbol

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// largeProgram returns a program with about as many inlined calls (5,800) as a
// BIRD built with link-time optimisation, and the return addresses in it.
func largeProgram(b *testing.B) (data []byte, returns []uint64) {
	b.Helper()
	var source strings.Builder
	source.WriteString("#define IN static inline __attribute__((always_inline))\nvoid *malloc(unsigned long);\n")
	source.WriteString("void *volatile v;\nIN void l0(int n) { v = malloc(n); }\n")
	for i := 1; i < 7; i++ {
		fmt.Fprintf(&source, "IN void l%d(int n)\n{\n\tint m = n + %d;\n\tif (v)\n\t\tl%d(m);\n}\n", i, i, i-1)
	}
	for i := range 400 {
		fmt.Fprintf(&source, "__attribute__((used)) void f%d(int n)\n{\n\tl6(n);\n\tl6(%d);\n}\n", i, i)
	}
	source.WriteString("int main(void) { f0(1); }\n")
	dir := b.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "large.c"), []byte(source.String()), 0o644); err != nil {
		b.Fatal(err)
	}
	run(b, dir, "gcc", "", "gcc", "-g", "-gdwarf-5", "-O2", "-flto", "large.c", "-o", "large")
	path := filepath.Join(dir, "large")
	data, err := os.ReadFile(path)
	if err != nil {
		b.Fatal(err)
	}
	_, returns = instructions(b, path)
	return data, returns
}

func openBytes(b *testing.B, data []byte) *Module {
	m, err := Open(bytes.NewReader(data), "large")
	if err != nil {
		b.Fatal(err)
	}
	return m
}

func BenchmarkOpen(b *testing.B) {
	data, _ := largeProgram(b)
	for b.Loop() {
		openBytes(b, data)
	}
}

// BenchmarkOpenAndResolve includes reading all units and resolving every call.
func BenchmarkOpenAndResolve(b *testing.B) {
	data, returns := largeProgram(b)
	var m *Module
	for b.Loop() {
		m = openBytes(b, data)
		for _, r := range returns {
			m.Frames(r, true)
		}
	}
	inlined := 0
	for _, u := range m.dwarf.units {
		for _, s := range u.scopes {
			if s.parent >= 0 {
				inlined++
			}
		}
	}
	b.ReportMetric(float64(len(returns)), "calls")
	b.ReportMetric(float64(inlined), "inlined")
}

func BenchmarkFramesCached(b *testing.B) {
	data, returns := largeProgram(b)
	m := openBytes(b, data)
	for _, r := range returns {
		m.Frames(r, true)
	}
	i := 0
	for b.Loop() {
		m.Frames(returns[i%len(returns)], true)
		i++
	}
}

func BenchmarkFramesUncached(b *testing.B) {
	data, returns := largeProgram(b)
	m := openBytes(b, data)
	m.Frames(returns[0], true)
	i := 0
	for b.Loop() {
		m.resolve(lookup{returns[i%len(returns)], true})
		i++
	}
}
