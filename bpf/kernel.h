/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The few kernel types the programs look into. Field offsets are relocated
 * at load time from the running kernel's BTF (CO-RE), so only the names
 * matter here; pt_regs is ABI between the kernel and uprobe programs.
 */
#pragma once

#include <linux/types.h>

struct pt_regs {
	unsigned long r15, r14, r13, r12, bp, bx;
	unsigned long r11, r10, r9, r8, ax, cx, dx, si, di;
	unsigned long orig_ax, ip, cs, flags, sp, ss;
};

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

/* include/linux/uprobes.h: a return probe that has not fired yet. */
struct return_instance {
	unsigned long stack;	       /* where the return address was */
	unsigned long orig_ret_vaddr;  /* what it was */
	struct return_instance *next;  /* of the outer call */
};

struct uprobe_task {
	struct return_instance *return_instances;
};

struct task_struct {
	struct uprobe_task *utask;
};

#pragma clang attribute pop
