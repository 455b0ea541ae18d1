// SPDX-License-Identifier: Apache-2.0

package symbol

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// build compiles testdata/chain*.c and assembled.s and returns the program.
// The flags are split at spaces.
func build(t testing.TB, compiler, flags string) string {
	t.Helper()
	source, err := filepath.Abs("testdata")
	if err != nil {
		t.Fatal(err)
	}
	pkg := compiler
	if compiler == "clang" {
		pkg = "clang llvm" // llvm has the linker plugin for -flto
	}
	dir := t.TempDir()
	args := strings.Fields(flags)
	for _, file := range []string{"chain.c", "chain2.c", "assembled.s"} {
		args = append(args, filepath.Join(source, file))
	}
	run(t, dir, pkg, "", compiler, append(args, "-o", "prog")...)
	return filepath.Join(dir, "prog")
}

// mark returns the line of "@name" in a file of testdata.
func mark(t testing.TB, file, name string) int {
	t.Helper()
	source, err := os.ReadFile(filepath.Join("testdata", file))
	if err != nil {
		t.Fatal(err)
	}
	for i, line := range bytes.Split(source, []byte("\n")) {
		if bytes.HasSuffix(line, []byte("// @"+name)) {
			return i + 1
		}
	}
	t.Fatalf("no line of %s is marked @%s", file, name)
	return 0
}

// link is a frame that a test expects: a function whose marked line executes.
type link struct{ function, file, mark string }

// chains are known from the source, whatever the compiler.
var chains = [][]link{
	{
		{"level1", "chain.c", "level1"}, {"level2", "chain.c", "level2"}, {"level3", "chain.c", "level3"},
		{"level4", "chain.c", "level4"}, {"level5", "chain.c", "level5"}, {"levels", "chain.c", "levels"},
	},
	{{"sink", "chain2.c", "sink"}},
	{{"fatal", "chain2.c", "fatal"}},
	{{"never_returns", "chain.c", "never_returns"}},
	{{"split", "chain.c", "split"}},
	{{"constant", "chain.c", "constant"}},
	{{"main", "chain.c", "main"}},
}

// acrossFiles is inlined where the optimiser sees both files.
var acrossFiles = []link{
	{"across1", "chain.c", "across1"}, {"across2", "chain2.c", "across2"}, {"across3", "chain.c", "across3"},
	{"across4", "chain2.c", "across4"}, {"across5", "chain.c", "across5"}, {"across", "chain.c", "across"},
}

// hasChain fails unless some return address resolves to exactly this chain.
func hasChain(t testing.TB, m *Module, returns []uint64, chain []link) {
	t.Helper()
	for _, r := range returns {
		if isChain(t, m.Frames(r, true), chain) {
			return
		}
	}
	t.Errorf("no call resolves to %v", chain)
	for _, r := range returns {
		if frames := m.Frames(r, true); frames[len(frames)-1].Function == chain[len(chain)-1].function {
			t.Logf("%#x: %+v", r, frames)
		}
	}
}

func isChain(t testing.TB, frames []Frame, chain []link) bool {
	if len(frames) != len(chain) {
		return false
	}
	for i, f := range frames {
		owner := i == len(frames)-1
		source := SourceInline
		if owner {
			source = SourceDWARF
		}
		if f.Function != chain[i].function || filepath.Base(f.File) != chain[i].file ||
			f.Line != mark(t, chain[i].file, chain[i].mark) ||
			f.Inlined == owner || f.Source != source || (f.Symbol != "") != owner {
			return false
		}
	}
	return true
}
