/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Who allocated the objects of a slab: a table for each page, with a slot for
 * each object. Frees are not followed: whether a slot is in use the page's own
 * bitmap says when user space looks.
 */
#pragma once

#include "liveset.h"

#define SLOTS_MAP(n)                                               \
	struct slots_##n##_map {                                   \
		__uint(type, BPF_MAP_TYPE_ARRAY);                  \
		__uint(map_flags, BPF_F_MMAPABLE | BPF_F_INNER_MAP); \
		__uint(max_entries, 1);                            \
		__type(key, __u32);                                \
		__type(value, struct slots_##n);                   \
	};                                                         \
	struct {                                                   \
		__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);          \
		__uint(max_entries, TABLE_STEPS);                  \
		__type(key, __u32);                                \
		__array(values, struct slots_##n##_map);           \
	} tables_##n SEC(".maps");

/* tables_8 to tables_508. key: the step; value: an array of tables. Written by
 * the programs, read by user space for a snapshot. Capacity: steps, as in live.
 * When all are full the page's objects stay without stacks: COUNTER_SLOTS_FULL. */
FOR_EACH_SLOTS_CLASS(SLOTS_MAP)

/* How many tables each step has, set by user space. */
volatile __u32 slots_tables[SLOTS_CLASS_COUNT * TABLE_STEPS];

/* How many tables ever had a page; and the first of those that have none any more:
 * its number + 1, 0 if there is none, and in the upper half how often that was
 * changed, so that who compares it does not take it for what it was before. */
volatile __u32 slots_made[SLOTS_CLASS_COUNT];
volatile __u64 slots_spare[SLOTS_CLASS_COUNT];

/* The layouts of BIRD's slabs, set by user space. */
const volatile struct slab_layout slabs, mslabs, islabs;

/* A table without any allocation: too large for the stack of a program. */
const struct slots_508 no_slots;

/* The smallest class for that many objects. */
static __always_inline __u32 slots_class(__u32 objects)
{
#define CLASS_FOR(n)           \
	if (objects <= n)      \
		return SLOTS_CLASS_##n;
	FOR_EACH_SLOTS_CLASS(CLASS_FOR)
	return SLOTS_CLASS_COUNT;
}

/* How often it is tried to be faster than another thread. */
#define TRIES 8

#define TABLE_AT(n, number)                                                            \
	__u32 step = (number) >> TABLE_STEP;                                           \
	__u32 index = (number) & ((1 << TABLE_STEP) - 1);                              \
	void *map = bpf_map_lookup_elem(&tables_##n, &step);                           \
	struct slots_##n *t = map ? bpf_map_lookup_elem(map, &index) : NULL;           \
	if (!t)                                                                        \
		return 0;

/* Which table comes after one that is spare: its number + 1, or 0. */
__noinline int spare_after(__u32 class, __u32 number)
{
	switch (class) {
#define AFTER(n)                         \
	case SLOTS_CLASS_##n: {          \
		TABLE_AT(n, number)      \
		return t->head.page;     \
	}
		FOR_EACH_SLOTS_CLASS(AFTER)
	}
	return 0;
}

/* Says which comes after it; whether there is such a table. */
__noinline int make_spare(__u32 class, __u32 number, __u32 next)
{
	switch (class) {
#define SPARE(n)                                       \
	case SLOTS_CLASS_##n: {                        \
		TABLE_AT(n, number)                    \
		t->head.page = TABLE_SPARE | next;     \
		return 1;                              \
	}
		FOR_EACH_SLOTS_CLASS(SPARE)
	}
	return 0;
}

/* Gives a table to a page, without any allocation; whether there is such a table. */
__noinline int begin_table(__u32 class, __u32 number, struct slots_head *head)
{
	if (!head)
		return 0;
	switch (class) {
#define BEGIN(n)                                                             \
	case SLOTS_CLASS_##n: {                                              \
		TABLE_AT(n, number)                                          \
		if (bpf_map_update_elem(map, &index, &no_slots, BPF_ANY))    \
			return 0;                                            \
		t->head = *head;                                             \
		return 1;                                                    \
	}
		FOR_EACH_SLOTS_CLASS(BEGIN)
	}
	return 0;
}

