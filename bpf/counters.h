/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What is counted, and how. */
#pragma once

#include "abi.h"
#include "kernel.h"
#include <bpf/bpf_helpers.h>

struct {
	/* key: enum counter; value: its count on each CPU. Written by the
	 * programs, read by user space. */
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, COUNTER_COUNT);
	__type(key, __u32);
	__type(value, __u64);
} counters SEC(".maps");

/* Programs may be preempted between load and add, hence atomic. */
static __always_inline void add(void *map, __u32 key, __u64 n)
{
	__u64 *value = bpf_map_lookup_elem(map, &key);

	if (value)
		__sync_fetch_and_add(value, n);
}

static __always_inline void count(enum counter c, __u64 n)
{
	add(&counters, c, n);
}
