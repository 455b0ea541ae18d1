// SPDX-License-Identifier: Apache-2.0

package bird

import (
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"

	"leakprof/profiler/target"
)

// PoolClass is the name of a pool's class.
const PoolClass = "Pool"

// ErrNoRoot says that BIRD has not set up its resources yet, as when it stands
// at its entry point.
var ErrNoRoot = errors.New("no root pool is set up")

// span is a range of addresses, end exclusive.
type span struct{ start, end uint64 }

// writable returns where the program's variables lie. The tail of .bss is
// anonymous memory, so that the mappings of the file do not show all of it.
func writable(exe *target.Module) []span {
	var all []span
	for _, s := range exe.ELF.Progs {
		if s.Type == elf.PT_LOAD && s.Flags&elf.PF_W != 0 {
			start := exe.Bias + s.Vaddr
			all = append(all, span{start &^ 7, start + s.Memsz})
		}
	}
	return all
}

// Variable says whether the address is one of the program's own variables.
func (b *Bird) Variable(addr uint64) bool {
	for _, s := range b.data {
		if addr >= s.start && addr < s.end {
			return true
		}
	}
	return false
}

// poolLayout says where struct pool (lib/resource.c, lib/resource.h) has its
// name, and how long it is, in bytes.
func (g Generation) poolLayout() (name, size uint64) {
	if g == BIRD3 {
		return 56, 64
	}
	return 48, 56
}

// Root finds root_pool: a variable of the program whose class is "Pool", whose
// name is "Root", and which is in no list. It is there once BIRD has begun to
// run (ErrNoRoot before), and then never moves.
func (b *Bird) Root(p *target.Process) (uint64, error) {
	var pool uint64
	for _, c := range b.Classes {
		if c.Name == PoolClass {
			pool = c.Address
		}
	}
	layout := b.Generation.Layout()
	nameAt, size := b.Generation.poolLayout()
	var found []uint64
	for _, s := range b.data {
		data, err := readArea(p, target.Mapping{Start: s.start, End: s.end})
		if err != nil {
			return 0, fmt.Errorf("find root pool: %w", err)
		}
		word := func(off uint64) uint64 { return binary.LittleEndian.Uint64(data[off:]) }
		for off := uint64(0); off+size <= uint64(len(data)); off += 8 {
			if word(off+layout.Class) != pool || word(off) != 0 || word(off+8) != 0 {
				continue
			}
			if name, ok := p.String(word(off+nameAt), 8); ok && name == "Root" {
				found = append(found, s.start+off)
			}
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return 0, fmt.Errorf("find root pool: %w", ErrNoRoot)
	}
	return 0, fmt.Errorf("find root pool: %d pools are named Root", len(found))
}
