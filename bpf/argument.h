/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What a probe's cookie says: which function was entered or returns, and where
 * its arguments are at the probed instruction. See enum cookie.
 */
#pragma once

#include "counters.h"

static __always_inline __u32 cookie_function(__u64 cookie)
{
	return cookie >> COOKIE_FUNCTION & 0xff;
}

static __always_inline __u64 cookie_entry(__u64 cookie)
{
	return cookie >> COOKIE_ENTRY;
}

/* What rsp was when the function was entered: where its return address is. */
static __always_inline __u64 entry_sp(struct pt_regs *ctx, __u64 cookie)
{
	return ctx->sp + (cookie >> COOKIE_DEPTH & 0xff) * 8;
}

#define AT(r) __builtin_offsetof(struct pt_regs, r)
/* Where pt_regs has the general registers, by the numbers of instructions. */
const __u8 register_offset[16] = {
	AT(ax), AT(cx), AT(dx), AT(bx), AT(sp), AT(bp), AT(si), AT(di),
	AT(r8), AT(r9), AT(r10), AT(r11), AT(r12), AT(r13), AT(r14), AT(r15),
};
#undef AT

static __always_inline __u64 given_argument(struct pt_regs *ctx, __u32 place)
{
	__u64 value = 0;

	/* The verifier refuses a context access at an offset that varies. */
	bpf_probe_read_kernel(&value, sizeof(value), (void *)ctx + register_offset[place >> ARGUMENT_REGISTER & 15]);
	value += (__s16)(place >> ARGUMENT_OFFSET);
	if (place >> ARGUMENT_LOAD & 1 && bpf_probe_read_user(&value, sizeof(value), (void *)value)) {
		count(COUNTER_ARGUMENT_READ_FAILED, 1);
		value = 0;
	}
	return value;
}

/* The n-th of the arguments that are read. convention is the register that
 * holds it when the function is called. */
static __always_inline __u64 argument(struct pt_regs *ctx, __u64 cookie, int n, __u64 convention)
{
	__u32 place = cookie >> (COOKIE_ARGUMENTS + n * ARGUMENT_BITS) & ((1 << ARGUMENT_BITS) - 1);

	return place ? given_argument(ctx, place) : convention;
}
