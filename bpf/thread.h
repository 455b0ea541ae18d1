/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What every program begins with: whose hit it is, what its cookie says, and the
 * state of the thread; and what it leaves of it: the stack of an allocation.
 */
#pragma once

#include "argument.h"
#include "liveset.h"
#include "unwind.h"

/* The target, as numbered in its own pid namespace {dev, inode}, the only one
 * in which bpf_get_ns_current_pid_tgid() tells numbers. Not every way of
 * attaching filters by process (uprobe_multi before Linux 6.10 filters by
 * thread). */
const volatile __u32 target_pid;
const volatile __u64 pidns_dev, pidns_inode;
/* What mb_alloc adds to a request: sizeof(struct mblock), 32 in BIRD 2, 40 or
 * 48 in BIRD 3; 0 if user space does not know and any of them will do. */
const volatile __u64 mblock_header;

/* Bytes in one of alloc_page's pages. */
const volatile __u64 page_size;

/* Index of the current mark (phase and cycle), set by user space. */
volatile __u32 current_mark;

/* A call of an allocation function that has not returned. */
struct pending {
	__u64 sp; /* at the entry: where the return address is */
	__u64 size;
	__u64 result;	 /* posix_memalign: where it puts the pointer */
	__u64 old;	 /* realloc: the block */
	struct block block;
	__u32 function;
	__u16 nested;	 /* called by another one: the outermost counts */
	__u16 old_live;	 /* realloc: old was in the live set, as block says */
};

struct thread {
	__u32 depth;
	__u32 mb_function;
	__u64 mb_size, mb_sp;
	__u64 islab;   /* isl_alloc's argument */
	__u32 lp_size; /* lp_alloc's */
	struct pending pending[MAX_PENDING];
	struct unwinder unwinder;
	struct stack stack;
};

struct {
	/* key: the thread; value: its calls under way and room to walk its
	 * stack. Programs may be preempted, so per-CPU room would not do.
	 * Written and read by the programs; made at a thread's first event,
	 * freed by the kernel with the thread. When the kernel has no memory
	 * for one: COUNTER_THREAD_STATE_FAILED, and the event is lost. */
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct thread);
} threads SEC(".maps");

struct {
	/* key: hash of the stack's pcs and end; value: struct stack. Written
	 * by the programs, read by user space for a snapshot. Capacity: set at
	 * load from --max-memory. When it is full the block is accepted without
	 * a stack: COUNTER_STACKS_FULL. */
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 32768);
	__type(key, __u64);
	__type(value, struct stack);
} stacks SEC(".maps");

/* The number of the next distinct stack. */
volatile __u32 next_stack = STACK_FIRST;


struct {
	/* key: enum function, + FUNCTION_COUNT for its return; value: hits on
	 * each CPU. Written by the programs, read by user space. */
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 2 * FUNCTION_COUNT);
	__type(key, __u32);
	__type(value, __u64);
} hits SEC(".maps");

struct {
	/* key: enum function, + FUNCTION_COUNT where the test failed; value: how
	 * often what the function was given or returned could be tested for what
	 * it has to be, on each CPU. Written by the programs, read by user space,
	 * which takes the probes off a function that fails. */
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 2 * FUNCTION_COUNT);
	__type(key, __u32);
	__type(value, __u64);
} tests SEC(".maps");

static __always_inline int test(__u32 function, int passed)
{
	add(&tests, passed ? function : function + FUNCTION_COUNT, 1);
	return passed;
}

struct {
	/* key: 0; value: a program. Nobody writes or reads it, so it stays empty: see is_target. */
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} no_programs SEC(".maps");

const volatile __u32 never = 0;

/*
 * Whether we are in the target. Every program asks, so this is where each gets a
 * tail call that is never made: since Linux 6.13 (a76ab5731e32) a program of this
 * type with 64 bytes of stack or more has a stack for each CPU instead of the
 * kernel's, for which it must not be preempted; at uprobes it is (since 6.0,
 * 8c7dcb84e3b7), and the next hit on that CPU would write over it. A program that
 * can make a tail call has no such stack.
 */
static __always_inline int is_target(struct pt_regs *ctx)
{
	struct bpf_pidns_info id;

	if (never)
		bpf_tail_call(ctx, &no_programs, 0);
	return !bpf_get_ns_current_pid_tgid(pidns_dev, pidns_inode, &id, sizeof(id)) && id.tgid == target_pid;
}

static __always_inline struct thread *this_thread(__u64 flags)
{
	return bpf_task_storage_get(&threads, bpf_get_current_task_btf(), NULL, flags);
}

static __always_inline __u64 walk_stack(struct pt_regs *ctx, struct thread *t, __u64 ip)
{
	struct unwinder *u = &t->unwinder;
	struct stack *s = &t->stack;
	int end = STACK_TOO_DEEP;

	__builtin_memset(u, 0, sizeof(*u));
	u->pc = ctx->ip; /* where the allocation function returns to */
	u->sp = ctx->sp;
	u->value[REG_RBX] = ctx->bx;
	u->value[REG_RBP] = ctx->bp;
	u->value[REG_R12] = ctx->r12;
	u->value[REG_R12 + 1] = ctx->r13;
	u->value[REG_R12 + 2] = ctx->r14;
	u->value[REG_R12 + 3] = ctx->r15;
	s->exact[0] = 1;
	for (__u64 i = 1; i < sizeof(s->exact) / 8; i++)
		s->exact[i] = 0;
	s->pc[0] = ip;
	s->frames = 1;
	u->hash = mix(ip);
	for (__u32 n = 1; n <= MAX_FRAMES; n++) {
		end = walk_frame(u, s, n);
		if (end != WALK_ON)
			break;
	}
	s->end = end;
	return mix(u->hash ^ end);
}

/* The entry of the stack of an allocation, NULL if there is no room for it. */
static __always_inline struct stack *find_stack(struct pt_regs *ctx, struct thread *t, __u64 ip)
{
	__u64 key = walk_stack(ctx, t, ip);
	struct stack *s = bpf_map_lookup_elem(&stacks, &key);

	if (s)
		return s;
	t->stack.allocated_objects = 0;
	t->stack.allocated_bytes = 0;
	t->stack.number = __sync_fetch_and_add(&next_stack, 1);
	bpf_map_update_elem(&stacks, &key, &t->stack, BPF_NOEXIST);
	s = bpf_map_lookup_elem(&stacks, &key);
	if (!s)
		count(COUNTER_STACKS_FULL, 1);
	return s;
}

/* Notes an allocation at its stack and returns the stack's number. */
static __always_inline __u32 record_stack(struct stack *s, __u64 size)
{
	if (!s)
		return STACK_NOT_KEPT;
	__sync_fetch_and_add(&s->allocated_objects, 1);
	__sync_fetch_and_add(&s->allocated_bytes, size);
	return s->number;
}
