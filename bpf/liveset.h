/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The live set: which blocks and pages the target holds. It grows in steps,
 * each of which is a map of its own, so that attaching does not pay for the
 * room of a set that may never come. What is in a step stays there.
 *
 * A step is an array of buckets, and an entry is two words: a hash map would take
 * more than a hundred bytes for it, and allocate and free them at each hit. A
 * bucket has no lock. An entry is claimed, written and then shown; only the
 * program that is at the allocation or the free of its block changes it, and
 * of these there is one at a time.
 */
#pragma once

#include "counters.h"

#define ENOENT 2
#define E2BIG 7
#define EEXIST 17

struct live_map {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE | BPF_F_INNER_MAP);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct bucket);
};

struct {
	/* key: the step; value: an array of struct bucket. Its entries are written
	 * by the programs, and for what was there before by user space, which
	 * reads them for a snapshot. Capacity: user space adds a step when
	 * three quarters are in use. When all buckets of an address are full it
	 * goes to spilled. */
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, MAX_STEPS);
	__type(key, __u32);
	__array(values, struct live_map);
} live SEC(".maps");

struct {
	/* key: address; value: struct entry, for what finds no room in live until
	 * it grows. Written by the programs, read by user space for a snapshot.
	 * Capacity: set at load. When that is full, too, a new block is not accepted
	 * (nothing is ever evicted): COUNTER_LIVE_FULL. */
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1);
	__type(key, __u64);
	__type(value, struct entry);
} spilled SEC(".maps");

/* How many steps there are, and how many buckets each has, set by user space. */
volatile __u32 live_steps, live_buckets[MAX_STEPS];

/* How many entries are in spilled, and how many were to be put where there was no
 * room in the newest step. */
volatile __u32 live_spilled, live_crowded;

