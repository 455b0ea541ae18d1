// SPDX-License-Identifier: Apache-2.0

// Functions that are inlined wherever they are called. Each tells record,
// which is not, what it was called with.
#ifndef CALLS_H
#define CALLS_H

#define INLINED static inline __attribute__((always_inline))
#ifdef __clang__
#define APART __attribute__((noinline))
#else
#define APART __attribute__((noinline, noclone))
#endif

struct pool {
	struct pool *parent;
	unsigned taken;
	void *blocks[8];
};

// Ids of the functions, for record.
enum { TAKE = 1, PUT, MOVE, CHANGE, DRAW };

void record(long id, unsigned long a, unsigned long b, unsigned long c);

// Work that the compiler mixes with what is around.
extern volatile unsigned long work;

INLINED void take(struct pool *p, unsigned size)
{
	work += size;
	record(TAKE, (unsigned long)p, size, 0);
	p->taken++;
}

INLINED void put(void *block)
{
	if (!block)
		work++;
	record(PUT, (unsigned long)block, 0, 0);
}

// move inlines others.
INLINED void move(struct pool *from, struct pool *to, long n)
{
	record(MOVE, (unsigned long)from, (unsigned long)to, (unsigned long)n);
	put(from->blocks[n & 7]);
	take(to, (unsigned)n + 24);
}

// change modifies its parameter; the caller's value is what counts.
INLINED unsigned change(unsigned char small, unsigned size)
{
	record(CHANGE, small, size, 0);
	size = (size + 15) & ~15u;
	work += size;
	return size;
}

// draw begins with what a loop's condition is. Compilers test that once before
// the loop and again at its end, so there are two places where a call begins.
INLINED int draw(struct pool *p)
{
	if (!p->taken) {
		record(DRAW, (unsigned long)p, 0, 0);
		return 0;
	}
	p->taken--;
	record(DRAW, (unsigned long)p, 0, 1);
	return 1;
}

void other_file(struct pool *p, unsigned n);
unsigned long many_live(struct pool *p, unsigned long a, unsigned long b, unsigned long c, unsigned long d);

#endif