/* The number of the n-th table, from 0 on; an error if there is none. */
__noinline int nth_table(__u32 class, __u32 n)
{
	for (__u32 step = 0; step < TABLE_STEPS && class < SLOTS_CLASS_COUNT; step++) {
		__u32 tables = slots_tables[class * TABLE_STEPS + step];

		if (n < tables)
			return step << TABLE_STEP | n;
		n -= tables;
	}
	return -E2BIG;
}

/* The number of a table that never had a page; an error if there is none. */
static __always_inline int new_table(__u32 class)
{
	for (int i = 0; i < TRIES; i++) {
		__u32 made = slots_made[class];
		int number = nth_table(class, made);

		if (number < 0)
			break;
		if (__sync_val_compare_and_swap(&slots_made[class], made, made + 1) != made)
			continue;
		if (!(made & 0x3f))
			tell_moved();
		return number;
	}
	return -E2BIG;
}

/* Makes an empty table for a page; its number, or an error. */
__noinline int make_slots(__u32 class, struct slots_head *head)
{
	if (class >= SLOTS_CLASS_COUNT || !head || accepting != ACCEPTING)
		return -E2BIG;
	int number = -E2BIG;

	for (int i = 0; i < TRIES; i++) {
		__u64 first = slots_spare[class];
		__u32 spare = first;

		if (!spare)
			break;
		__u32 next = spare_after(class, spare - 1);
		if (__sync_val_compare_and_swap(&slots_spare[class], first, ((first >> 32) + 1) << 32 | next) != first)
			continue;
		number = spare - 1;
		break;
	}
	if (number < 0)
		number = new_table(class);
	if (number < 0 || !begin_table(class, number, head))
		return -E2BIG;
	return number;
}

/* Writes who allocated the object at an offset in a page, of which slots and number
 * say where its table is, as in struct block. Returns how long such an object is,
 * or 0 if none begins there or the table is another page's. */
__noinline int write_slot(__u32 slots, __u32 number, __u64 page, __u32 offset, __u32 value)
{
	switch (slots - 1) {
#define WRITE(n)                                                               \
	case SLOTS_CLASS_##n: {                                                \
		TABLE_AT(n, number)                                            \
		if (t->head.page != page || !t->head.size || offset < t->head.first) \
			return 0;                                              \
		__u64 i = (offset - t->head.first) / t->head.size;             \
		if (i >= t->head.count || i * t->head.size + t->head.first != offset) \
			return 0;                                              \
		/* The verifier wants the very register tested that is used. */ \
		asm volatile("" : "+r"(i));                                    \
		if (i >= n)                                                    \
			return 0;                                              \
		t->slot[i] = value;                                            \
		return t->head.size;                                           \
	}
		FOR_EACH_SLOTS_CLASS(WRITE)
	}
	return 0;
}

/* Takes the table from a page that leaves the live set. If others are always
 * faster, nobody has it any more: COUNTER_SLOTS_LOST. */
__noinline int drop_slots(struct block *b)
{
	if (!b || !b->slots)
		return 0;
	__u64 class = b->slots - 1;

	/* The verifier of Linux 6.1 does not keep the test of what is in memory. */
	asm volatile("" : "+r"(class));
	if (class >= SLOTS_CLASS_COUNT)
		return 0;
	b->slots = 0;
	for (int i = 0; i < TRIES; i++) {
		__u64 first = slots_spare[class];

		if (!make_spare(class, b->table, first))
			break;
		if (__sync_val_compare_and_swap(&slots_spare[class], first, ((first >> 32) + 1) << 32 | (b->table + 1)) == first)
			return 0;
	}
	count(COUNTER_SLOTS_LOST, 1);
	return 0;
}

/* What a page of objects looks like, from the resource that owns it. 0 if it is
 * no such page: then the function that was found is another one. */
static __always_inline int read_layout(const volatile struct slab_layout *l, __u64 owner, struct slots_head *head)
{
	__u64 class = 0;
	__u32 size = 0, first = 0;

	if (!l->class || bpf_probe_read_user(&class, sizeof(class), (void *)owner + l->class_at) || class != l->class)
		return 0;
	if (bpf_probe_read_user(&size, sizeof(size), (void *)owner + l->size_at) ||
	    bpf_probe_read_user(&first, l->first_bytes == 2 ? 2 : 4, (void *)owner + l->first_at))
		return 0;
	if (!size || first >= 4096 || size > 4096 - first)
		return 0;
	head->first = first;
	head->size = size;
	head->count = (4096 - first) / size;
	return 1;
}
