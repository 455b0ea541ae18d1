/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the BPF programs and user space share. Go gets these types and
 * constants from the BTF of the compiled object (bpf2go); a Go test compares
 * sizes and offsets with the assertions below.
 */
#pragma once

#include <linux/bpf.h>
#include <linux/types.h>

/* The longest stack kept, in frames; deeper ones are cut and counted. */
#define MAX_FRAMES 256
/* Executable areas of the target: its ELF files and the vDSO. */
#define MAX_AREAS 256
/* Allocation functions that may be inside one another on one thread. */
#define MAX_PENDING 8

/*
 * The probed functions. A probe's cookie holds one in its lowest byte, in the
 * next one the DWARF number of the register with the argument where that is
 * not the first of the calling convention, and above these the address of the
 * function's entry.
 */
enum function {
	FUNCTION_NONE,
	FUNCTION_MALLOC,
	FUNCTION_CALLOC,
	FUNCTION_REALLOC,
	FUNCTION_FREE,
	FUNCTION_MEMALIGN,
	FUNCTION_ALIGNED_ALLOC,
	FUNCTION_POSIX_MEMALIGN,
	FUNCTION_VALLOC,
	FUNCTION_PVALLOC,
	FUNCTION_MB_ALLOC,
	FUNCTION_MB_ALLOCZ,
	FUNCTION_MB_REALLOC,
	FUNCTION_MB_FREE,
	FUNCTION_ALLOC_PAGE,
	FUNCTION_FREE_PAGE,
	FUNCTION_COUNT,
};

/* Why a walk up the stack ended. */
enum stack_end {
	STACK_COMPLETE,	      /* reached the entry of the process or thread */
	STACK_TOO_DEEP,	      /* more than MAX_FRAMES */
	STACK_NO_AREA,	      /* a return address in no known ELF file */
	STACK_NO_ROW,	      /* in a known file, but no FDE covers it */
	STACK_UNSUPPORTED,    /* a CFI rule that rows do not encode */
	STACK_READ_FAILED,    /* the target's stack could not be read */
	STACK_REGISTER_LOST,  /* the rule needs a register no caller preserves */
	STACK_NOT_GROWING,    /* the caller's frame is not above its callee's */
	STACK_END_COUNT,
};

/*
 * Counters, one per CPU each. The first group is the account: what came into
 * the live set and went out. Each of the second stands for something lost or odd; user
 * space shows every one of these that is not zero.
 */
enum counter {
	COUNTER_ALLOCATED_OBJECTS,
	COUNTER_ALLOCATED_BYTES,
	COUNTER_FREED_OBJECTS,
	COUNTER_FREED_BYTES,

	COUNTER_FREE_UNKNOWN,	    /* free of a block we never saw allocated */
	COUNTER_REALLOC_UNKNOWN,    /* realloc of one */
	COUNTER_ALLOCATION_FAILED,  /* the allocator itself returned NULL */
	COUNTER_MISSED_FREE,	    /* a block came back that we held live */
	COUNTER_MISSED_FREE_BYTES,
	COUNTER_LIVE_FULL,	    /* the live set is at its capacity */
	COUNTER_LIVE_FULL_BYTES,
	COUNTER_LIVE_NO_MEMORY,	    /* the kernel had no memory for an entry */
	COUNTER_LIVE_NO_MEMORY_BYTES,
	COUNTER_STACKS_FULL,	    /* no room for another distinct stack */
	COUNTER_THREAD_STATE_FAILED,/* no storage for this thread */
	COUNTER_PENDING_FULL,	    /* more than MAX_PENDING nested calls */
	COUNTER_RETURN_LOST,	    /* a return probe did not fire */
	COUNTER_RETURN_LOST_BYTES,
	COUNTER_RETURN_UNMATCHED,   /* a return without its entry */
	COUNTER_RESULT_READ_FAILED, /* posix_memalign's result was unreadable */
	COUNTER_PAGE_RETURN_UNKNOWN,/* a page came back that was not live */
	COUNTER_MB_MISMATCH,	    /* mb_* was entered, but no block of its size followed */
	COUNTER_COUNT,
};

/* One row of an unwind table: from pc (ELF vaddr) on, rules[rule] holds. */
struct unwind_row {
	__u32 pc;
	__u32 rule;
};

/* How the canonical frame address is computed (DWARF 5, 6.4.1). */
enum cfa_kind {
	CFA_UNDEFINED,
	CFA_UNSUPPORTED,
	CFA_END,
	CFA_REGISTER,
	CFA_DEREF,
	CFA_PLT,
	CFA_SIGNAL,
};

/* Where a callee-saved register's old value is. */
enum saved_kind {
	SAVED_SAME,
	SAVED_CFA, /* in memory at CFA + offset */
	SAVED_RBP, /* in memory at rbp + offset */
	SAVED_LOST, /* nowhere that rows can say */
};

#define CALLEE_SAVED 6 /* rbx, rbp, r12, r13, r14, r15 */

struct unwind_rule {
	__u8 cfa;	  /* enum cfa_kind */
	__u8 reg;	  /* DWARF number of the CFA's base */
	__s8 ra_reg;	  /* register that holds the return address, or -1 */
	__u8 rbp_based;	  /* some saved_kind is SAVED_RBP */
	__s32 off;	  /* added to the base */
	__s32 add;	  /* CFA_DEREF: added to what was read; CFA_PLT:
			   * 8 more from this (pc & 15) on */
	__s16 ra_off;	  /* return address at CFA + ra_off */
	__s16 saved[CALLEE_SAVED];	/* offsets */
	__u8 saved_kind[CALLEE_SAVED];	/* enum saved_kind */
};

/* An executable area and the rows of the file in it. */
struct unwind_area {
	__u64 start, end; /* addresses in the target, end exclusive */
	__u64 bias;	  /* address - ELF vaddr */
	__u32 first_row, row_count;
};

struct unwind_areas {
	__u32 count;
	__u32 pad;
	struct unwind_area area[MAX_AREAS]; /* sorted by start */
};

/* A live block. */
struct block {
	__u64 size;	/* as asked for, bytes */
	__u64 stack;	/* key in stacks */
	__u32 mark;	/* the mark that was current when it was allocated */
	__u16 function; /* enum function that returned it */
	__u16 mb;	/* enum function of the mb_* around it, or FUNCTION_NONE */
};

/* A distinct call stack and what was allocated there since the start. */
struct stack {
	__u64 allocated_objects;
	__u64 allocated_bytes;
	__u32 frames;
	__u32 end; /* enum stack_end */
	/* pc[0] is the allocation function's probe, the rest are return
	 * addresses or, above a signal frame, interrupted instructions
	 * (their bit in exact is set). */
	__u64 exact[MAX_FRAMES / 64];
	__u64 pc[MAX_FRAMES];
};

_Static_assert(sizeof(struct unwind_row) == 8, "unwind_row");
_Static_assert(sizeof(struct unwind_rule) == 32, "unwind_rule");
_Static_assert(sizeof(struct unwind_area) == 32, "unwind_area");
_Static_assert(sizeof(struct unwind_areas) == 8 + 32 * MAX_AREAS, "unwind_areas");
_Static_assert(sizeof(struct block) == 24, "block");
_Static_assert(sizeof(struct stack) == 24 + MAX_FRAMES / 8 + 8 * MAX_FRAMES, "stack");
