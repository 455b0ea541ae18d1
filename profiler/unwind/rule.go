// SPDX-License-Identifier: Apache-2.0

package unwind

import (
	"fmt"
	"strings"
)

// CFAKind says how a [Rule] computes the canonical frame address, or why not.
type CFAKind uint8

const (
	// CFAUndefined: no FDE covers this pc. Unwinding stops here.
	CFAUndefined CFAKind = iota
	// CFAUnsupported: an FDE covers this pc, with a rule that is not encoded;
	// [Stats.Unsupported] counts why. Unwinding stops here.
	CFAUnsupported
	// CFAEnd: the return address is undefined, so this is the outermost frame
	// (_start, clone). The stack is complete.
	CFAEnd
	// CFARegister: CFA = Reg + Off.
	CFARegister
	// CFADeref: CFA = *(uint64 *)(Reg + Off) + Add. gcc writes it for functions
	// that realign their stack.
	CFADeref
	// CFAPLT: CFA = Reg + Off + 8 if (rip & 15) >= Add, else Reg + Off. The
	// linkers write it for .plt, where Reg is rsp and Off is 8.
	CFAPLT
	// CFASignal: the kernel's rt_sigframe for a signal handler. rsp points at
	// its ucontext, and all registers of the interrupted frame, rip and rsp
	// too, are in uc_mcontext.
	CFASignal
)

var cfaKindNames = [...]string{"undefined", "unsupported", "end", "register", "deref", "plt", "signal"}

func (k CFAKind) String() string { return name(cfaKindNames[:], int(k)) }

// SavedKind says where the caller's value of a callee-saved register is.
type SavedKind uint8

const (
	// SavedSame: in the register itself; also where CFI calls it undefined.
	SavedSame SavedKind = iota
	// SavedCFA: in memory at CFA + Off.
	SavedCFA
	// SavedRBP: in memory at rbp + Off, with this frame's rbp. gcc writes it
	// for functions that realign their stack.
	SavedRBP
	// SavedRSP: in memory at rsp + Off, with this frame's rsp.
	SavedRSP
	// SavedRegister: in the register with DWARF number Off.
	SavedRegister
	// SavedValue: the value is CFA + Off itself (DW_CFA_val_offset).
	SavedValue
	// SavedLost: somewhere this package does not encode. The caller's value is
	// unknown; a CFA computed from it must not be trusted.
	SavedLost
)

var savedKindNames = [...]string{"same", "cfa", "rbp", "rsp", "register", "value", "lost"}

func (k SavedKind) String() string { return name(savedKindNames[:], int(k)) }

// Saved is the place of one callee-saved register's value in the caller.
type Saved struct {
	Kind SavedKind
	Off  int16 // bytes, or for SavedRegister a DWARF register number 0..15
}

// CalleeSaved are the DWARF numbers of the registers in [Rule.Saved], in order:
// rbx, rbp, r12, r13, r14, r15.
var CalleeSaved = [6]uint8{regRBX, regRBP, 12, 13, 14, 15}

// Rule computes the caller's frame from this one. The fields after CFA have a
// meaning only for CFARegister, CFADeref and CFAPLT; they are zero otherwise.
type Rule struct {
	CFA CFAKind
	Reg uint8 // DWARF register number 0..15
	Off int32 // bytes
	Add int32 // CFADeref: bytes added to what was read; CFAPLT: threshold 0..31
	// RAReg is the register that holds the return address (glibc's vfork keeps
	// it in rdi), or negative: then it is in memory at CFA + RAOff.
	RAReg int8
	RAOff int16
	Saved [6]Saved // in the order of CalleeSaved
}

// String writes the rule as readelf --debug-dump=frames-interp does, where it can.
func (r Rule) String() string {
	var b strings.Builder
	switch r.CFA {
	case CFARegister:
		fmt.Fprintf(&b, "%s%+d", registerName(int(r.Reg)), r.Off)
	case CFADeref:
		fmt.Fprintf(&b, "*(%s%+d)%+d", registerName(int(r.Reg)), r.Off, r.Add)
	case CFAPLT:
		fmt.Fprintf(&b, "%s%+d+((rip&15)>=%d)*8", registerName(int(r.Reg)), r.Off, r.Add)
	default:
		return r.CFA.String()
	}
	for i, s := range r.Saved {
		if s.Kind != SavedSame {
			fmt.Fprintf(&b, " %s=%s", registerName(int(CalleeSaved[i])), s)
		}
	}
	if r.RAReg >= 0 {
		fmt.Fprintf(&b, " ra=%s", registerName(int(r.RAReg)))
	} else {
		fmt.Fprintf(&b, " ra=c%+d", r.RAOff)
	}
	return b.String()
}

func (s Saved) String() string {
	switch s.Kind {
	case SavedSame:
		return "s"
	case SavedCFA:
		return fmt.Sprintf("c%+d", s.Off)
	case SavedRBP:
		return fmt.Sprintf("*(rbp%+d)", s.Off)
	case SavedRSP:
		return fmt.Sprintf("*(rsp%+d)", s.Off)
	case SavedRegister:
		return registerName(int(s.Off))
	case SavedValue:
		return fmt.Sprintf("v%+d", s.Off)
	}
	return s.Kind.String()
}

// DWARF register numbers of x86-64: System V ABI, AMD64 supplement, figure 3.36.
const (
	regRBX = 3
	regRBP = 6
	regRSP = 7
	regRA  = 16 // the return address column, rip
)

var registerNames = [...]string{"rax", "rdx", "rcx", "rbx", "rsi", "rdi", "rbp", "rsp",
	"r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "rip"}

func registerName(n int) string { return name(registerNames[:], n) }

func name(names []string, i int) string {
	if i >= 0 && i < len(names) {
		return names[i]
	}
	return fmt.Sprintf("%d?", i)
}
