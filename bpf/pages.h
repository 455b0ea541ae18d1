/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * BIRD's pages. alloc_page has no argument and is never entered while it
 * runs, so its return is all there is to see; the entry only counts, so that
 * a return which does not come shows.
 */
#pragma once

#include "insert.h"
#include "thread.h"

SEC("uprobe.multi")
int enter_alloc_page(struct pt_regs *ctx)
{
	if (is_target(ctx))
		add(&hits, FUNCTION_ALLOC_PAGE, 1);
	return 0;
}

SEC("uretprobe.multi")
int leave_alloc_page(struct pt_regs *ctx)
{
	__u64 cookie = bpf_get_attach_cookie(ctx), address = ctx->ax;
	__u32 function = cookie_function(cookie);

	if (!is_target(ctx))
		return 0;
	add(&hits, FUNCTION_COUNT + function, 1);
	if (!test(function, address && !(address & (page_size - 1))))
		return 0;
	struct thread *t = this_thread(BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!t) {
		count(COUNTER_THREAD_STATE_FAILED, 1);
		return 0;
	}
	struct block b = {
		.size = page_size,
		.stack = record_stack(find_path(ctx, t, cookie_entry(cookie)), page_size),
		.mark = current_mark,
		.function = function,
	};
	insert_new(address, &b);
	return 0;
}

SEC("uprobe.multi")
int enter_free_page(struct pt_regs *ctx)
{
	__u64 cookie = bpf_get_attach_cookie(ctx);

	if (!is_target(ctx))
		return 0;
	add(&hits, cookie_function(cookie), 1);
	__u64 address = argument(ctx, cookie, 0, ctx->di);
	if (!test(cookie_function(cookie), address && !(address & (page_size - 1))))
		return 0;
	struct place at;
	/* BIRD fills its page cache by returning pages that nobody took. */
	if (!find_freed(address, &at) || at.block.function != FUNCTION_ALLOC_PAGE) {
		count(COUNTER_PAGE_RETURN_UNKNOWN, 1);
		return 0;
	}
	count(COUNTER_FREED_OBJECTS, 1);
	count(COUNTER_FREED_BYTES, at.block.size);
	drop_slots(&at.block);
	take_out(address, &at);
	return 0;
}
