// SPDX-License-Identifier: Apache-2.0

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shape.h"

void die(const char *format, ...)
{
	va_list args;
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	exit(1);
}

void *xmalloc(uint size)
{
	void *block = malloc(size);
	if (!block)
		die("no memory for %u bytes", size);
	return block;
}

void *xrealloc(void *block, uint size)
{
	block = realloc(block, size);
	if (!block)
		die("no memory for %u bytes", size);
	return block;
}

static void pool_free(struct resource *r);

static void pool_dump(struct resource *r, int indent)
{
	printf("%*spool %s\n", indent, "", ((pool *)r)->name);
}

static struct resource *pool_lookup(struct resource *r, unsigned long at)
{
	return (unsigned long)r <= at && at < (unsigned long)(r + 1) ? r : NULL;
}

static struct usage pool_memsize(struct resource *r)
{
	return (struct usage){ .extra = r->class->size };
}

static const struct resclass pool_class = {
	.name = "Pool", .size = sizeof(pool), .free = pool_free, .dump = pool_dump,
	.lookup = pool_lookup, .memsize = pool_memsize,
};

pool root_pool;

#if GENERATION == 3
_Thread_local struct domain *held[8];
struct domain the_domain = { .order = 3, .name = "the" };

static void unlink_resource(struct resource *r)
{
	struct siblings *l = r->list;
	if (r->prev)
		r->prev->next = r->next;
	else {
		CHECK(l->first == r);
		l->first = r->next;
	}
	if (r->next)
		r->next->prev = r->prev;
	else {
		CHECK(l->last == r);
		l->last = r->prev;
	}
	r->next = r->prev = NULL;
	r->list = NULL;
}

static void link_resource(struct siblings *l, struct resource *r)
{
	r->list = l;
	r->next = NULL;
	r->prev = l->last;
	if (l->last)
		l->last->next = r;
	else
		l->first = r;
	l->last = r;
}

static pool *parent(struct resource *r)
{
	return (pool *)((char *)r->list - offsetof(pool, inside));
}

pool *rp_new(pool *p, struct domain *d, const char *name)
{
	pool *z = ralloc(p, &pool_class);
	CHECK(p->domain->order <= d->order);
	z->inside = (struct siblings){ };
	z->domain = d;
	z->name = name;
	return z;
}

static void pool_free(struct resource *r)
{
	for (struct resource *next, *x = ((pool *)r)->inside.first; x; x = next) {
		next = x->next;
		x->class->free(x);
		free(x);
	}
}
#else
static void empty_list(struct siblings *l)
{
	l->head = (struct link *)&l->null;
	l->null = NULL;
	l->tail = (struct link *)&l->head;
}

static void unlink_resource(struct resource *r)
{
	r->n.prev->next = r->n.next;
	r->n.next->prev = r->n.prev;
	r->n = (struct link){ };
}

static void link_resource(struct siblings *l, struct resource *r)
{
	struct link *last = l->tail;
	r->n.next = (struct link *)&l->null;
	r->n.prev = last;
	last->next = &r->n;
	l->tail = &r->n;
}

pool *rp_new(pool *p, const char *name)
{
	pool *z = ralloc(p, &pool_class);
	z->name = name;
	empty_list(&z->inside);
	return z;
}

static void pool_free(struct resource *r)
{
	struct link *next;
	for (struct link *x = ((pool *)r)->inside.head; (next = x->next); x = next) {
		struct resource *c = (struct resource *)x;
		c->class->free(c);
		free(c);
	}
}
#endif

void resource_init(void)
{
	root_pool.r.class = &pool_class;
	root_pool.name = "Root";
#if GENERATION == 3
	held[the_domain.order] = &the_domain;
	root_pool.domain = &the_domain;
#else
	empty_list(&root_pool.inside);
#endif
}

void *ralloc(pool *p, const struct resclass *c)
{
	struct resource *r = xmalloc(c->size);
	memset(r, 0, c->size);
	r->class = c;
	if (p)
		link_resource(&p->inside, r);
	return r;
}

void rmove(void *res, pool *p)
{
	struct resource *r = res;
#if GENERATION == 3
	CHECK(LOCKED(p));
	unlink_resource(r);
	link_resource(&p->inside, r);
#else
	if (r) {
		if (r->n.next)
			unlink_resource(r);
		link_resource(&p->inside, r);
	}
#endif
}

void rfree(void *res)
{
	struct resource *r = res;
	if (!r)
		return;
#if GENERATION == 3
	CHECK(LOCKED(parent(r)));
	unlink_resource(r);
#else
	if (r->n.next)
		unlink_resource(r);
#endif
	r->class->free(r);
	r->class = NULL;
	free(r);
}

#if GENERATION == 3
// rp_free has the code of rfree behind another check.
void rp_free(pool *p)
{
	CHECK(LOCKED(p));
	rfree(p);
}
#endif

struct mblock {
	struct resource r;
	uint size;
	max_align_t align[0];
	unsigned char data[0];
};

static void mbl_free(struct resource *r)
{
	(void)r;
}

static void mbl_dump(struct resource *r, int indent)
{
	printf("%*sblock of %u\n", indent, "", ((struct mblock *)r)->size);
}

static struct resource *mbl_lookup(struct resource *r, unsigned long at)
{
	struct mblock *b = (struct mblock *)r;
	return (unsigned long)b->data <= at && at < (unsigned long)b->data + b->size ? r : NULL;
}

static struct usage mbl_memsize(struct resource *r)
{
	return (struct usage){ .used = ((struct mblock *)r)->size, .extra = sizeof(struct mblock) };
}

static const struct resclass mb_class = {
	.name = "Memory", .free = mbl_free, .dump = mbl_dump, .lookup = mbl_lookup, .memsize = mbl_memsize,
};

void *mb_alloc(pool *p, uint size)
{
#if GENERATION == 3
	CHECK(LOCKED(p));
#endif
	struct mblock *b = xmalloc(sizeof(struct mblock) + size);
	b->r.class = &mb_class;
	link_resource(&p->inside, &b->r);
	b->size = size;
	return b->data;
}

void *mb_allocz(pool *p, uint size)
{
	return memset(mb_alloc(p, size), 0, size);
}

static struct mblock *block_of(void *data)
{
	return (struct mblock *)((char *)data - offsetof(struct mblock, data));
}

void *mb_realloc(void *data, uint size)
{
	struct mblock *b = block_of(data);
#if GENERATION == 3
	struct siblings *l = b->r.list;
	CHECK(LOCKED(parent(&b->r)));
	b = xrealloc(b, sizeof(struct mblock) + size);
	if (b->r.prev)
		b->r.prev->next = &b->r;
	else
		l->first = &b->r;
	if (b->r.next)
		b->r.next->prev = &b->r;
	else
		l->last = &b->r;
#else
	b = xrealloc(b, sizeof(struct mblock) + size);
	b->r.n.prev->next = &b->r.n;
	b->r.n.next->prev = &b->r.n;
#endif
	b->size = size;
	return b->data;
}

void mb_free(void *data)
{
	if (!data)
		return;
	struct mblock *b = block_of(data);
#if GENERATION == 3
	memset(data, 0xbc, b->size);
#endif
	rfree(&b->r);
}
