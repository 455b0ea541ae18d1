//go:build ignore

// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Counts hits and does nothing else: what following a process would cost is
 * told by it beforehand, so it must cost as little as a probe can.
 */
#include <linux/types.h>
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "Dual BSD/GPL";

struct {
	/* key: the probe's cookie; value: its hits on each CPU. Written by the
	 * program, read by user space. Capacity: as many as there are probes,
	 * set at load. */
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} counts SEC(".maps");

SEC("uprobe.multi")
int count_hit(void *ctx)
{
	__u32 key = bpf_get_attach_cookie(ctx);
	__u64 *n = bpf_map_lookup_elem(&counts, &key);

	/* The program may be preempted between load and add, hence atomic. */
	if (n)
		__sync_fetch_and_add(n, 1);
	return 0;
}
