/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Which blocks and objects are followed where not all are. */
#pragma once

#include "kernel.h"
#include <bpf/bpf_helpers.h>

#define MAX_LENGTHS 16

/* Lengths from least to most, bytes. */
struct lengths {
	__u64 least, most;
};

/* How long the blocks and objects are that are followed, and how many ranges
 * that is: 0 for all. Set by user space before the programs are loaded. */
const volatile struct lengths followed_blocks[MAX_LENGTHS], followed_objects[MAX_LENGTHS];
const volatile __u32 followed_blocks_count, followed_objects_count;

static __always_inline int is_followed(const volatile struct lengths *all, __u32 n, __u64 length)
{
	if (!n)
		return 1;
	for (__u32 i = 0; i < MAX_LENGTHS; i++) {
		if (i >= n)
			break;
		if (length >= all[i].least && length <= all[i].most)
			return 1;
	}
	return 0;
}
