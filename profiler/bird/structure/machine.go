// SPDX-License-Identifier: Apache-2.0

package structure

import "golang.org/x/arch/x86/x86asm"

// The general registers' numbers in instructions.
const (
	regAX = iota
	regCX
	regDX
	regBX
	regSP
	regBP
	regSI
	regDI
)

// arguments are the registers of the first six arguments (System V ABI, AMD64
// supplement, 3.2.3).
var arguments = [6]int{regDI, regSI, regDX, regCX, 8, 9}

// flags is what the last instruction that set the flags compared.
type flags struct {
	known bool
	x, y  value // x against y, as cmp does
	// difference says that x - y is used further, as sub does.
	difference bool
}

// machine is the state of the processor in terms of the function's entry.
type machine struct {
	regs  [16]value
	xmm   [16][2]value // low and high 8 bytes
	flags flags
}

func entryMachine(ts *terms) machine {
	var m machine
	for r := range m.regs {
		m.regs[r] = ts.intern(opEntry, int64(r), value{}, value{})
	}
	for n, r := range arguments {
		m.regs[r] = ts.argument(int64(n))
	}
	m.regs[regSP] = ts.intern(opFrame, 0, value{}, value{})
	vector := ts.intern(opEntry, 16, value{}, value{})
	for i := range m.xmm {
		m.xmm[i] = [2]value{vector, vector}
	}
	return m
}

// environment is where instructions read, write and call: a path or a flow.
type environment interface {
	// load returns what is at address. The value is a known one only if it
	// was stored with the same size.
	load(address value, size int) (value, bool)
	store(pc uint64, address value, size int, v value)
	call(pc uint64, c call) (result value)
	// fresh returns a value that nothing is known of.
	fresh(pc uint64) value
	// divide and atomic tell of a division by v and of a locked access.
	divide(pc uint64, by value)
	atomic(pc uint64, address value)
}

// call is a call or tail call, or an instruction that does a function's work
// (rep stos is a memset).
type call struct {
	target value  // constant: the function's address
	name   string // of an import
	args   [6]value
	tail   bool
}

// register decodes a general register: its number, width in bytes, and whether
// it is one of ah, ch, dh, bh.
func register(r x86asm.Reg) (n, width int, high, ok bool) {
	switch {
	case r >= x86asm.AL && r <= x86asm.BL:
		return int(r - x86asm.AL), 1, false, true
	case r >= x86asm.AH && r <= x86asm.BH:
		return int(r - x86asm.AH), 1, true, true
	case r >= x86asm.SPB && r <= x86asm.R15B:
		return int(r-x86asm.SPB) + regSP, 1, false, true
	case r >= x86asm.AX && r <= x86asm.R15W:
		return int(r - x86asm.AX), 2, false, true
	case r >= x86asm.EAX && r <= x86asm.R15L:
		return int(r - x86asm.EAX), 4, false, true
	case r >= x86asm.RAX && r <= x86asm.R15:
		return int(r - x86asm.RAX), 8, false, true
	}
	return 0, 0, false, false
}

func vectorRegister(a x86asm.Arg) (int, bool) {
	r, ok := a.(x86asm.Reg)
	if !ok || r < x86asm.X0 || r > x86asm.X15 {
		return 0, false
	}
	return int(r - x86asm.X0), true
}
