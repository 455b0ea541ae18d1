// SPDX-License-Identifier: Apache-2.0

#include "calls.h"

volatile unsigned long work;

static struct pool root, child;

APART void record(long id, unsigned long a, unsigned long b, unsigned long c)
{
	__asm__ volatile("" : : "r"(id), "r"(a), "r"(b), "r"(c) : "memory");
}

// Another file has another function of the name.
static APART void twice(unsigned n)
{
	work += n;
}

static APART void constants(void)
{
	take(&root, 100);
	take(&child, 0xfffffff0u);
	put(0);
	move(&root, &child, -3);
	work += change(200, 7);
}

static APART void loop(struct pool *p, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		put(p->blocks[i & 7]);
		p->blocks[i & 7] = p;
	}
	for (unsigned i = 1; i < n; i++)
		take(p, i * 3);
	do {
		work += change((unsigned char)n, n * 5);
	} while (--n);
}

// Unrolled entirely, and a condition that does not change within the loop.
static APART void unrolled(struct pool *p, unsigned n, int which)
{
	for (int i = 0; i < 4; i++)
		put(p->blocks[i]);
	for (unsigned i = 0; i < n; i++) {
		if (which)
			take(p, i + n);
		else
			put(p);
		p->taken += i;
	}
}

// In a list of DWARF 4, an empty range where the unit begins would end the list.
static APART void rotated(struct pool *p)
{
	work += 2;
	while (draw(p))
		work += 3;
}

static APART void branches(struct pool *p, int which)
{
	if (which > 2)
		take(p->parent, (unsigned)which);
	else if (which)
		take(p, p->taken);
	if (which == 4)
		put(p->blocks);
	else
		move(p, p->parent, which);
}

// Parameters on the stack and addresses of locals.
APART unsigned long many_live(struct pool *p, unsigned long a, unsigned long b, unsigned long c, unsigned long d)
{
	struct pool local = { .parent = p };
	unsigned long e = work, f = work * a, g = work + b, h = work ^ c, i = work | d, j = work - a;
	take(&local, (unsigned)a);
	move(&local, p, (long)b);
	put((void *)f);
	put((void *)(e + g));
	work = change((unsigned char)h, (unsigned)j);
	take(p, (unsigned)(i & 0xff));
	return a + b + c + d + e + f + g + h + i + j + local.taken;
}

int main(void)
{
	root.parent = &child;
	child.parent = &root;
	for (int i = 0; i < 8; i++)
		root.blocks[i] = &root.blocks[7 - i];
	child.taken = 5;
	rotated(&child);
	constants();
	twice(3);
	loop(&root, 9);
	unrolled(&root, 7, 0);
	unrolled(&child, 6, 1);
	for (int i = 0; i < 6; i++)
		branches(i & 1 ? &root : &child, i);
	work += many_live(&root, 1, 2, 3, 4) + many_live(&child, 5, 6, 7, 8);
	other_file(&root, 5);
	return 0;
}
