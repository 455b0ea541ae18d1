// SPDX-License-Identifier: Apache-2.0

// An .eh_frame that has a terminator and nothing else.

	.section .eh_frame, "a", @progbits
	.long 0

	.section .note.GNU-stack, "", @progbits
