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
/* The kernel runs the programs in the target alone: nobody has to ask. */
const volatile __u32 only_target;
/* What mb_alloc adds to a request: sizeof(struct mblock), 32 in BIRD 2, 40 or
 * 48 in BIRD 3; 0 if user space does not know and any of them will do. */
const volatile __u64 mblock_header;

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
	union {
		struct stack stack;
		struct window window;
	};
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
	/* key: the thread; value: the walks up its stack. Apart from threads, for
	 * without memory for one of these there is no stack, but the event is not
	 * lost: COUNTER_THREAD_STATE_FAILED. Written and read by the programs. */
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct walks);
} walks SEC(".maps");

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

struct {
	/* key: a stack's number; value: struct stack_account. Written by the
	 * programs, read by user space for a snapshot. Capacity: set at load to
	 * that of stacks and what threads that find the same stack at once waste
	 * of numbers. A stack whose number is beyond is not kept. */
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 32768);
	__type(key, __u32);
	__type(value, struct stack_account);
} stack_accounts SEC(".maps");

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
	if (only_target)
		return 1;
	return !bpf_get_ns_current_pid_tgid(pidns_dev, pidns_inode, &id, sizeof(id)) && id.tgid == target_pid;
}

static __always_inline struct thread *this_thread(__u64 flags)
{
	return bpf_task_storage_get(&threads, bpf_get_current_task_btf(), NULL, flags);
}

/* Walks up the stack from where w->now begins, with the registers in t->unwinder,
 * and notes what it reads. The stack is then in t->stack, and its key in w->key.
 * A global function, so that the verifier looks at it once. */
__noinline int walk_stack(struct thread *t, struct walks *w)
{
	if (!t || !w)
		return 0;
	struct unwinder *u = &t->unwinder;
	struct stack *s = &t->stack;
	int end = STACK_TOO_DEEP;

	w->now.first = w->words;
	w->now.reads = w->now.span = 0;
	w->now.uses_bp = w->now.unkept = w->now.slots = 0;
	u->pc = w->now.pc;
	u->sp = w->now.sp;
	u->slot = 0;
	u->exact = 0;
	__builtin_memset(u->saved, 0, sizeof(u->saved));
	s->exact[0] = 1;
	for (__u64 i = 1; i < sizeof(s->exact) / 8; i++)
		s->exact[i] = 0;
	s->pc[0] = w->now.ip;
	s->frames = 1;
	u->hash = mix(w->now.ip);
	for (__u32 n = 1; n <= MAX_FRAMES; n++) {
		end = walk_frame(u, s, w, n);
		if (end != WALK_ON)
			break;
	}
	s->end = end;
	w->key = mix(u->hash ^ end);
	w->words += w->now.reads;
	return 0;
}

/* The number of the stack that was walked, STACK_NOT_KEPT if there is no room
 * for it. */
static __always_inline __u32 number_stack(struct thread *t, __u64 key)
{
	struct stack *s = bpf_map_lookup_elem(&stacks, &key);

	if (s)
		return s->number;
	__u32 number = __sync_fetch_and_add(&next_stack, 1);
	t->stack.number = number;
	if (bpf_map_lookup_elem(&stack_accounts, &number)) {
		bpf_map_update_elem(&stacks, &key, &t->stack, BPF_NOEXIST);
		s = bpf_map_lookup_elem(&stacks, &key);
	}
	if (!s) {
		count(COUNTER_STACKS_FULL, 1);
		return STACK_NOT_KEPT;
	}
	return s->number;
}

/* The path on which the allocation function that begins at ip was called: one that
 * was walked before, or is now. NULL if the kernel has no memory to walk it. */
static __always_inline struct path *find_path(struct pt_regs *ctx, struct thread *t, __u64 ip)
{
	struct walks *w = bpf_task_storage_get(&walks, bpf_get_current_task_btf(), NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);
	struct unwinder *u = &t->unwinder;

	if (!w) {
		count(COUNTER_STACKS_FULL, 1);
		return NULL;
	}
	w->now.ip = ip;
	w->now.pc = ctx->ip; /* where the allocation function returns to */
	w->now.sp = ctx->sp;
	w->now.bp = ctx->bp;
	__u32 i = find_walk(w, &t->window);
	if (i < PATHS)
		return &w->path[i];
	u->value[REG_RBX] = ctx->bx;
	u->value[REG_RBP] = ctx->bp;
	u->value[REG_R12] = ctx->r12;
	u->value[REG_R12 + 1] = ctx->r13;
	u->value[REG_R12 + 2] = ctx->r14;
	u->value[REG_R12 + 3] = ctx->r15;
	w->now.version = areas_version;
	walk_stack(t, w);
	w->now.number = number_stack(t, w->key);
	/* The tables may have changed on the way. */
	if (w->now.number >= STACK_FIRST && !w->now.unkept && areas_version == w->now.version) {
		w->made++;
		w->path[w->place & (PATHS - 1)] = w->now;
	}
	return &w->now;
}

/* Notes an allocation on a path and returns the number of its stack. */
static __always_inline __u32 record_stack(struct path *p, __u64 size)
{
	__u32 number = p ? p->number : STACK_NOT_KEPT;
	struct stack_account *a = number >= STACK_FIRST ? bpf_map_lookup_elem(&stack_accounts, &number) : NULL;

	if (a) {
		__sync_fetch_and_add(&a->objects, 1);
		__sync_fetch_and_add(&a->bytes, size);
	}
	return number;
}
