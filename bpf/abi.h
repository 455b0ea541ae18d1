/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the BPF programs and user space share. Go gets these types and
 * constants from the BTF of the compiled object (bpf2go); a Go test compares
 * sizes and offsets with the assertions below.
 */
#pragma once

#include <linux/bpf.h>
#include <linux/types.h>

/* The longest stack kept, in frames; deeper ones are cut and counted. With
 * this many, an entry of the map of stacks just fits into 2048 bytes. */
#define MAX_FRAMES 240
/* Executable areas of the target: its ELF files and the vDSO. */
#define MAX_AREAS 256
/* Allocation functions that may be inside one another on one thread. */
#define MAX_PENDING 8
/* How many maps a set that grows may consist of. */
#define MAX_STEPS 8

/*
 * A probe's cookie, by the lowest bit of each of its parts. At a return it is
 * the function and the address of its entry. At an entry, where the probe may be
 * some instructions into the function: the function, how far rsp is below what
 * it was when the function was called, and where its arguments are, those that
 * its program reads, in their order.
 */
enum cookie {
	COOKIE_FUNCTION = 0,   /* enum function, 8 bits */
	COOKIE_DEPTH = 8,      /* words of 8 bytes, 8 bits */
	COOKIE_ARGUMENTS = 16, /* 24 bits each, 0: as the calling convention says */
	COOKIE_ENTRY = 16,     /* return: address, 48 bits */
	ARGUMENT_BITS = 24,
	/* Of an argument: */
	ARGUMENT_GIVEN = 0,    /* 1 bit, always set */
	ARGUMENT_LOAD = 1,     /* 1 bit: it is in memory, at the sum of these: */
	ARGUMENT_REGISTER = 2, /* 4 bits, as instructions number them: rax, rcx, rdx, rbx, rsp, ... */
	ARGUMENT_OFFSET = 8,   /* 16 bits, signed */
};

/* The probed functions. */
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
	FUNCTION_SL_ALLOC,
	FUNCTION_MSL_ALLOC,
	FUNCTION_MSL_ALLOC_FROM_PAGE,
	FUNCTION_ISL_ALLOC,
	FUNCTION_LP_ALLOC,
	FUNCTION_LP_ALLOCU,
	FUNCTION_LP_ALLOCZ,
	FUNCTION_COUNT,
	/* Not probed. An entry of the live set that stands for no block: it was
	 * freed while the blocks from before were being taken in. */
	FUNCTION_FREED = 0xff,
};

/* Numbers of stacks that are none. Those of stacks begin at STACK_FIRST. */
enum stack_number {
	STACK_NONE,	/* in a slot: no allocation was seen */
	STACK_NOT_KEPT,	/* there was no room for it */
	STACK_BEFORE,	/* allocated before the probes were there */
	STACK_FIRST,
};

/* Whether new blocks come into the live set. */
enum acceptance {
	ACCEPTING,
	ACCEPTING_SHORT, /* not: the machine runs short of memory */
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
	COUNTER_MISSED_PAGE_RETURN, /* a page was taken that we held live */
	COUNTER_NOT_ACCEPTED,	    /* user space has stopped the set for want of memory */
	COUNTER_NOT_ACCEPTED_BYTES,
	COUNTER_OBJECT_NO_PAGE,	    /* an object on a page that is not in the live set */
	COUNTER_SLOTS_FULL,	    /* no room for the slots of another page */
	COUNTER_SLOTS_LOST,	    /* the slots of a page that was returned are given out no more */
	COUNTER_LINPOOL_OBJECTS_FULL,/* no room for another linpool object */
	COUNTER_ARGUMENT_READ_FAILED,/* an argument in the stack frame was unreadable */
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

/* A live block or page. */
struct block {
	__u64 size;	/* as asked for, bytes */
	__u32 stack;	/* number of its stack */
	__u16 mark;	/* the mark that was current when it was allocated */
	__u8 function;	/* enum function that returned it, FUNCTION_NONE for a
			 * block from before, FUNCTION_FREED */
	__u8 mb;	/* enum function of the mb_* around it, or FUNCTION_NONE */
	__u8 slots;	/* page: enum slots_class + 1 of its slots, 0: it has none */
	__u8 pad[3];
	__u32 table;	/* page with slots: the number of their table */
};

/*
 * What the live set has of a block or page, by the lowest bit of each part of its
 * two words. No entry is at where 0; one at address 0 is being written.
 */
struct entry {
	__u64 where, what;
};

enum entry_part {
	ENTRY_ADDRESS = 0,     /* where: of 8 bytes, 44 bits */
	ENTRY_FUNCTION = 44,   /* 5 bits */
	ENTRY_MB = 49,	       /* 2 bits, 0: FUNCTION_NONE, 1: FUNCTION_MB_ALLOC */
	ENTRY_SLOTS = 51,      /* 3 bits */
	ENTRY_SIZE_HIGH = 54,  /* 10 bits: what is above ENTRY_STACK's bits */
	ENTRY_SIZE = 0,	       /* what: 28 bits; of a page, which are all of one size, the table */
	ENTRY_STACK = 28,      /* 20 bits */
	ENTRY_MARK = 48,       /* 16 bits */
	ENTRY_FREED = 31,      /* FUNCTION_FREED, as ENTRY_FUNCTION has it */
	ENTRIES = 8,	       /* in a bucket */
};

/* A part of the live set: an address is in the bucket that its hash tells, or
 * where that is full in that of another step. It is two lines of cache. */
struct bucket {
	struct entry entry[ENTRIES];
};

/*
 * The slots of a page of slab objects. The tables come in classes, so that a
 * page with few objects does not pay for many.
 */
#define FOR_EACH_SLOTS_CLASS(DO) DO(8) DO(12) DO(28) DO(44) DO(108) DO(236) DO(508)
#define SLOTS_CLASS_NAME(n) SLOTS_CLASS_##n,
enum slots_class {
	FOR_EACH_SLOTS_CLASS(SLOTS_CLASS_NAME)
	SLOTS_CLASS_COUNT,
};

/* A table's number: which of its step, and above that the step. More of them than
 * the live set has: a table is not searched for. */
#define TABLE_STEP 23
#define TABLE_STEPS 32

struct slots_head {
	__u64 page;	/* whose it is; of a table that is nobody's the next one such,
			 * its number + 1 or 0, and TABLE_SPARE */
	__u16 first;	/* of the first object in the page, bytes */
	__u16 size;	/* of an object, bytes */
	__u16 count;	/* objects that fit */
	__u16 function;	/* enum function that returned them */
};

/* No page's address. */
#define TABLE_SPARE (1ULL << 63)

/* A slot: the number of the stack that allocated the object last, and above it
 * the mark of that time. Whether the object is live BIRD's bitmap tells. */
#define SLOT_STACK_BITS 20
#define SLOT_STACK_MASK ((1 << SLOT_STACK_BITS) - 1)
#define SLOT_MARK_MAX ((1 << (32 - SLOT_STACK_BITS)) - 1)

#define SLOTS_STRUCT(n)                  \
	struct slots_##n {               \
		struct slots_head head;  \
		__u32 slot[n];           \
	};
