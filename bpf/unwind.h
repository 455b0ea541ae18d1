/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Walks the user stack by rows made from .eh_frame. Registers are restored
 * lazily: for each callee-saved one we carry the address it was saved at, and
 * read it only when a CFA depends on it, which for code without frame
 * pointers is almost never.
 */
#pragma once

#include "abi.h"
#include "kernel.h"
#include "path.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

/* DWARF register numbers on x86-64 (System V ABI, figure 3.36). */
enum {
	REG_RAX = 0,
	REG_RDX = 1,
	REG_RCX = 2,
	REG_RBX = 3,
	REG_RSI = 4,
	REG_RDI = 5,
	REG_RBP = 6,
	REG_RSP = 7,
	REG_R12 = 12,
	REG_COUNT = 16,
};

/* Where rt_sigframe's ucontext keeps the registers, from rsp in the signal
 * restorer (arch/x86/include/uapi/asm/sigcontext.h behind uc_flags, uc_link
 * and uc_stack). */
#define UCONTEXT_R8 40
#define UCONTEXT_RIP 168

/* In unwinder.saved: no address, the value is gone. */
#define LOST 1

struct unwinder {
	__u64 pc;
	__u64 sp;
	__u64 slot;	      /* where pc was read from, 0 at the start */
	__u64 value[REG_COUNT]; /* as found at the start */
	__u64 saved[REG_COUNT]; /* address of the value, or 0: see value */
	/* pc is an instruction that was about to run, and every register is
	 * known: above a signal frame. Otherwise, at the start too, pc is a
	 * return address, and only callee-saved registers are known. */
	__u32 exact;
	__u32 area; /* where the last pc was: most often the next one too */
	__u64 hash; /* of all pcs so far */
};

struct {
	/* key: index; value: unwind_row, sorted by pc within a file.
	 * Written by user space before the probes are attached, and behind
	 * the rows in use when a library appears later. Read by walk_frame.
	 * Capacity: set at load to what the target needs, and some room; when
	 * it is used up, further libraries get no rows (STACK_NO_AREA). */
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct unwind_row);
} rows SEC(".maps");

struct {
	/* key: unwind_row.rule; value: unwind_rule, each once.
	 * Writer, reader and capacity as for unwind_rows. */
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct unwind_rule);
} rules SEC(".maps");

struct {
	/* key: areas_version & 1; value: the target's executable areas. User
	 * space writes the one not in use, then counts areas_version up. Read by
	 * walk_frame. Areas beyond MAX_AREAS are left out by user space with a
	 * warning. */
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, struct unwind_areas);
} areas SEC(".maps");

/* Never 0 once there are areas. */
volatile __u32 areas_version;

/* The address that a pending return probe has replaced at slot, 0 if there is
 * none. A kernel that lays out its list in another way than CO-RE can follow
 * refuses the program at load. */
static __always_inline __u64 original_return(__u64 slot)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct return_instance *ri = BPF_CORE_READ(task, utask, return_instances);

	/* The kernel allows 64 pending ones (MAX_URETPROBE_DEPTH). When two
	 * share a slot (a tail call), both hold the true address. */
	for (int i = 0; i < 64 && ri; i++) {
		if (BPF_CORE_READ(ri, stack) == slot)
			return BPF_CORE_READ(ri, orig_ret_vaddr);
		ri = BPF_CORE_READ(ri, next);
	}
	return 0;
}

static __always_inline struct unwind_areas *current_areas(void)
{
	__u32 key = areas_version & 1;

	return bpf_map_lookup_elem(&areas, &key);
}

