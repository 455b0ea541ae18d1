/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* How blocks and pages come into the live set. */
#pragma once

#include "slots.h"

/* The allocator gave out what we hold live: we missed its free. */
static __always_inline void missed(__u64 address, struct block *b)
{
	if (b->function == FUNCTION_ALLOC_PAGE) {
		count(COUNTER_MISSED_PAGE_RETURN, 1);
		drop_slots(b, address);
	} else {
		count(COUNTER_MISSED_FREE, 1);
		count(COUNTER_MISSED_FREE_BYTES, b->size);
	}
	count(COUNTER_FREED_OBJECTS, 1);
	count(COUNTER_FREED_BYTES, b->size);
}

/* Adds a block to the live set; whether it was kept. */
static __always_inline int insert(__u64 address, struct block *block)
{
	__u32 step, newest = live_step;
	int accept = accepting == ACCEPTING, err = -E2BIG;
	/* Most addresses are new, so the newest step is asked by putting it there. */
	struct block *b = accept ? find_from(address, &step, newest, 1) : find(address, &step);

	if (!b && accept) {
		err = put(address, block, newest);
		if (!err)
			return 1;
		if (err == -EEXIST)
			b = find(address, &step);
	}
	if (b) {
		if (b->function != FUNCTION_FREED)
			missed(address, b);
		*b = *block;
		return 1;
	}
	if (accepting == ACCEPTING_SHORT) {
		count(COUNTER_NOT_ACCEPTED, 1);
		count(COUNTER_NOT_ACCEPTED_BYTES, block->size);
		return 0;
	}
	if (err == -E2BIG) {
		count(COUNTER_LIVE_FULL, 1);
		count(COUNTER_LIVE_FULL_BYTES, block->size);
	} else {
		count(COUNTER_LIVE_NO_MEMORY, 1);
		count(COUNTER_LIVE_NO_MEMORY_BYTES, block->size);
	}
	return 0;
}

static __always_inline void insert_new(__u64 address, struct block *block)
{
	if (insert(address, block)) {
		count(COUNTER_ALLOCATED_OBJECTS, 1);
		count(COUNTER_ALLOCATED_BYTES, block->size);
	}
}
