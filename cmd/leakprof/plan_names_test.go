// SPDX-License-Identifier: Apache-2.0

package main

import (
	"debug/elf"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

// TestPlanDebugFile: what is found in a stripped BIRD is held beside the symbols
// of its debug file. Debian's is not at hand: the test makes one that has
// symbols for some of the functions, one of them another.
func TestPlanDebugFile(t *testing.T) {
	exe := birdPath(t, "bird3-trixie")
	planOf := func(args ...string) (p planJSON) {
		t.Helper()
		got := start(t, append([]string{"plan", "--json", "--exe", exe}, args...)...).wait()
		if err := json.Unmarshal([]byte(got.stdout), &p); err != nil || got.status != exitDone {
			t.Fatalf("exit status %d: %v\n%s", got.status, err, got.stderr)
		}
		return p
	}
	symbols := map[string]string{"mb_alloc": "mb_alloc.lto_priv.0", "sl_alloc": "sl_alloc", "rfree": "mb_free"}
	f, err := elf.Open(exe)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	text := f.Section(".text").Addr
	debug := filepath.Join(t.TempDir(), "bird.debug")
	var args []string
	bare := planOf()
	for _, fn := range bare.Functions {
		if fn.Symbol != "" {
			t.Errorf("%s has symbol %s without a debug file", fn.Function, fn.Symbol)
		}
		if name, ok := symbols[fn.Function]; ok {
			var address uint64
			if _, err := fmt.Sscanf(fn.Address, "0x%x", &address); err != nil {
				t.Fatal(err)
			}
			args = append(args, "--add-symbol", fmt.Sprintf("%s=.text:0x%x,function,global", name, address-text))
		}
	}
	command(t, "binutils", "objcopy", append(args, exe, debug)...)
	named := planOf("--debug-file", debug)
	for _, fn := range named.Functions {
		if fn.Symbol != symbols[fn.Function] {
			t.Errorf("%s has symbol %q, want %q", fn.Function, fn.Symbol, symbols[fn.Function])
		}
	}
	if len(named.Sites) == 0 || fmt.Sprint(named.Sites) != fmt.Sprint(bare.Sites) {
		t.Errorf("with a debug file probes are at %v, without at %v", named.Sites, bare.Sites)
	}
	want := fmt.Sprintf("symbols are of the debug file %s; it says otherwise of 1 of 3 functions found by structure: rfree is mb_free", debug)
	if notes := strings.Join(named.Notes, "\n"); !strings.Contains(notes, want) {
		t.Errorf("the notes are %q, want %q", notes, want)
	}
}
