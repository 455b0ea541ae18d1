// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"leakprof/profiler/target"
)

// ErrForeignAllocator says that the process does not use its C library's
// malloc, so that probes there would see nothing.
var ErrForeignAllocator = errors.New("not the C library's malloc")

// allocatorModule returns the C library, after making sure that the process
// really calls its malloc: the dynamic linker takes the first definition in
// the order of its link map, and a preloaded allocator comes before libc.
func allocatorModule(p *target.Process, modules []*target.Module) (*target.Module, error) {
	exe := modules[0]
	if !allocates(exe.ELF) {
		// In .symtab too, where a static allocator is not exported.
		if _, ok := findSymbol(exe, "malloc"); ok {
			return nil, fmt.Errorf("plan probes: %s brings a malloc of its own: %w; run a build that is linked to libc dynamically", exe.Name, ErrForeignAllocator)
		}
		if !slices.ContainsFunc(modules, func(m *target.Module) bool { return allocates(m.ELF) }) {
			return nil, fmt.Errorf("plan probes: %s does not call libc's malloc (is it linked statically?): %w", exe.Name, ErrForeignAllocator)
		}
	}
	var libc *target.Module
	for _, m := range modules {
		if isLibc(m) && defines(m, "malloc") {
			libc = m
			break
		}
	}
	for _, m := range linkOrder(p, modules) {
		if m == libc || isLoader(m) || !defines(m, "malloc") {
			if m == libc && libc != nil {
				return libc, nil
			}
			continue
		}
		return nil, fmt.Errorf("plan probes: malloc comes from %s: %w; start the process without it (LD_PRELOAD?)", m.Path, ErrForeignAllocator)
	}
	if libc == nil {
		return nil, fmt.Errorf("plan probes: no C library with a malloc is mapped: %w", ErrForeignAllocator)
	}
	return libc, nil
}

// isLibc knows glibc (libc.so.6, before 2.34 also libc-2.31.so) and musl
// (ld-musl-x86_64.so.1, which is the loader too).
func isLibc(m *target.Module) bool {
	return strings.HasPrefix(m.Name, "libc.so") || strings.HasPrefix(m.Name, "libc-2.") || strings.HasPrefix(m.Name, "ld-musl-")
}

// isLoader: glibc's ld.so exported a malloc of its own up to 2.30, for itself
// alone until libc is there.
func isLoader(m *target.Module) bool {
	return strings.HasPrefix(m.Name, "ld-linux") || strings.HasPrefix(m.Name, "ld-2.")
}

func dynamicSymbols(f *elf.File) []elf.Symbol {
	syms, err := f.DynamicSymbols()
	if err != nil {
		return nil
	}
	return syms
}

// allocates says whether the file imports any function that allocates.
func allocates(f *elf.File) bool {
	for _, s := range dynamicSymbols(f) {
		if s.Section != elf.SHN_UNDEF {
			continue
		}
		for _, l := range libcFunctions {
			if s.Name == l.name && l.event != BlockFreed {
				return true
			}
		}
	}
	return false
}

func defines(m *target.Module, name string) bool {
	for _, s := range dynamicSymbols(m.ELF) {
		if s.Name == name && s.Section != elf.SHN_UNDEF && elf.ST_TYPE(s.Info) == elf.STT_FUNC {
			return true
		}
	}
	return false
}

// linkOrder sorts the modules as the dynamic linker searches them: by its
// link map, which it publishes for debuggers through DT_DEBUG of the
// executable (struct r_debug and link_map of <link.h>). Where it cannot be
// read, as before the loader has run, the order of the addresses stands,
// and any foreign malloc is refused whichever comes first.
func linkOrder(p *target.Process, modules []*target.Module) []*target.Module {
	const dtDebug, dtNull, limit = 21, 0, 1024
	var debug uint64
	for _, s := range modules[0].ELF.Progs {
		if s.Type != elf.PT_DYNAMIC {
			continue
		}
		for off := uint64(0); off+16 <= s.Memsz && off < 64*1024; off += 16 {
			var entry [16]byte
			if _, err := p.ReadAt(entry[:], int64(modules[0].Bias+s.Vaddr+off)); err != nil {
				break
			}
			switch binary.LittleEndian.Uint64(entry[:]) {
			case dtDebug:
				debug = binary.LittleEndian.Uint64(entry[8:])
			case dtNull:
				off = s.Memsz
			}
		}
	}
	word := func(addr uint64) uint64 {
		var b [8]byte
		if addr == 0 {
			return 0
		}
		if _, err := p.ReadAt(b[:], int64(addr)); err != nil {
			return 0
		}
		return binary.LittleEndian.Uint64(b[:])
	}
	byBias := make(map[uint64]*target.Module)
	for _, m := range modules {
		byBias[m.Bias] = m
	}
	var order []*target.Module
	libc := false
	// r_debug: version, then r_map; link_map: l_addr, l_name, l_ld, l_next.
	for l, n := word(debug+8), 0; debug != 0 && l != 0 && n < limit; l, n = word(l+24), n+1 {
		if m := byBias[word(l)]; m != nil {
			order = append(order, m)
			libc = libc || isLibc(m)
		}
	}
	if !libc {
		var foreign, rest []*target.Module
		for _, m := range modules {
			if isLibc(m) {
				rest = append(rest, m)
			} else {
				foreign = append(foreign, m)
			}
		}
		return append(foreign, rest...)
	}
	return order
}
