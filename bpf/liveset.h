/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The live set: which blocks and pages the target holds. It grows in steps,
 * each of which is a map of its own, so that attaching does not pay for the
 * buckets of a set that may never come. What is in a step stays there.
 */
#pragma once

#include "counters.h"

#define ENOENT 2
#define E2BIG 7
#define EEXIST 17

struct live_map {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1);
	__type(key, __u64);
	__type(value, struct block);
};

struct {
	/* key: the step; value: a map from the address of a live block or page
	 * to struct block. Its entries are written by the programs, and once, for
	 * what was there before, by user space, which reads them for a snapshot.
	 * Capacity: user space adds a step, four times as large as the last,
	 * before it is needed; entries are allocated one by one. When all are
	 * full, or what is used has come to --max-memory, a new block is not
	 * accepted (nothing is ever evicted): COUNTER_LIVE_FULL. */
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, MAX_STEPS);
	__type(key, __u32);
	__array(values, struct live_map);
} live SEC(".maps");

/* How many steps there are, set by user space; and the one that is filled now,
 * which the programs move on when it is full. That is a hint only: two of them
 * may move it at once. */
volatile __u32 live_steps, live_step;

/* Has a record whenever a step comes into use, so that user space makes one more. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} moved SEC(".maps");

static __always_inline void tell_moved(void)
{
	__u8 record = 0;

	bpf_ringbuf_output(&moved, &record, sizeof(record), 0);
}

/* Set by user space while it takes in what is there already. What is freed
 * meanwhile leaves FUNCTION_FREED, so that it is not taken in after that. */
volatile __u32 adopting;

/* Set by user space: enum acceptance. */
volatile __u32 accepting;

/* In which steps anything may be, a bit for each that is set before the first
 * entry comes in: by the programs, and by user space for what it takes in. */
volatile __u32 live_used, live_adopted;

/* Finds an address in the steps, beginning at one of them, and leaving out so
 * many. */
static __always_inline struct block *find_from(__u64 address, __u32 *step, __u32 newest, __u32 but)
{
	__u32 steps = live_steps;

	for (__u32 i = but; i < MAX_STEPS; i++) {
		__u32 k = newest + i;

		if (i >= steps)
			break;
		if (k >= steps)
			k -= steps;
		/* Read anew each time: the verifier would follow each of its bits. */
		if (!((live_used | live_adopted) >> (k & 31) & 1))
			continue;
		void *map = bpf_map_lookup_elem(&live, &k);
		if (!map)
			continue;
		struct block *b = bpf_map_lookup_elem(map, &address);
		if (b) {
			*step = k;
			return b;
		}
	}
	return NULL;
}

/* Finds an address that is in the set. */
static __always_inline struct block *find(__u64 address, __u32 *step)
{
	return find_from(address, step, live_step, 0);
}

/* As find, for blocks and pages that are live. */
static __always_inline struct block *find_live(__u64 address, __u32 *step)
{
	struct block *b = find(address, step);

	return b && b->function != FUNCTION_FREED ? b : NULL;
}

/*
 * Puts a block into the step that is newest, or another one that has room.
 * What an update of a map returns is an int to be: before Linux 6.4
 * (d7ba4cc900bf) the call goes straight to a function that returns one, and the
 * upper half of the register is not its sign.
 */
static __always_inline int put(__u64 address, struct block *block, __u32 newest)
{
	__u32 steps = live_steps;
	int err = -E2BIG;

	/* From the newest on; then those in which frees have made room. */
	for (__u32 i = 0; i < MAX_STEPS; i++) {
		__u32 k = newest + i;

		if (i >= steps)
			break;
		if (k >= steps)
			k -= steps;
		void *map = bpf_map_lookup_elem(&live, &k);
		if (!map)
			continue;
		if (!(live_used >> k & 1))
			__sync_fetch_and_or(&live_used, 1U << (k & 31));
		err = bpf_map_update_elem(map, &address, block, BPF_NOEXIST);
		if (err != -E2BIG) {
			if (!err && k > live_step) {
				live_step = k;
				tell_moved();
			}
			return err;
		}
	}
	return err;
}

/* Takes b, found in a step, out of the set. */
static __always_inline void take_out(__u64 address, struct block *b, __u32 step)
{
	if (adopting) {
		b->function = FUNCTION_FREED;
		return;
	}
	void *map = bpf_map_lookup_elem(&live, &step);
	if (map)
		bpf_map_delete_elem(map, &address);
}

/*
 * Finds a block or page that is being freed. One that is not in the set leaves
 * a mark while user space takes in what was there; unless it has been taken in
 * just now, between search and mark: then it is found after all.
 */
static __always_inline struct block *find_freed(__u64 address, __u32 *step)
{
	/* Read first: if user space was done, the search finds all it took in. */
	__u32 remember = adopting;
	struct block *b = find(address, step);

	if (b)
		return b->function != FUNCTION_FREED ? b : NULL;
	if (!remember)
		return NULL;
	struct block freed = { .function = FUNCTION_FREED };
	return put(address, &freed, live_step) == -EEXIST ? find_live(address, step) : NULL;
}
