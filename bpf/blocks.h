/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Blocks of the C library's heap: the programs at malloc and its kin, and at
 * BIRD's functions on top of them.
 */
#pragma once

#include "follow.h"
#include "insert.h"
#include "thread.h"

/*
 * Whether a return probe waits at slot, where a call left its return address.
 * The kernel knows of it until it fires, and for a while after a longjmp past
 * it; the word in the slot then tells, as the trampoline lies in no file. A
 * global function, so that the verifier looks at it once.
 */
__noinline int return_pending(__u64 slot)
{
	struct unwind_areas *all = current_areas();
	__u64 word = 0;
	__u32 cached = 0;

	if (bpf_probe_read_user(&word, sizeof(word), (void *)slot))
		return 0;
	if (all && find_area(all, word, &cached))
		return 0;
	return original_return(slot) != 0;
}

/* A call's return did not come. What realloc did to its old block is not known
 * then; it has left the live set, so the account has it as freed. */
static __always_inline void lose(struct pending *p)
{
	if (p->nested)
		return;
	count(COUNTER_RETURN_LOST, 1);
	count(COUNTER_RETURN_LOST_BYTES, p->size);
	if (p->old_live) {
		count(COUNTER_FREED_OBJECTS, 1);
		count(COUNTER_FREED_BYTES, p->block.size);
	}
}

/*
 * Drops calls that can no longer return: they were left by longjmp, so that
 * the stack has shrunk past them, or the kernel did not place their return
 * probe (it allows 64 pending ones on a thread). Such a call must not make
 * those after it look like its own.
 */
static __always_inline void drop_dead(struct thread *t, __u64 sp)
{
	for (int i = 0; i < MAX_PENDING && t->depth; i++) {
		struct pending *p = &t->pending[(t->depth - 1) & (MAX_PENDING - 1)];

		/* At the same slot: a tail call from the pending function. */
		if (p->sp >= sp && return_pending(p->sp))
			return;
		t->depth--;
		lose(p);
	}
}

static __always_inline struct pending *push(struct pt_regs *ctx, __u64 cookie, struct thread **thread)
{
	__u32 function = cookie_function(cookie);
	__u64 sp = entry_sp(ctx, cookie);

	if (!is_target(ctx))
		return NULL;
	add(&hits, function, 1);
	struct thread *t = this_thread(BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!t) {
		count(COUNTER_THREAD_STATE_FAILED, 1);
		return NULL;
	}
	drop_dead(t, sp);
	if (t->depth >= MAX_PENDING) {
		count(COUNTER_PENDING_FULL, 1);
		return NULL;
	}
	struct pending *p = &t->pending[t->depth & (MAX_PENDING - 1)];
	p->nested = t->depth > 0;
	t->depth++;
	p->sp = sp;
	p->function = function;
	p->old = 0;
	p->old_live = 0;
	p->block.mb = FUNCTION_NONE;
	*thread = t;
	return p;
}

/* Whether the block being asked for is one of mb_alloc's: called from inside
 * it, and larger by just the header. */
static __always_inline void note_mb(struct thread *t, struct pending *p)
{
	if (p->nested || !t->mb_function)
		return;
	__u64 header = p->size - t->mb_size;
	if (t->mb_sp > p->sp && (mblock_header ? header == mblock_header : header == 32 || header == 40 || header == 48))
		p->block.mb = t->mb_function;
	else
		count(COUNTER_MB_MISMATCH, 1);
	t->mb_function = FUNCTION_NONE;
}

static __always_inline int enter(struct pt_regs *ctx, __u64 cookie, __u64 size, __u64 result)
{
	struct thread *t;
	struct pending *p = push(ctx, cookie, &t);

	if (!p)
		return 0;
	p->size = size;
	p->result = result;
	note_mb(t, p);
	return 0;
}

SEC("uprobe.multi")
int enter_malloc(struct pt_regs *ctx) /* malloc, valloc, pvalloc (size) */
{
	__u64 cookie = bpf_get_attach_cookie(ctx);

	return enter(ctx, cookie, argument(ctx, cookie, 0, ctx->di), 0);
}

SEC("uprobe.multi")
int enter_calloc(struct pt_regs *ctx) /* calloc(n, size) */
{
	__u64 cookie = bpf_get_attach_cookie(ctx);

	/* A product that does not fit comes back as NULL from calloc. */
	return enter(ctx, cookie, argument(ctx, cookie, 0, ctx->di) * argument(ctx, cookie, 1, ctx->si), 0);
}

SEC("uprobe.multi")
int enter_memalign(struct pt_regs *ctx) /* memalign, aligned_alloc (alignment, size) */
{
	__u64 cookie = bpf_get_attach_cookie(ctx);

	return enter(ctx, cookie, argument(ctx, cookie, 0, ctx->si), 0);
}

SEC("uprobe.multi")
int enter_posix_memalign(struct pt_regs *ctx) /* (where, alignment, size) */
{
	__u64 cookie = bpf_get_attach_cookie(ctx);

	return enter(ctx, cookie, argument(ctx, cookie, 1, ctx->dx), argument(ctx, cookie, 0, ctx->di));
}

