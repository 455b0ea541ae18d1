// SPDX-License-Identifier: Apache-2.0

package pagecache

import (
	"debug/elf"
	"errors"
	"fmt"
	"strings"

	"leakprof/profiler/bird/structure"
)

// compareSymbols checks what the code says against the program's symbols, where
// it has them.
func compareSymbols(file *elf.File, at *structure.FreePages) error {
	symbols, err := file.Symbols()
	if errors.Is(err, elf.ErrNoSymbols) {
		return nil
	} else if err != nil {
		return fmt.Errorf("read symbols: %w", err)
	}
	want := map[string]uint64{
		"page_stack": at.Stack, "page_stack_blocked": at.Cork, "empty_pages": at.Index,
		"local_page_stack": uint64(at.LocalStack), "pages_kept_here": uint64(at.LocalCount),
		"pages_kept": at.Kept, "pages_kept_locally": at.KeptLocally,
		"pages_kept_cold": at.Cold, "pages_kept_cold_index": at.Indexes, "pages_total": at.Total,
	}
	if at.Generation == 2 { // there, pages_kept is a pointer
		want = map[string]uint64{
			"global_free_pages": at.Global,
			"pages_kept_cold":   at.Cold, "pages_kept_cold_index": at.Indexes, "pages_total": at.Total,
		}
	}
	for _, s := range symbols {
		name, _, _ := strings.Cut(s.Name, ".") // of .lto_priv.0
		address := s.Value
		switch elf.ST_TYPE(s.Info) {
		case elf.STT_OBJECT:
		case elf.STT_TLS:
			address -= threadBlock(file)
		default:
			continue
		}
		if w := want[name]; w != 0 && w != address {
			return fmt.Errorf("symbol %s is 0x%x, by the code it is 0x%x", s.Name, address, w)
		}
	}
	return nil
}

// threadBlock returns how far below the thread pointer the program's thread-local
// variables begin, bytes (ELF Handling For Thread-Local Storage, variant II).
func threadBlock(file *elf.File) uint64 {
	for _, s := range file.Progs {
		if s.Type == elf.PT_TLS {
			align := max(s.Align, 1)
			return (s.Memsz + align - 1) &^ (align - 1)
		}
	}
	return 0
}