/* The area that holds addr, or NULL. */
static __always_inline struct unwind_area *find_area(struct unwind_areas *all, __u64 addr, __u32 *cached)
{
	struct unwind_area *a = &all->area[*cached & (MAX_AREAS - 1)];

	if (addr >= a->start && addr < a->end)
		return a;
	__u32 lo = 0, hi = all->count;
	/* 2^9 > MAX_AREAS */
	for (int i = 0; i < 9 && lo < hi; i++) {
		__u32 mid = (lo + hi) / 2;

		if (all->area[mid & (MAX_AREAS - 1)].start <= addr)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (!lo)
		return NULL;
	lo = (lo - 1) & (MAX_AREAS - 1);
	a = &all->area[lo];
	if (addr >= a->end)
		return NULL;
	*cached = lo;
	return a;
}

/* The rule for an ELF vaddr: that of the last row at or before it. */
static __always_inline struct unwind_rule *find_rule(struct unwind_area *a, __u32 vaddr)
{
	__u32 first = a->first_row, lo = first, hi = first + a->row_count;

	for (int i = 0; i < 24 && lo < hi; i++) {
		__u32 mid = lo + (hi - lo) / 2;
		struct unwind_row *row = bpf_map_lookup_elem(&rows, &mid);

		if (!row)
			return NULL;
		if (row->pc <= vaddr)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (lo == first)
		return NULL;
	lo--;
	struct unwind_row *row = bpf_map_lookup_elem(&rows, &lo);
	if (!row)
		return NULL;
	__u32 rule = row->rule;
	return bpf_map_lookup_elem(&rules, &rule);
}

/* The value of a register in the frame u stands at. */
static __always_inline int read_register(struct unwinder *u, struct walks *w, __u32 reg, __u64 *value)
{
	reg &= REG_COUNT - 1;
	if (reg == REG_RSP) {
		*value = u->sp;
		return STACK_COMPLETE;
	}
	if (!u->exact && reg != REG_RBX && reg != REG_RBP && reg < REG_R12)
		return STACK_REGISTER_LOST;
	__u64 at = u->saved[reg];
	if (at == LOST)
		return STACK_REGISTER_LOST;
	if (!at) {
		if (reg == REG_RBP)
			w->now.uses_bp = 1;
		else
			w->now.unkept = 1;
		*value = u->value[reg];
		return STACK_COMPLETE;
	}
	return read_user(w, at, value) ? STACK_READ_FAILED : STACK_COMPLETE;
}

static __always_inline void save_register(struct unwinder *u, struct unwind_rule *r, int i, __u32 reg, __u64 cfa, __u64 rbp)
{
	if (r->saved_kind[i] == SAVED_CFA)
		u->saved[reg] = cfa + r->saved[i];
	else if (r->saved_kind[i] == SAVED_RBP)
		u->saved[reg] = rbp + r->saved[i];
	else if (r->saved_kind[i] == SAVED_LOST)
		u->saved[reg] = LOST;
}

/* Notes where the caller's values of the callee-saved registers are. */
__noinline int save_registers(struct unwinder *u, struct unwind_rule *r, __u64 cfa, __u64 rbp)
{
	if (!u || !r)
		return 0;
	save_register(u, r, 0, REG_RBX, cfa, rbp);
	save_register(u, r, 1, REG_RBP, cfa, rbp);
	save_register(u, r, 2, REG_R12, cfa, rbp);
	save_register(u, r, 3, REG_R12 + 1, cfa, rbp);
	save_register(u, r, 4, REG_R12 + 2, cfa, rbp);
	save_register(u, r, 5, REG_R12 + 3, cfa, rbp);
	return 0;
}

/* Above a signal frame every register is known again, from the ucontext. */
static __always_inline int leave_signal(struct unwinder *u, struct walks *w)
{
	/* gregs: r8-r15, rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip */
	static const __u8 position[REG_COUNT] = { 13, 12, 14, 11, 9, 8, 10, 15, 0, 1, 2, 3, 4, 5, 6, 7 };
	__u64 context = u->sp + UCONTEXT_R8;

	for (int i = 0; i < REG_COUNT; i++)
		u->saved[i] = context + 8 * position[i];
	if (read_user(w, u->saved[REG_RSP], &u->sp))
		return STACK_READ_FAILED;
	u->slot = context - UCONTEXT_R8 + UCONTEXT_RIP;
	if (read_user(w, u->slot, &u->pc))
		return STACK_READ_FAILED;
	u->exact = 1;
	return STACK_COMPLETE;
}

#define WALK_ON (-1)

/*
 * Notes u->pc as frame number n of s and goes on to its caller. Returns
 * WALK_ON, or why the walk ends (enum stack_end). A global function, so that
 * the verifier looks at it once and not for every frame.
 */
__noinline int walk_frame(struct unwinder *u, struct stack *s, struct walks *w, __u32 n)
{
	if (!u || !s || !w)
		return STACK_READ_FAILED;
	if (n >= MAX_FRAMES)
		return STACK_TOO_DEEP;
	struct unwind_areas *all = current_areas();
	if (!all)
		return STACK_NO_AREA;

	/* A call may be a function's last instruction, so a return address is
	 * looked up by the byte before it. */
	__u64 addr = u->exact ? u->pc : u->pc - 1;
	struct unwind_area *a = find_area(all, addr, &u->area);
	if (!a) {
		/* In no file: the trampoline of a pending return probe? */
		w->now.unkept = 1;
		__u64 true_pc = u->slot ? original_return(u->slot) : 0;

		if (true_pc) {
			u->pc = true_pc;
			addr = true_pc - 1;
			a = find_area(all, addr, &u->area);
		}
	}
	s->pc[n] = u->pc;
	s->exact[n / 64] |= (__u64)u->exact << (n % 64);
	s->frames = n + 1;
	u->hash = mix(u->hash ^ u->pc);
	if (!a)
		return STACK_NO_AREA;
	struct unwind_rule *r = find_rule(a, addr - a->bias);
	if (!r)
		return STACK_NO_ROW;

	__u64 cfa, rbp = 0;
	int end;
	switch (r->cfa) {
	case CFA_UNDEFINED:
		return STACK_NO_ROW;
	case CFA_END:
		return STACK_COMPLETE;
	case CFA_SIGNAL:
		end = leave_signal(u, w);
		return end == STACK_COMPLETE ? WALK_ON : end;
	case CFA_REGISTER:
	case CFA_DEREF:
		end = read_register(u, w, r->reg, &cfa);
		if (end != STACK_COMPLETE)
			return end;
		cfa += r->off;
		if (r->cfa == CFA_DEREF) {
			if (read_user(w, cfa, &cfa))
				return STACK_READ_FAILED;
			cfa += r->add;
		}
		break;
	case CFA_PLT:
		cfa = u->sp + r->off + ((u->pc & 15) >= (__u32)r->add ? 8 : 0);
		break;
	default:
		return STACK_UNSUPPORTED;
	}
	if (cfa <= u->sp)
		return STACK_NOT_GROWING;

	__u64 pc, slot = cfa + r->ra_off;
	if (r->ra_reg >= 0) {
		slot = 0;
		end = read_register(u, w, r->ra_reg, &pc);
		if (end != STACK_COMPLETE)
			return end;
	} else if (read_user(w, slot, &pc)) {
		return STACK_READ_FAILED;
	}
	if (!pc)
		return STACK_COMPLETE; /* the psABI's mark of the outermost frame */

	/* Saves relative to rbp mean this frame's rbp, before it is restored. */
	if (r->rbp_based) {
		end = read_register(u, w, REG_RBP, &rbp);
		if (end != STACK_COMPLETE)
			return end;
	}
	save_registers(u, r, cfa, rbp);
	u->pc = pc;
	u->slot = slot;
	u->sp = cfa;
	u->exact = 0;
	return WALK_ON;
}
