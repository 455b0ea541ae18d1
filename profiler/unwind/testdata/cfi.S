// SPDX-License-Identifier: Apache-2.0

// Every call frame instruction, in functions that are never run: only their
// .eh_frame is read. .cfi_escape gives what gas has no directive for.

	.text

	.macro func name
	.globl \name
	.type \name, @function
\name:
	.cfi_startproc
	nop
	.endm
	.macro endfunc name
	nop
	.cfi_endproc
	.size \name, . - \name
	.endm

	func registers			// same_value, undefined, register, restore
	.cfi_same_value rbx
	nop
	.cfi_undefined r12
	nop
	.cfi_register r13, r8
	nop
	.cfi_register r14, xmm1		// no general register: lost
	nop
	.cfi_offset rbx, -16
	.cfi_restore r13
	nop
	.cfi_restore r14
	.cfi_escape 0x06, 3		// restore_extended rbx
	endfunc registers

	func offsets
	.cfi_escape 0x05, 3, 2		// offset_extended rbx, 2
	nop
	.cfi_escape 0x11, 6, 0x7d	// offset_extended_sf rbp, -3: above the CFA
	nop
	.cfi_escape 0x2f, 12, 5		// GNU_negative_offset_extended r12, 5
	nop
	.cfi_val_offset r13, -32
	nop
	.cfi_escape 0x15, 14, 0x7f	// val_offset_sf r14, -1
	nop
	.cfi_offset r15, -40000		// does not fit 16 bits: lost
	nop
	.cfi_escape 0x2e, 0x20		// GNU_args_size 32
	nop
	.cfi_val_offset rsp, 0		// as the ABI has it
	nop
	.cfi_val_offset rsp, 8		// not: unsupported
	nop
	.cfi_restore rsp
	endfunc offsets

	func cfas
	.cfi_def_cfa rbp, 16
	nop
	.cfi_def_cfa_register r10
	nop
	.cfi_def_cfa_offset 1000000
	nop
	.cfi_escape 0x12, 7, 0x7f	// def_cfa_sf rsp, -1
	nop
	.cfi_escape 0x13, 0x7d		// def_cfa_offset_sf -3
	nop
	.cfi_escape 0x0f, 3, 0x76, 0x78, 0x06		// breg6 -8; deref
	nop
	.cfi_escape 0x0f, 5, 0x77, 0x10, 0x06, 0x23, 8	// breg7 16; deref; plus_uconst 8
	nop
	.cfi_escape 0x0f, 2, 0x77, 0x18			// breg7 24
	nop
	.cfi_escape 0x0f, 4, 0x77, 0x18, 0x23, 8	// breg7 24; plus_uconst 8
	nop
	.cfi_escape 0x0f, 5, 0x76, 0x70, 0x06, 0x38, 0x22	// breg6 -16; deref; lit8; plus
	nop
	.cfi_escape 0x0f, 6, 0x76, 0x70, 0x06, 0x09, 0xf8, 0x22	// breg6 -16; deref; const1s -8; plus
	nop
	.cfi_escape 0x0f, 4, 0x76, 0x70, 0x06, 0x06	// breg6 -16; deref; deref: unsupported
	nop
	.cfi_escape 0x0f, 11, 0x77, 8, 0x80, 0, 0x3f, 0x1a, 0x3a, 0x2a, 0x33, 0x24, 0x22 // PLT, lit10
	nop
	.cfi_escape 0x0f, 11, 0x77, 8, 0x80, 0, 0x3e, 0x1a, 0x3a, 0x2a, 0x33, 0x24, 0x22 // & 14: unsupported
	nop
	.cfi_def_cfa_register rsp			// with the offset of before: -3 * -8
	endfunc cfas

	func expressions
	.cfi_escape 0x10, 6, 2, 0x76, 0		// rbp at breg6 0
	nop
	.cfi_escape 0x10, 3, 2, 0x76, 0x68	// rbx at breg6 -24
	nop
	.cfi_escape 0x10, 12, 3, 0x77, 0x88, 4	// r12 at breg7 520
	nop
	.cfi_escape 0x10, 13, 2, 0x78, 0	// r13 at breg8 0: lost
	nop
	.cfi_escape 0x16, 14, 2, 0x77, 0	// r14 is breg7 0: lost
	nop
	.cfi_escape 0x10, 0, 2, 0x77, 0		// rax: not tracked
	endfunc expressions

	func states
	.cfi_remember_state
	.cfi_def_cfa_offset 16
	.cfi_offset rbx, -16
	nop
	.cfi_remember_state
	.cfi_def_cfa_register rbp
	nop
	.cfi_restore_state
	nop
	.cfi_escape 0x0f, 3, 0x77, 8, 0x06
	.cfi_remember_state
	nop
	.cfi_def_cfa rsp, 24
	nop
	.cfi_restore_state
	nop
	.cfi_restore_state
	endfunc states

	func return_addresses
	.cfi_register rip, rdi
	nop
	.cfi_offset rip, -24
	nop
	.cfi_escape 0x10, 16, 2, 0x77, 0	// rip at breg7 0: unsupported
	nop
	.cfi_undefined rip
	endfunc return_addresses

	func distances
	.skip 100
	.cfi_def_cfa_offset 16			// advance_loc1
	.skip 1000
	.cfi_def_cfa_offset 24			// advance_loc2
	.skip 100000
	.cfi_def_cfa_offset 32			// advance_loc4
	endfunc distances

	func with_personality			// zPLR
	.cfi_personality 0x9b, personality_pointer
	.cfi_lsda 0x1b, lsda
	.cfi_def_cfa_offset 16
	endfunc with_personality

	func other_signal_frame			// zRS, but no rt_sigframe: unsupported
	.cfi_signal_frame
	endfunc other_signal_frame

	.globl signal_frame			// zRS, as glibc's __restore_rt
	.type signal_frame, @function
signal_frame:
	.cfi_startproc
	.cfi_signal_frame
	.cfi_escape 0x0f, 4, 0x77, 0xa0, 1, 0x06
	.cfi_escape 0x10, 8, 2, 0x77, 40
	.cfi_escape 0x10, 9, 2, 0x77, 48
	.cfi_escape 0x10, 10, 2, 0x77, 56
	.cfi_escape 0x10, 11, 3, 0x77, 0xc0, 0
	.cfi_escape 0x10, 12, 3, 0x77, 0xc8, 0
	.cfi_escape 0x10, 13, 3, 0x77, 0xd0, 0
	.cfi_escape 0x10, 14, 3, 0x77, 0xd8, 0
	.cfi_escape 0x10, 15, 3, 0x77, 0xe0, 0
	.cfi_escape 0x10, 5, 3, 0x77, 0xe8, 0
	.cfi_escape 0x10, 4, 3, 0x77, 0xf0, 0
	.cfi_escape 0x10, 6, 3, 0x77, 0xf8, 0
	.cfi_escape 0x10, 3, 3, 0x77, 0x80, 1
	.cfi_escape 0x10, 1, 3, 0x77, 0x88, 1
	.cfi_escape 0x10, 0, 3, 0x77, 0x90, 1
	.cfi_escape 0x10, 2, 3, 0x77, 0x98, 1
	.cfi_escape 0x10, 7, 3, 0x77, 0xa0, 1
	.cfi_escape 0x10, 16, 3, 0x77, 0xa8, 1
	endfunc signal_frame

	.data
	.balign 8
personality_pointer:
	.quad registers
lsda:
	.quad 0

	.section .note.GNU-stack, "", @progbits
