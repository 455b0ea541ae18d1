/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Who allocated the objects of a slab: a table for each page, with a slot for
 * each object. Frees are not followed: whether a slot is in use the page's own
 * bitmap says when user space looks.
 */
#pragma once

#include "liveset.h"

#define SLOTS_MAP(n)                                         \
	struct slots_##n##_map {                             \
		__uint(type, BPF_MAP_TYPE_HASH);             \
		__uint(map_flags, BPF_F_NO_PREALLOC);        \
		__uint(max_entries, 1);                      \
		__type(key, __u64);                          \
		__type(value, struct slots_##n);             \
	};                                                   \
	struct {                                             \
		__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);    \
		__uint(max_entries, MAX_STEPS);              \
		__type(key, __u32);                          \
		__array(values, struct slots_##n##_map);     \
	} tables_##n SEC(".maps");

/* tables_14 to tables_494. key: the step; value: a map from a page's address to
 * its table. Written by the programs, read by user space for a snapshot.
 * Capacity: steps, as in live. When all are full the page's objects stay
 * without stacks: COUNTER_SLOTS_FULL. */
FOR_EACH_SLOTS_CLASS(SLOTS_MAP)

/* As live_steps and live_step, for each class; and how many tables there are. */
volatile __u32 slots_steps[SLOTS_CLASS_COUNT], slots_step[SLOTS_CLASS_COUNT];
__u32 slots_used[SLOTS_CLASS_COUNT];

/* The layouts of BIRD's slabs, set by user space. */
const volatile struct slab_layout slabs, mslabs, islabs;

/* A table without any allocation: too large for the stack of a program. */
const struct slots_494 no_slots;

/* The smallest class for that many objects. */
static __always_inline __u32 slots_class(__u32 objects)
{
#define CLASS_FOR(n)           \
	if (objects <= n)      \
		return SLOTS_CLASS_##n;
	FOR_EACH_SLOTS_CLASS(CLASS_FOR)
	return SLOTS_CLASS_COUNT;
}

/* Makes an empty table for a page; the step in which it is, or an error. */
static __always_inline long make_slots(__u64 page, struct slots_head *head, __u32 class)
{
	if (class >= SLOTS_CLASS_COUNT || accepting != ACCEPTING)
		return -E2BIG;
	__u32 newest = slots_step[class], steps = slots_steps[class];

	for (__u32 i = 0; i < MAX_STEPS; i++) {
		__u32 k = newest + i;
		struct slots_head *made = NULL;
		int err; /* as in put */

		if (i >= steps)
			break;
		if (k >= steps)
			k -= steps;
		switch (class) {
#define MAKE(n)                                                                \
	case SLOTS_CLASS_##n: {                                                \
		void *map = bpf_map_lookup_elem(&tables_##n, &k);               \
		if (!map)                                                      \
			continue;                                              \
		err = bpf_map_update_elem(map, &page, &no_slots, BPF_ANY);     \
		if (!err)                                                      \
			made = bpf_map_lookup_elem(map, &page);                \
		break;                                                         \
	}
			FOR_EACH_SLOTS_CLASS(MAKE)
		default:
			return -E2BIG;
		}
		if (made) {
			*made = *head;
			__sync_fetch_and_add(&slots_used[class], 1);
			if (k > slots_step[class]) {
				slots_step[class] = k;
				tell_moved();
			}
			return k;
		}
		if (err != -E2BIG)
			return err ? err : -ENOENT;
	}
	return -E2BIG;
}

/* Writes who allocated the object at an offset in a page, of which slots and step
 * say where its table is, as in struct block. Returns how long such an object is,
 * or 0 if none begins there or the table is elsewhere. */
__noinline int write_slot(__u32 slots, __u32 step, __u64 page, __u32 offset, __u32 value)
{
	switch (slots - 1) {
#define WRITE(n)                                                               \
	case SLOTS_CLASS_##n: {                                                \
		void *map = bpf_map_lookup_elem(&tables_##n, &step);            \
		struct slots_##n *t = map ? bpf_map_lookup_elem(map, &page) : NULL; \
		if (!t || !t->head.size || offset < t->head.first)             \
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

/* Drops the table of a page that leaves the live set. */
static __always_inline void drop_slots(struct block *b, __u64 page)
{
	__u32 step = b->slots_step;

	switch (b->slots - 1) {
#define DROP(n)                                                                \
	case SLOTS_CLASS_##n: {                                                \
		void *map = bpf_map_lookup_elem(&tables_##n, &step);            \
		if (map && !bpf_map_delete_elem(map, &page))                   \
			__sync_fetch_and_add(&slots_used[SLOTS_CLASS_##n], -1); \
		break;                                                         \
	}
		FOR_EACH_SLOTS_CLASS(DROP)
	}
	b->slots = 0;
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
