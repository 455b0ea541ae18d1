# SPDX-License-Identifier: Apache-2.0
# Code that only symbols name, one of them without a size, one without a type.
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

	.globl untyped
untyped:
	leal 2(%rdi), %eax
	ret
	.size untyped, . - untyped

	.section .note.GNU-stack, "", @progbits
