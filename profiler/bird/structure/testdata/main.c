// SPDX-License-Identifier: Apache-2.0

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shape.h"

struct request {
	void (*done)(void *);
	struct request *next;
	uint n;
};

// done has the code of mb_free, but is only ever a callback.
static void done(void *r)
{
	mb_free(r);
}

// drop has the code of free with a test.
static void drop(void *p)
{
	if (p)
		free(p);
}

struct table {
	uint *rows;
	uint used, room;
};

static void grow(struct table *t, uint need)
{
	while (t->room < need)
		t->room = t->room + t->room / 2 + 4;
	t->rows = mb_realloc(t->rows, t->room * sizeof(uint));
}

static uint fill(pool *p, uint n)
{
	struct table t = { .rows = mb_alloc(p, 16), .room = 4 };
	for (uint i = 0; i < n; i++) {
		if (t.used == t.room)
			grow(&t, t.used + 1);
		t.rows[t.used++] = i * n;
	}
	uint last = t.rows[n / 2];
	mb_free(t.rows);
	return last;
}

static uint lines(linpool *m, slab *s, uint n)
{
	void *kept[64];
	uint sum = 0;
#if GENERATION == 3
	struct lp_state *state = lp_save(m);
#else
	struct lp_state buffer, *state = &buffer;
	lp_save(m, state);
#endif
	for (uint i = 0; i < 64; i++) {
		kept[i] = i % 2 ? sl_alloc(s) : sl_allocz(s);
		char *a = lp_alloc(m, n + i), *b = lp_allocz(m, 3 * n), *c = lp_allocu(m, i + 1);
		a[0] = b[0] = c[0] = i;
		sum += a[0] + b[1] + c[0];
	}
	lp_restore(m, state);
	for (uint i = 0; i < 64; i++)
		sl_free(kept[i]);
	lp_flush(m);
	return sum;
}

int main(int argc, char **argv)
{
	uint n = 10 * argc, sum = 0;
	page_init();
	resource_init();
	pool *p = NEW_POOL(&root_pool, "one"), *q = NEW_POOL(p, "two");
	linpool *m = lp_new(p);
	slab *s = sl_new(p, 40 + argc), *t = sl_new(q, 200);
	struct request *list = NULL;
	for (uint i = 0; i < n; i++) {
		struct request *r = i % 2 ? mb_alloc(p, sizeof *r) : mb_allocz(q, sizeof *r);
		r->done = i % 3 ? done : drop;
		r->next = list;
		r->n = fill(i % 2 ? p : q, n + i) + lines(m, i % 3 ? s : t, n);
		list = r;
	}
	rmove(t, p);
	for (struct request *r = list, *next; r; r = next) {
		next = r->next;
		sum += r->n;
		if (r->done == done)
			r->done(r);
		else
			mb_free(r);
	}
	void *raw = xrealloc(xmalloc(n), 2 * n);
	drop(raw);
	rfree(s);
	rfree(m);
	rp_free(q);
	rp_free(p);
	printf("%u %s\n", sum, argv[0] ? "done" : "");
	return 0;
}
