// SPDX-License-Identifier: Apache-2.0

package inline

import (
	"debug/elf"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// functions are those of testdata/calls.h, by the id that they tell record.
var functions = map[uint64]string{1: "take", 2: "put", 3: "move", 4: "change", 5: "draw"}

var names = []string{"take", "put", "move", "change", "draw"}

var programs struct {
	sync.Mutex
	dir  string
	path map[string]string
}

func TestMain(m *testing.M) {
	code := m.Run()
	if programs.dir != "" {
		os.RemoveAll(programs.dir)
	}
	os.Exit(code)
}

// build compiles calls.c and other.c once for each set of flags, which are
// split at spaces, and returns the program's path.
func build(t testing.TB, compiler, flags string) string {
	t.Helper()
	return compile(t, compiler, flags, "calls.c", "other.c")
}

func compile(t testing.TB, compiler, flags string, sources ...string) string {
	t.Helper()
	programs.Lock()
	defer programs.Unlock()
	key := fmt.Sprint(compiler, flags, sources)
	if path, ok := programs.path[key]; ok {
		return path
	}
	if programs.dir == "" {
		var err error
		if programs.dir, err = os.MkdirTemp("", "leakprof-inline-"); err != nil {
			t.Fatal(err)
		}
		programs.path = make(map[string]string)
	}
	path := filepath.Join(programs.dir, fmt.Sprint(len(programs.path)))
	args := append([]string{"-Wall", "-Wextra", "-Werror", "-fno-optimize-sibling-calls", "-o", path}, strings.Fields(flags)...)
	args = append(args, sources...)
	cmd := exec.Command(compiler, args...)
	cmd.Dir = "testdata"
	if msg, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("run %s (apt-get install -y gcc clang llvm libc6-dev): %v\n%s", cmd, err, msg)
	}
	programs.path[key] = path
	return path
}

func open(t testing.TB, path string) *elf.File {
	t.Helper()
	f, err := elf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func find(t testing.TB, path string, names ...string) map[string][]Instance {
	t.Helper()
	found, err := Find(open(t, path), names...)
	if err != nil {
		t.Fatal(err)
	}
	return found
}
