/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* How blocks and pages come into the live set. */
#pragma once

#include "slots.h"

/* The allocator gave out what we hold live: we missed its free. */
static __always_inline void missed(struct block *b)
{
	if (b->function == FUNCTION_ALLOC_PAGE) {
		count(COUNTER_MISSED_PAGE_RETURN, 1);
		drop_slots(b);
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
	struct place at;

	if (find(address, &at)) {
		if (at.block.function != FUNCTION_FREED)
			missed(&at.block);
		if (write_place(address, &at, block))
			return 1;
		take_out(address, &at);
	}
	int err = accepting == ACCEPTING ? put(address, block) : -E2BIG;
	if (!err)
		return 1;
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