FOR_EACH_SLOTS_CLASS(SLOTS_STRUCT)

/* Where the resources that hand out objects of one size have what. */
struct slab_layout {
	__u64 class;	    /* address of its class; 0: there is none */
	__u32 class_at;	    /* offset of the class pointer in the resource */
	__u32 size_at;	    /* of the object's size (32 bits) */
	__u32 first_at;	    /* of where objects begin in a page */
	__u32 first_bytes;  /* 4 or 2: width of that */
};

/* What was allocated last at an address in a linpool. Whether it is live the
 * linpool's own state tells. */
struct linpool_object {
	__u64 time;	/* ns of the monotonic clock */
	__u32 size;	/* as asked for, bytes */
	__u32 stack;
	__u32 mark;
	__u32 function;
};

/* A distinct call stack. */
struct stack {
	__u32 number; /* by which blocks name it */
	__u16 frames;
	__u16 end; /* enum stack_end */
	/* pc[0] is the allocation function's probe, the rest are return
	 * addresses or, above a signal frame, interrupted instructions
	 * (their bit in exact is set). */
	__u64 exact[(MAX_FRAMES + 63) / 64];
	__u64 pc[MAX_FRAMES];
};

/* What was allocated at a stack since the start. */
struct stack_account {
	__u64 objects;
	__u64 bytes;
};

/* What a probe saw of a call, where sites are tried. */
struct seen {
	__u64 entered, returned; /* how often */
	__u64 argument[2];	 /* of the last call */
	__u64 top;		 /* the word at what rsp was at the entry: the return address */
	__u64 unreadable;	 /* how often it could not be read */
};

_Static_assert(sizeof(struct seen) == 48, "seen");
_Static_assert(sizeof(struct unwind_row) == 8, "unwind_row");
_Static_assert(sizeof(struct unwind_rule) == 32, "unwind_rule");
_Static_assert(sizeof(struct unwind_area) == 32, "unwind_area");
_Static_assert(sizeof(struct unwind_areas) == 8 + 32 * MAX_AREAS, "unwind_areas");
_Static_assert(sizeof(struct block) == 24, "block");
_Static_assert(sizeof(struct bucket) == 128, "bucket");
_Static_assert(FUNCTION_COUNT <= ENTRY_FREED, "ENTRY_FUNCTION");
_Static_assert(sizeof(struct slots_head) == 16, "slots_head");
_Static_assert(sizeof(struct slots_8) == 48, "slots_8");
_Static_assert(SLOTS_CLASS_COUNT < 8, "ENTRY_SLOTS");
_Static_assert(sizeof(struct slots_508) == 2048, "slots_508");
_Static_assert(sizeof(struct slab_layout) == 24, "slab_layout");
_Static_assert(sizeof(struct linpool_object) == 24, "linpool_object");
_Static_assert(sizeof(struct stack) == 8 + 32 + 8 * MAX_FRAMES, "stack");
_Static_assert(sizeof(struct stack_account) == 16, "stack_account");