struct {
	/* Records of one byte, 0, each of which says that user space should look
	 * whether a set has to grow. Written by the programs, read by user space.
	 * Capacity: 255 records. When it is full there is enough to read, and
	 * user space looks by itself a few times a second: nothing is lost, and
	 * nothing counted. */
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

/* Bytes in one of alloc_page's pages. */
const volatile __u64 page_size;

#define BITS(value, from, n) ((value) >> (from) & ((1ULL << (n)) - 1))

/* Makes an entry of a block; 0 if it cannot be one: there is none of 256 GB, and
 * none beyond the 47 bits of addresses that the kernel gives out unasked. */
static __always_inline int pack(__u64 address, struct block *b, struct entry *e)
{
	if (address >> 47 || address & 7 || b->size >> 38)
		return 0;
	__u64 function = b->function == FUNCTION_FREED ? ENTRY_FREED : b->function;
	__u64 mb = b->mb ? b->mb - FUNCTION_MB_ALLOC + 1 : 0;
	__u64 size = b->function == FUNCTION_ALLOC_PAGE ? b->table : b->size;
	__u64 stack = b->stack <= SLOT_STACK_MASK ? b->stack : STACK_NOT_KEPT;

	e->where = address >> 3 | BITS(function, 0, 5) << ENTRY_FUNCTION | BITS(mb, 0, 2) << ENTRY_MB |
		   BITS((__u64)b->slots, 0, 3) << ENTRY_SLOTS | size >> ENTRY_STACK << ENTRY_SIZE_HIGH;
	e->what = BITS(size, 0, ENTRY_STACK) | stack << ENTRY_STACK | (__u64)b->mark << ENTRY_MARK;
	return 1;
}

static __always_inline void unpack(struct entry *e, struct block *b)
{
	__u64 where = e->where, what = e->what, mb = BITS(where, ENTRY_MB, 2);
	__u32 function = BITS(where, ENTRY_FUNCTION, 5);

	b->size = BITS(what, ENTRY_SIZE, ENTRY_STACK) | where >> ENTRY_SIZE_HIGH << ENTRY_STACK;
	b->stack = BITS(what, ENTRY_STACK, 20);
	b->mark = what >> ENTRY_MARK;
	b->function = function == ENTRY_FREED ? FUNCTION_FREED : function;
	b->mb = mb ? mb + FUNCTION_MB_ALLOC - 1 : FUNCTION_NONE;
	b->slots = BITS(where, ENTRY_SLOTS, 3);
	b->table = 0;
	if (function == FUNCTION_ALLOC_PAGE) {
		b->table = b->size;
		b->size = page_size;
	}
}

static __always_inline __u64 address_of(__u64 where)
{
	return BITS(where, ENTRY_ADDRESS, 44) << 3;
}

/* Where an entry is, and what it was when it was found. step is MAX_STEPS for
 * what is in spilled. */
struct place {
	struct block block;
	__u32 step, bucket, entry;
};

/* The bucket of an address in a step. */
static __always_inline struct bucket *bucket_of(__u64 address, __u32 step, __u32 *number)
{
	if (step >= MAX_STEPS)
		return NULL;
	/* The upper half of the product is well mixed; then its share of the buckets. */
	__u64 h = (address >> 3) * 0x9e3779b97f4a7c15ULL;
	__u32 i = (h >> 32) * live_buckets[step] >> 32;
	void *map = bpf_map_lookup_elem(&live, &step);

	*number = i;
	return map ? bpf_map_lookup_elem(map, &i) : NULL;
}

/* The entry at a place. */
static __always_inline struct entry *entry_at(__u64 address, struct place *at)
{
	if (at->step >= MAX_STEPS)
		return bpf_map_lookup_elem(&spilled, &address);
	void *map = bpf_map_lookup_elem(&live, &at->step);
	struct bucket *b = map ? bpf_map_lookup_elem(map, &at->bucket) : NULL;

	return b ? &b->entry[at->entry & (ENTRIES - 1)] : NULL;
}

/* Finds an address in a step, at->step; with live_only none that stands for a
 * free. A global function, so that the verifier looks at it once, as is put_in. */
__noinline int find_in(__u64 address, struct place *at, int live_only)
{
	if (!at)
		return 0;
	__u32 number;
	struct bucket *b = bucket_of(address, at->step, &number);

	if (!b)
		return 0;
	for (__u32 i = 0; i < ENTRIES; i++) {
		struct entry *e = &b->entry[i];

		if (address_of(e->where) != address || (live_only && BITS(e->where, ENTRY_FUNCTION, 5) == ENTRY_FREED))
			continue;
		at->bucket = number;
		at->entry = i;
		unpack(e, &at->block);
		return 1;
	}
	return 0;
}

static __always_inline int find_place(__u64 address, struct place *at, int live_only)
{
	__u32 steps = live_steps;

	/* Before Linux 6.3 (6715df8d5d24) a function may be given only what is written. */
	__builtin_memset(at, 0, sizeof(*at));
	/* Most of what is freed has been there for a short time only. */
	for (__u32 n = 1; n <= MAX_STEPS; n++) {
		if (n > steps)
			break;
		at->step = steps - n;
		if (find_in(address, at, live_only))
			return 1;
	}
	if (!live_spilled)
		return 0;
	struct entry *e = bpf_map_lookup_elem(&spilled, &address);
	if (!e)
		return 0;
	unpack(e, &at->block);
	at->step = MAX_STEPS;
	at->bucket = at->entry = 0;
	return !live_only || at->block.function != FUNCTION_FREED;
}

static __always_inline int find(__u64 address, struct place *at)
{
	return find_place(address, at, 0);
}

/* Writes a block over what is at a place; whether it can be written. */
static __always_inline int write_place(__u64 address, struct place *at, struct block *block)
{
	struct entry new, *e = entry_at(address, at);

	if (!e || !pack(address, block, &new))
		return 0;
	e->what = new.what;
	__sync_lock_test_and_set(&e->where, new.where);
	return 1;
}

/* Puts an entry into a step; whether there was room. */
__noinline int put_in(__u64 address, struct entry *new, __u32 step)
{
	if (!new)
		return 0;
	__u32 number;
	struct bucket *b = bucket_of(address, step, &number);

	if (!b)
		return 0;
	for (__u32 i = 0; i < ENTRIES; i++) {
		struct entry *e = &b->entry[i];

		/* Address 0 is nobody's. */
		if (e->where || __sync_val_compare_and_swap(&e->where, 0, 1ULL << ENTRY_FUNCTION))
			continue;
		e->what = new->what;
		__sync_lock_test_and_set(&e->where, new->where);
		return 1;
	}
	return 0;
}

/* Puts a block into the set, in which its address is not. */
static __always_inline int put(__u64 address, struct block *block)
{
	struct entry new;
	__u32 steps = live_steps;

	if (!pack(address, block, &new))
		return -E2BIG;
	for (__u32 n = 1; n <= MAX_STEPS; n++) {
		if (n > steps)
			break;
		if (put_in(address, &new, steps - n))
			return 0;
		if (n == 1 && !(__sync_fetch_and_add(&live_crowded, 1) & 0x3ff))
			tell_moved();
	}
	__sync_fetch_and_add(&live_spilled, 1);
	int err = bpf_map_update_elem(&spilled, &address, &new, BPF_NOEXIST);
	if (err)
		__sync_fetch_and_add(&live_spilled, -1);
	return err;
}

/* Takes what was found out of the set. */
static __always_inline void take_out(__u64 address, struct place *at)
{
	struct entry *e;

	if (adopting) {
		at->block.function = FUNCTION_FREED;
		write_place(address, at, &at->block);
	} else if (at->step >= MAX_STEPS) {
		if (!bpf_map_delete_elem(&spilled, &address))
			__sync_fetch_and_add(&live_spilled, -1);
	} else if ((e = entry_at(address, at))) {
		__sync_lock_test_and_set(&e->where, 0);
	}
}

/*
 * Finds a block or page that is being freed. One that is not in the set leaves
 * a mark while user space takes in what was there; unless it has been taken in
 * just now, between search and mark: then it is found after all. User space looks
 * for a mark as well when it has taken one in, and one of the two takes it out.
 */
static __always_inline int find_freed(__u64 address, struct place *at)
{
	/* Read first: if user space was done, the search finds all it took in. */
	__u32 remember = adopting;

	if (find(address, at))
		return at->block.function != FUNCTION_FREED;
	if (!remember)
		return 0;
	struct block freed = { .function = FUNCTION_FREED };
	if (put(address, &freed) || !find_place(address, at, 1))
		return 0;
	struct entry taken, *e = entry_at(address, at);
	if (!e || !pack(address, &at->block, &taken) ||
	    __sync_val_compare_and_swap(&e->where, taken.where, 0) != taken.where)
		return 0;
	/* What is left of the two is the mark. */
	struct block block = at->block;
	if (!find(address, at))
		return 0;
	at->block = block;
	return 1;
}
