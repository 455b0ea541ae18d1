// SPDX-License-Identifier: Apache-2.0

package structure

import (
	"debug/elf"
	"errors"
	"os"
	"strings"
	"testing"
)

func freePagesOf(path string) (*FreePages, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return FindFreePages(file)
}

// checkFreePages compares what is found in a stripped fixture with the symbols.
// Where functions were inlined, the lists may be missed.
func checkFreePages(t *testing.T, generation int, v variant, path, stripped string) {
	t.Helper()
	got, err := freePagesOf(stripped)
	if errors.Is(err, ErrNoFreePages) && !v.whole {
		t.Log(err)
		return
	}
	if err != nil {
		t.Error(err)
		return
	}
	at := variables(t, path)
	want := FreePages{
		Generation: generation, Global: at["global_free_pages"],
		Stack: at["page_stack"], Cork: at["page_stack_blocked"], Index: at["empty_pages"],
		LocalStack: int64(at["local_page_stack"]), LocalCount: int64(at["pages_kept_here"]),
		Kept: at["pages_kept"], KeptLocally: at["pages_kept_locally"],
		Cold: at["pages_kept_cold"], Indexes: at["pages_kept_cold_index"], Total: at["pages_total"],
	}
	if *got != want {
		t.Errorf("lists of free pages: got  %x\nwant %x", *got, want)
	}
}

// variables returns the addresses of a program's variables by name, those of
// thread-local ones as offsets from the thread pointer.
func variables(t *testing.T, path string) map[string]uint64 {
	t.Helper()
	file, err := elf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	symbols, err := file.Symbols()
	if err != nil {
		t.Fatal(err)
	}
	block := uint64(0)
	for _, s := range file.Progs {
		if s.Type == elf.PT_TLS {
			block = (s.Memsz + s.Align - 1) &^ (s.Align - 1)
		}
	}
	all := make(map[string]uint64)
	for _, s := range symbols {
		name, _, _ := strings.Cut(s.Name, ".")
		switch elf.ST_TYPE(s.Info) {
		case elf.STT_OBJECT:
			all[name] = s.Value
		case elf.STT_TLS:
			all[name] = s.Value - block
		}
	}
	return all
}

// TestFreePagesOfBIRD: of Debian's BIRDs, all is found.
func TestFreePagesOfBIRD(t *testing.T) {
	for _, name := range []string{"bird3-trixie", "bird2-sid", "bird3-sid"} {
		got, err := freePagesOf(birdPath(t, name))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		ok := got.Cold != 0 && got.Indexes != 0 && got.Total != 0
		if got.Generation == 2 {
			ok = ok && got.Global != 0
		} else {
			ok = ok && got.Stack != 0 && got.Cork != 0 && got.Index != 0 && got.LocalStack < 0 && got.LocalCount < 0 && got.Kept != 0 && got.KeptLocally != 0
		}
		if !ok {
			t.Errorf("%s: found only %+v", name, *got)
		}
	}
}

func TestFreePagesOfOthers(t *testing.T) {
	if _, err := freePagesOf("/bin/sh"); !errors.Is(err, ErrNotBIRD) {
		t.Errorf("/bin/sh: %v, want ErrNotBIRD", err)
	}
}