SEC("uprobe.multi")
int enter_realloc(struct pt_regs *ctx) /* realloc(old, size) */
{
	__u64 cookie = bpf_get_attach_cookie(ctx);
	struct thread *t;
	struct pending *p = push(ctx, cookie, &t);

	if (!p)
		return 0;
	p->size = argument(ctx, cookie, 1, ctx->si);
	p->result = 0;
	note_mb(t, p);
	__u64 old = argument(ctx, cookie, 0, ctx->di);
	if (p->nested || !old)
		return 0;
	p->old = old;
	/* realloc may release the old block at any moment from now on, and
	 * another thread may get its address: it leaves the live set here and
	 * comes back if realloc fails. */
	struct place at;
	if (!find_freed(old, &at)) {
		count(COUNTER_REALLOC_UNKNOWN, 1);
		return 0;
	}
	p->block.size = at.block.size;
	p->block.stack = at.block.stack;
	p->block.mark = at.block.mark;
	p->block.function = at.block.function;
	/* A realloc without mb_realloc around it keeps what the block was. */
	if (!p->block.mb)
		p->block.mb = at.block.mb;
	p->old_live = 1;
	take_out(old, &at);
	return 0;
}

SEC("uprobe.multi")
int enter_free(struct pt_regs *ctx) /* free(block) */
{
	__u64 cookie = bpf_get_attach_cookie(ctx);

	if (!is_target(ctx))
		return 0;
	add(&hits, FUNCTION_FREE, 1);
	__u64 address = argument(ctx, cookie, 0, ctx->di);
	if (!address)
		return 0;
	struct thread *t = this_thread(0);
	if (t && t->depth) {
		/* realloc(old, 0) frees inside; its return accounts for it. */
		drop_dead(t, entry_sp(ctx, cookie));
		if (t->depth)
			return 0;
	}
	struct place at;
	if (!find_freed(address, &at)) {
		count(COUNTER_FREE_UNKNOWN, 1);
		return 0;
	}
	count(COUNTER_FREED_OBJECTS, 1);
	count(COUNTER_FREED_BYTES, at.block.size);
	take_out(address, &at);
	return 0;
}

/* BIRD's own functions only say what the libc block inside is for. */
SEC("uprobe.multi")
int enter_mb_alloc(struct pt_regs *ctx) /* mb_alloc, mb_allocz (pool, size), mb_realloc(old, size) */
{
	__u64 cookie = bpf_get_attach_cookie(ctx);
	__u32 function = cookie_function(cookie);

	if (!is_target(ctx))
		return 0;
	add(&hits, function, 1);
	struct thread *t = this_thread(BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!t) {
		count(COUNTER_THREAD_STATE_FAILED, 1);
		return 0;
	}
	t->mb_function = function;
	t->mb_size = (__u32)argument(ctx, cookie, 0, ctx->si); /* unsigned int in every BIRD */
	t->mb_sp = entry_sp(ctx, cookie);
	return 0;
}

SEC("uprobe.multi")
int enter_mb_free(struct pt_regs *ctx)
{
	if (is_target(ctx))
		add(&hits, FUNCTION_MB_FREE, 1);
	return 0;
}

/* The call that returns now: pending, and entered with this stack pointer. */
static __always_inline struct pending *pop(struct thread *t, __u64 sp)
{
	for (int i = 0; i < MAX_PENDING && t->depth; i++) {
		struct pending *p = &t->pending[(t->depth - 1) & (MAX_PENDING - 1)];

		if (p->sp > sp)
			return NULL;
		t->depth--;
		if (p->sp == sp)
			return p;
		lose(p);
	}
	return NULL;
}

static __always_inline int leave(struct pt_regs *ctx, __u64 address, int posix_memalign)
{
	__u64 cookie = bpf_get_attach_cookie(ctx);
	__u32 function = cookie_function(cookie);

	if (!is_target(ctx))
		return 0;
	add(&hits, FUNCTION_COUNT + function, 1);
	struct thread *t = this_thread(0);
	struct pending *p = t ? pop(t, ctx->sp - 8) : NULL;
	if (!p) {
		count(COUNTER_RETURN_UNMATCHED, 1);
		return 0;
	}
	if (p->nested)
		return 0;
	if (posix_memalign) {
		if (address) /* it returns an error number, and the pointer elsewhere */
			address = 0;
		else if (bpf_probe_read_user(&address, sizeof(address), (void *)p->result)) {
			count(COUNTER_RESULT_READ_FAILED, 1);
			return 0;
		}
	}
	int freed = p->old_live;
	if (!address && p->old_live && p->size) {
		/* realloc failed: the old block still lives. */
		freed = !insert(p->old, &p->block);
	}
	if (freed) {
		count(COUNTER_FREED_OBJECTS, 1);
		count(COUNTER_FREED_BYTES, p->block.size);
	}
	if (!address) {
		/* realloc(old, 0) of glibc is free(old), whoever saw old. */
		if (!p->old || p->size)
			count(COUNTER_ALLOCATION_FAILED, 1);
		return 0;
	}
	if (!is_followed(followed_blocks, followed_blocks_count, p->size))
		return 0;
	struct block *b = &p->block;
	b->size = p->size;
	b->stack = record_stack(find_path(ctx, t, cookie_entry(cookie)), p->size);
	b->mark = current_mark;
	b->function = p->function;
	insert_new(address, b);
	return 0;
}

SEC("uretprobe.multi")
int leave_pointer(struct pt_regs *ctx)
{
	return leave(ctx, ctx->ax, 0);
}

SEC("uretprobe.multi")
int leave_posix_memalign(struct pt_regs *ctx)
{
	return leave(ctx, (__u32)ctx->ax, 1);
}
