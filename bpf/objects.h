/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Objects in pages: of slabs, and of linpools. */
#pragma once

#include "follow.h"
#include "slots.h"
#include "thread.h"

/* Finds the page of an object, with a table for its slots; whether it has one.
 * owner is the resource that the object is of, 0 if the page's first word tells
 * it. */
static __always_inline int page_of_object(__u64 page, struct place *at, __u64 owner, const volatile struct slab_layout *l, __u32 function)
{
	if (!find(page, at) || at->block.function != FUNCTION_ALLOC_PAGE) {
		count(COUNTER_OBJECT_NO_PAGE, 1);
		return 0;
	}
	if (at->block.slots)
		return 1;
	struct slots_head head = { .page = page, .function = function };
	if (!owner && bpf_probe_read_user(&owner, sizeof(owner), (void *)page))
		owner = 0;
	if (!test(function, read_layout(l, owner, &head)))
		return 0;
	if (!is_followed(followed_objects, followed_objects_count, head.size))
		return 0;
	__u32 class = slots_class(head.count);
	int made = make_slots(class, &head);
	if (made < 0) {
		count(COUNTER_SLOTS_FULL, 1);
		return 0;
	}
	at->block.table = made;
	at->block.slots = class + 1;
	write_place(page, at, &at->block);
	return 1;
}

/* An object of a slab was allocated: notes by whom. */
static __always_inline int leave_object(struct pt_regs *ctx, const volatile struct slab_layout *l, int islab)
{
	__u64 cookie = bpf_get_attach_cookie(ctx), address = ctx->ax;
	__u32 function = cookie_function(cookie);

	if (!is_target(ctx))
		return 0;
	add(&hits, FUNCTION_COUNT + function, 1);
	if (!address)
		return 0; /* msl_alloc_from_page: that page was full */
	struct thread *t = this_thread(BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!t) {
		count(COUNTER_THREAD_STATE_FAILED, 1);
		return 0;
	}
	__u64 owner = 0, page = address & ~(page_size - 1);
	if (islab) {
		owner = t->islab;
		t->islab = 0;
		/* Its pages do not say whose they are; and the call may have begun
		 * before the probe on the entry was there. */
		if (!owner) {
			count(COUNTER_RETURN_UNMATCHED, 1);
			return 0;
		}
	}
	struct path *p = find_path(ctx, t, cookie_entry(cookie));
	__u32 mark = current_mark, number = p ? p->number : STACK_NOT_KEPT;
	if (mark > SLOT_MARK_MAX)
		mark = SLOT_MARK_MAX;
	if (number > SLOT_STACK_MASK)
		number = STACK_NOT_KEPT;
	__u32 value = mark << SLOT_STACK_BITS | number, size = 0;
	/* The same call allocates from the same slab. A page that is
	 * live has a table that says so: if that of the call's last object does,
	 * nothing else has to be asked. */
	if (p && p->slots)
		size = write_slot(p->slots, p->table, page, address - page, value);
	if (!size) {
		struct place at;
		if (!page_of_object(page, &at, owner, l, function))
			return 0;
		size = write_slot(at.block.slots, at.block.table, page, address - page, value);
		if (p) {
			p->slots = at.block.slots;
			p->table = at.block.table;
		}
	}
	if (test(function, size != 0))
		record_stack(p, size);
	return 0;
}

SEC("uretprobe.multi")
int leave_sl_alloc(struct pt_regs *ctx)
{
	return leave_object(ctx, &slabs, 0);
}

SEC("uretprobe.multi")
int leave_msl_alloc(struct pt_regs *ctx) /* and msl_alloc_from_page */
{
	return leave_object(ctx, &mslabs, 0);
}

SEC("uprobe.multi")
int enter_isl_alloc(struct pt_regs *ctx) /* isl_alloc(islab) */
{
	if (!is_target(ctx))
		return 0;
	add(&hits, FUNCTION_ISL_ALLOC, 1);
	struct thread *t = this_thread(BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!t) {
		count(COUNTER_THREAD_STATE_FAILED, 1);
		return 0;
	}
	t->islab = argument(ctx, bpf_get_attach_cookie(ctx), 0, ctx->di);
	return 0;
}

SEC("uretprobe.multi")
int leave_isl_alloc(struct pt_regs *ctx) /* returns {object, number} */
{
	return leave_object(ctx, &islabs, 1);
}

struct {
	/* key: address in a linpool; value: struct linpool_object, what was
	 * allocated there last. Written by the programs, read by user space for
	 * a snapshot. Capacity: set at load from --max-memory, where linpool
	 * objects are followed. When it is full an object has no stack:
	 * COUNTER_LINPOOL_OBJECTS_FULL. */
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1);
	__type(key, __u64);
	__type(value, struct linpool_object);
} linpool_objects SEC(".maps");

/*
 * Linpools. Nothing is freed one by one there, and what flush and restore drop
 * the linpool's own state tells: so only what was allocated last at an address
 * is kept.
 */
SEC("uprobe.multi")
int enter_lp_alloc(struct pt_regs *ctx) /* lp_alloc, lp_allocu, lp_allocz (linpool, size) */
{
	__u64 cookie = bpf_get_attach_cookie(ctx);

	if (!is_target(ctx))
		return 0;
	add(&hits, cookie_function(cookie), 1);
	struct thread *t = this_thread(BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!t) {
		count(COUNTER_THREAD_STATE_FAILED, 1);
		return 0;
	}
	/* One of them may call another one, with the same size. */
	t->lp_size = argument(ctx, cookie, 0, ctx->si);
	return 0;
}

SEC("uretprobe.multi")
int leave_lp_alloc(struct pt_regs *ctx)
{
	__u64 cookie = bpf_get_attach_cookie(ctx), address = ctx->ax;
	__u32 function = cookie_function(cookie);

	if (!is_target(ctx))
		return 0;
	add(&hits, FUNCTION_COUNT + function, 1);
	struct thread *t = this_thread(0);
	if (!t || !address) {
		count(COUNTER_RETURN_UNMATCHED, 1);
		return 0;
	}
	struct linpool_object o = {
		.time = bpf_ktime_get_ns(),
		.size = t->lp_size,
		.stack = record_stack(find_path(ctx, t, cookie_entry(cookie)), t->lp_size),
		.mark = current_mark,
		.function = function,
	};
	if (bpf_map_update_elem(&linpool_objects, &address, &o, BPF_ANY))
		count(COUNTER_LINPOOL_OBJECTS_FULL, 1);
	return 0;
}
