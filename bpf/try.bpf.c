//go:build ignore

// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Sees what the programs that follow a process would see at a site, where that
 * site is tried. In the place of the function a cookie has the number of the
 * trial.
 */
#include "argument.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

struct {
	/* key: the trial; value: what was seen. Written by the programs, read by
	 * user space. Capacity: all that a cookie can hold. */
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 256);
	__type(key, __u32);
	__type(value, struct seen);
} trials SEC(".maps");

SEC("uprobe.multi")
int see_entry(struct pt_regs *ctx)
{
	__u64 cookie = bpf_get_attach_cookie(ctx), top = 0;
	__u32 trial = cookie_function(cookie);
	struct seen *s = bpf_map_lookup_elem(&trials, &trial);

	if (!s)
		return 0;
	s->entered++;
	s->argument[0] = argument(ctx, cookie, 0, 0);
	s->argument[1] = argument(ctx, cookie, 1, 0);
	if (bpf_probe_read_user(&top, sizeof(top), (void *)entry_sp(ctx, cookie)))
		s->unreadable++;
	s->top = top;
	return 0;
}

SEC("uretprobe.multi")
int see_return(struct pt_regs *ctx)
{
	__u32 trial = cookie_function(bpf_get_attach_cookie(ctx));
	struct seen *s = bpf_map_lookup_elem(&trials, &trial);

	if (s)
		s->returned++;
	return 0;
}
