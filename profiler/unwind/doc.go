// SPDX-License-Identifier: Apache-2.0

// Package unwind turns the call frame information (CFI) of an x86-64 ELF file
// into the rows that a BPF program unwinds stacks with.
//
// # Format
//
// A [Table] is two arrays. Rows are 8 bytes each, {PC, Rule uint32}, sorted by
// PC. Row i holds from Rows[i].PC up to Rows[i+1].PC, and Rule is an index into
// Rules. Rules are few (some hundreds for libc's 20 000 rows), because functions
// push the same registers in the same order; that is why a row does not carry
// its rule. To unwind one frame: find the last row with PC <= pc, compute the
// canonical frame address (CFA) by its rule, read the return address and the
// callee-saved registers of the caller relative to it, set rsp to the CFA.
//
// A pc that is a return address points behind its call, which for a call that
// does not return may already be the next function: look up pc-1 for it, except
// in the frame that a [CFASignal] frame interrupted. A pc below the first row is
// not covered. Caller-saved registers (a [CFARegister] rule with rdi, say) are
// known in the innermost frame only.
//
// PCs are ELF virtual addresses, not file offsets; the load bias is the caller's
// to subtract.
//
// # Gaps
//
// Where no frame description entry (FDE) covers an address there is a row with
// rule 0, so that a bad pc is not unwound by the function before it. Where FDEs
// overlap, the one that begins last holds, and of two that begin together the
// one that comes first in the section. The program's entry point ends the stack
// even where its CFI does not say so.
//
// # What is not encoded
//
//   - DWARF expressions other than register + offset, its dereference with an
//     addend, and the linkers' PLT expression: [CFAUnsupported].
//   - Rules that move rsp elsewhere than to the CFA (setcontext, longjmp), or
//     that find the return address by an expression: [CFAUnsupported].
//   - Signal frames that are not the kernel's rt_sigframe: [CFAUnsupported].
//   - A callee-saved register's place that is none of those of [SavedKind]:
//     [SavedLost]; the frame still unwinds.
//   - Caller-saved and vector registers, DW_CFA_GNU_args_size, language-specific
//     data and personality routines. Unwinding does not need them.
//   - Addresses from 4 GiB up, and machines other than x86-64.
//
// The encodings are those of DWARF 5 section 6.4, the Linux Standard Base Core
// 5.0 chapter 10.6 (.eh_frame, .eh_frame_hdr), and the System V ABI, AMD64
// supplement, section 3.7 (register numbers).
package unwind
