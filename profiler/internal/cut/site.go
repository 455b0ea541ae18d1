// SPDX-License-Identifier: Apache-2.0

package cut

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"

	"golang.org/x/arch/x86/x86asm"

	"leakprof/profiler/bird/structure"
	"leakprof/profiler/target"
)

// Releases are BIRD's functions that release what their first argument points
// to (lib/resource.c, lib/slab.c, lib/mempool.c, sysdep/unix/alloc.c).
var Releases = []string{"mb_free", "rfree", "sl_free", "lp_flush", "free_page"}

// Site is where memory is released: a call of a function that does it, or the
// function's entry, which stands for all calls.
type Site struct {
	Release string // BIRD's name of the function
	Address uint64 // ELF virtual address of the call or entry
	Tail    bool   // a jump: the caller's last deed
	Entry   bool

	code [callLength]byte // what is there
}

// Of call and jmp with a 32-bit displacement (Intel SDM vol. 2, CALL, JMP).
const (
	opcodeCall, opcodeJump = 0xe8, 0xe9
	callLength             = 5
)

// leadingTo is the instruction that calls or jumps to target instead.
func (s Site) leadingTo(target uint64) []byte {
	opcode := byte(opcodeCall)
	if s.Tail || s.Entry {
		opcode = opcodeJump
	}
	return binary.LittleEndian.AppendUint32([]byte{opcode}, uint32(target-(s.Address+callLength)))
}

// String names a site.
func (s Site) String() string {
	if s.Entry {
		return fmt.Sprintf("%s, all of it, at bird+%#x", s.Release, s.Address)
	}
	return fmt.Sprintf("%s at bird+%#x", s.Release, s.Address)
}

// Find lists the calls of Releases in a BIRD, which need not have symbols, and
// their entries, by address.
func Find(m *target.Module) ([]Site, error) {
	found, err := structure.Find(m.Reader)
	if err != nil {
		return nil, err
	}
	release := make(map[uint64]string)
	for _, f := range found.Functions {
		// Whether a wrapper is cut or its part makes no difference: the part is
		// called by the wrapper alone, or in its stead.
		if slices.Contains(Releases, f.Name) && f.Confidence != structure.Low {
			release[f.Address] = f.Name
		}
	}
	text := m.ELF.Section(".text")
	if text == nil {
		return nil, fmt.Errorf("find calls in %s: no section .text", m.Name)
	}
	code, err := text.Data()
	if err != nil {
		return nil, fmt.Errorf("find calls in %s: %w", m.Name, err)
	}
	sites := append(calls(code, text.Addr, release), entries(code, text.Addr, release)...)
	slices.SortFunc(sites, func(a, b Site) int { return cmp.Compare(a.Address, b.Address) })
	return sites, nil
}

// endbr64 begins functions built with -fcf-protection; x86asm does not know it.
var endbr64 = []byte{0xf3, 0x0f, 0x1e, 0xfa}

// calls lists the calls of functions, given by address, in code that is at
// start.
func calls(code []byte, start uint64, release map[uint64]string) (sites []Site) {
	for at := 0; at < len(code); {
		if bytes.HasPrefix(code[at:], endbr64) {
			at += len(endbr64)
			continue
		}
		inst, err := x86asm.Decode(code[at:], 64)
		if err != nil || inst.Op == 0 {
			at++ // data, or what the decoder does not know
			continue
		}
		if b := code[at]; inst.Len == callLength && (b == opcodeCall || b == opcodeJump) {
			address := start + uint64(at)
			to := address + callLength + uint64(int64(int32(binary.LittleEndian.Uint32(code[at+1:]))))
			if name, ok := release[to]; ok {
				sites = append(sites, Site{Release: name, Address: address, Tail: b == opcodeJump, code: [callLength]byte(code[at:])})
			}
		}
		at += inst.Len
	}
	return sites
}

// entries lists the entries of functions, given by address, in code that is at
// start.
func entries(code []byte, start uint64, release map[uint64]string) (sites []Site) {
	for address, name := range release {
		if at := address - start; at < uint64(len(code)) && uint64(len(code))-at >= callLength {
			sites = append(sites, Site{Release: name, Address: address, Entry: true, code: [callLength]byte(code[at:])})
		}
	}
	return sites
}
