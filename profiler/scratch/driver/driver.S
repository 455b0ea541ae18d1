/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls the functions that package scratch puts behind it, as its standard
 * input asks, and says how long that took and whether what a function has to
 * preserve was preserved. It keeps nothing in registers across a call: a
 * function may come back with all of them changed.
 *
 * The layout of what is read and written is that of request and response in
 * run.go; the addresses are those of program.go.
 */
#define OWN		0x10000000
#define REQUEST		OWN		/* function, count, six arguments */
#define RESPONSE	(OWN + 0x100)	/* ns, broken, result */
#define STATE		(OWN + 0x200)	/* rounds left, rsp, time */
#define MIDDLE		0x500002000
#define DATA_BYTES	0x100000
#define DATA		(MIDDLE - DATA_BYTES / 2)

#define SYS_read		0
#define SYS_write		1
#define SYS_exit		60
#define SYS_arch_prctl		158
#define SYS_clock_gettime	228
#define ARCH_SET_FS		0x1002
#define CLOCK_THREAD_CPUTIME_ID	3

/* What callee-saved registers hold during a call. */
#define MARK(n)		$(0x5afe0000 + n)

	.text
	.globl	_start
_start:
	mov	$SYS_arch_prctl, %eax
	mov	$ARCH_SET_FS, %edi
	movabs	$MIDDLE, %rsi
	syscall
	/* Every word of the data is an address in its middle. */
	movabs	$MIDDLE, %rax
	movabs	$DATA, %rdi
	mov	$(DATA_BYTES / 8), %ecx
	cld
	rep stosq

next:
	mov	$SYS_read, %eax
	xor	%edi, %edi
	mov	$REQUEST, %esi
	mov	$64, %edx
	syscall
	cmp	$64, %rax
	jne	done
	movq	$0, RESPONSE + 8
	mov	REQUEST + 8, %rax
	mov	%rax, STATE
	mov	%rsp, STATE + 8
	mov	$(STATE + 16), %esi
	call	now

again:
	decq	STATE
	js	answer
	mov	MARK(1), %ebx
	mov	MARK(2), %ebp
	mov	MARK(3), %r12d
	mov	MARK(4), %r13d
	mov	MARK(5), %r14d
	mov	MARK(6), %r15d
	mov	REQUEST + 16, %rdi
	mov	REQUEST + 24, %rsi
	mov	REQUEST + 32, %rdx
	mov	REQUEST + 40, %rcx
	mov	REQUEST + 48, %r8
	mov	REQUEST + 56, %r9
	call	*REQUEST
	.globl	back
back:
	mov	%rax, RESPONSE + 16
	cmp	%rsp, STATE + 8
	jne	broken
	cmp	MARK(1), %rbx
	jne	broken
	cmp	MARK(2), %rbp
	jne	broken
	cmp	MARK(3), %r12
	jne	broken
	cmp	MARK(4), %r13
	jne	broken
	cmp	MARK(5), %r14
	jne	broken
	cmp	MARK(6), %r15
	je	again
broken:
	mov	STATE + 8, %rsp
	incq	RESPONSE + 8
	jmp	again

answer:
	mov	$(STATE + 32), %esi
	call	now
	mov	STATE + 32, %rax
	sub	STATE + 16, %rax
	imul	$1000000000, %rax, %rax
	add	STATE + 40, %rax
	sub	STATE + 24, %rax
	mov	%rax, RESPONSE
	mov	$SYS_write, %eax
	mov	$1, %edi
	mov	$RESPONSE, %esi
	mov	$24, %edx
	syscall
	jmp	next

done:
	mov	$SYS_exit, %eax
	xor	%edi, %edi
	syscall
	hlt

/* The thread's CPU time to the struct timespec at rsi. */
now:
	mov	$SYS_clock_gettime, %eax
	mov	$CLOCK_THREAD_CPUTIME_ID, %edi
	syscall
	ret
