# SPDX-License-Identifier: Apache-2.0
# Code that only symbols name, one of them without a size.
	.text
	.globl assembled
	.type assembled, @function
assembled:
	subq $8, %rsp
	call unsized
	addq $8, %rsp
	ret
	.size assembled, . - assembled

	.globl unsized
	.type unsized, @function
unsized:
	nop
	leal 1(%rdi), %eax
	ret

	.section .note.GNU-stack, "", @progbits
