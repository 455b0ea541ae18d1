/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Walks that were made, so that they need not be made again.
 *
 * A walk is a function of what it reads, one after the other: where it reads
 * next, and whether it goes on, follows from what it has read so far, from the
 * pc, the stack pointer and rbp at its start, and from the tables, for which
 * areas_version stands. So if these are as they were, and so is every word that
 * was read, another walk would read the very same words in the same order and
 * come to the same stack: by induction, as each word's place follows from those
 * before it. It does not matter by which rules the frames were found. A walk that
 * read anything else is not kept: another register of its start, the kernel's
 * list of return probes, a word that is too far up or could not be read.
 */
#pragma once

#include "abi.h"
#include <bpf/bpf_helpers.h>

/* Words that a walk may read, if it is to be kept. */
#define PATH_READS 64
/* Words read that are kept in all, a power of two. */
#define WALKED_WORDS 512
/* How often a part of the stack is read for a comparison, at most. */
#define PATH_WINDOWS 8
/* Walks that are kept, a power of two; and how many are looked at for one. */
#define PATHS 32
#define PATH_PROBES 8

/* Where a walk began, what it came to, and where it noted what it read. */
struct path {
	__u64 ip, pc, sp, bp; /* at the start; ip is the allocation function's */
	__u64 first;	 /* the first word that it read is number first of all */
	__u32 version;	 /* areas_version; 0: nothing is kept */
	__u32 number;	 /* of the stack */
	__u16 reads;	 /* how many words it read */
	__u16 span;	 /* all of them are in so many words from sp on */
	__u8 uses_bp;
	__u8 unkept;	 /* it read something else */
	__u8 slots;	 /* and */
	__u32 table;	 /* as in struct block, of the last object from here */
};

/* The walks of one thread. */
struct walks {
	struct path now; /* the one that is being made */
	__u64 words;	 /* read so far by all */
	__u64 key;	 /* of the stack that was walked last */
	__u64 other;	 /* see find_walk */
	__u32 place, made;
	struct path path[PATHS];
	/* The last words read: where, in words from sp, and what was there. */
	__u64 word[WALKED_WORDS];
	__u16 at[WALKED_WORDS];
};

/* Never 0 once there are areas. */
extern volatile __u32 areas_version;

/* Reads a word for a walk, and notes it; whether it cannot be read. A global
 * function, so that the verifier looks at it once, as are those below. */
__noinline int read_user(struct walks *w, __u64 addr, __u64 *value)
{
	if (!w || !value)
		return -1;
	__u64 at = (addr - w->now.sp) / 8;
	__u32 n = w->now.reads;

	if (bpf_probe_read_user(value, sizeof(*value), (void *)addr)) {
		w->now.unkept = 1;
		return -1;
	}
	if (n >= PATH_READS || at >= 0xffff || (addr - w->now.sp) & 7) {
		w->now.unkept = 1;
		return 0;
	}
	__u64 i = (w->words + n) & (WALKED_WORDS - 1);
	w->at[i] = at;
	w->word[i] = *value;
	w->now.reads = n + 1;
	if (at >= w->now.span)
		w->now.span = at + 1;
	return 0;
}

/* A part of the target's stack, as long as struct stack, with which it shares its
 * place. */
#define WINDOW_WORDS (sizeof(struct stack) / 8)

struct window {
	__u64 word[WINDOW_WORDS];
	__u32 first, count; /* which words of the stack, from sp on */
};

/* Compares what a walk read, from number n on, with the window. Returns the number
 * of the first word that is not in the window or, less PATH_READS + 1, that is not
 * the same; how many there are if all are. */
__noinline int compare_reads(struct walks *w, struct path *p, struct window *v, __u32 n)
{
	if (!w || !p || !v)
		return -1;
	for (int i = 0; i < PATH_READS && n < p->reads; i++, n++) {
		__u64 k = (p->first + n) & (WALKED_WORDS - 1);
		__u32 at = w->at[k] - v->first;

		if (at >= v->count || at >= WINDOW_WORDS)
			break;
		if (v->word[at] != w->word[k])
			return (int)n - (PATH_READS + 1);
	}
	return n;
}

/* Whether all that a walk read is as it was. If not, what is different is left in
 * w->other. */
__noinline int reads_the_same(struct walks *w, struct path *p, struct window *v)
{
	if (!w || !p || !v)
		return 0;
	__u32 done = 0;

	/* One read of many words costs little more than one of a single word,
	 * which costs as much as ten comparisons. */
	for (int i = 0; i < PATH_WINDOWS; i++) {
		int n = compare_reads(w, p, v, done);

		if (n < 0) {
			done = n + PATH_READS + 1;
			__u32 at = w->at[(p->first + done) & (WALKED_WORDS - 1)] - v->first;
			w->other = (at < WINDOW_WORDS ? v->word[at] : 0) + done;
			return 0;
		}
		if (n >= p->reads)
			return 1;
		done = n;
		__u32 first = w->at[(p->first + done) & (WALKED_WORDS - 1)];
		__u32 count = p->span - first;

		if (count > WINDOW_WORDS)
			count = WINDOW_WORDS;
		v->first = first;
		v->count = 0;
		if (bpf_probe_read_user(v->word, 8 * count, (void *)p->sp + 8 * first))
			break;
		v->count = count;
	}
	w->other = 0;
	return 0;
}

/* One round of a multiply-xorshift hash: with some thousand distinct stacks,
 * two of the same 64 bits are less likely than a memory error. */
static __always_inline __u64 mix(__u64 h)
{
	h *= 0x9e3779b97f4a7c15ULL;
	return h ^ (h >> 29);
}

/*
 * Finds the walk that would be made from where w->now begins. Returns which of
 * w->path it is, or PATHS if none is; w->place is then where it is to be kept.
 * Which one to look at first the begin tells; after one from the same begin, the
 * first word that differs: paths that are the same for a while are not to drive
 * each other out.
 */
__noinline int find_walk(struct walks *w, struct window *v)
{
	if (!w || !v)
		return PATHS;
	__u32 version = areas_version;
	__u64 h = mix(w->now.pc ^ w->now.sp << 24);

	w->place = h >> 32 & (PATHS - 1);
	v->count = 0;
	for (__u32 i = 0; i < PATH_PROBES; i++) {
		__u32 place = h >> 32 & (PATHS - 1);
		struct path *p = &w->path[place];

		/* Of other tables, or what it read is written over meanwhile. */
		if (p->version != version || w->words - p->first > WALKED_WORDS) {
			w->place = place;
			break;
		}
		if (p->pc != w->now.pc || p->sp != w->now.sp || p->ip != w->now.ip || (p->uses_bp && p->bp != w->now.bp)) {
			if (i <= (w->made & (PATH_PROBES - 1)))
				w->place = place;
			h = mix(h + 1);
			continue;
		}
		if (reads_the_same(w, p, v))
			return place;
		h = mix(h ^ w->other);
	}
	return PATHS;
}
