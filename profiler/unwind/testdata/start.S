// SPDX-License-Identifier: Apache-2.0

// An entry point without CFI (or, with -DCFI, with CFI that does not end the
// stack there), followed after 64 bytes, or -DGAP=n, by a function that has CFI.

#ifndef GAP
#define GAP 64
#endif

	.text
	.globl _start
	.type _start, @function
_start:
#ifdef CFI
	.cfi_startproc
#endif
	xor %ebp, %ebp
	call function
	hlt
#ifdef CFI
	.cfi_endproc
#endif
	.size _start, . - _start
	.skip GAP - (. - _start), 0xcc

	.type function, @function
function:
	.cfi_startproc
	ret
	.cfi_endproc
	.size function, . - function

	.section .note.GNU-stack, "", @progbits
