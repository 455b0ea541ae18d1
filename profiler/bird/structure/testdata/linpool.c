// SPDX-License-Identifier: Apache-2.0

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shape.h"

#define ROOM (page_size - offsetof(struct chunk, data))

static void lp_free(struct resource *r);

static void lp_dump(struct resource *r, int indent)
{
	printf("%*slinpool of %u\n", indent, "", ((linpool *)r)->total);
}

static struct resource *lp_lookup(struct resource *r, unsigned long at)
{
	for (struct chunk *c = ((linpool *)r)->first; c; c = c->next)
		if ((unsigned long)c < at && at < (unsigned long)c + page_size)
			return r;
	return NULL;
}

static struct usage lp_memsize(struct resource *r)
{
	return (struct usage){ .used = ((linpool *)r)->total + ((linpool *)r)->total_large };
}

static const struct resclass lp_class = {
	.name = "LinPool", .size = sizeof(linpool), .free = lp_free, .dump = lp_dump,
	.lookup = lp_lookup, .memsize = lp_memsize,
};

static void *large(linpool *m, uint size)
{
	struct chunk *c = xmalloc(sizeof(struct chunk) + size);
#if GENERATION == 3
	c->owner = m;
#endif
	c->next = m->first_large;
	m->first_large = c;
	m->total_large += size;
	return c->data;
}

static void *take(linpool *m, struct chunk *c, uint size)
{
	m->current = c;
	m->ptr = c->data + size;
	m->end = c->data + ROOM;
	return c->data;
}

static struct chunk *new_chunk(linpool *m)
{
	struct chunk *c = alloc_page();
	m->total += ROOM;
	c->next = NULL;
#if GENERATION == 3
	c->owner = m;
#endif
	if (m->current)
		m->current->next = c;
	else
		m->first = c;
	return c;
}

#if GENERATION == 3
#define ASSERT_LOCKED(m) CHECK(LOCKED((pool *)((char *)(m)->r.list - offsetof(pool, inside))))

static void *lp_alloc_slow(linpool *m, uint size)
{
	if (size > ROOM)
		return large(m, size);
	return take(m, new_chunk(m), size);
}
#else
#define ASSERT_LOCKED(m)
#endif

void *lp_alloc(linpool *m, uint size)
{
	ASSERT_LOCKED(m);
	unsigned char *a = (unsigned char *)(((uintptr_t)m->ptr + 15) & ~(uintptr_t)15);
	if (a + size <= m->end) {
		m->ptr = a + size;
		return a;
	}
#if GENERATION == 3
	return lp_alloc_slow(m, size);
#else
	if (size > ROOM)
		return large(m, size);
	if (m->current && m->current->next)
		return take(m, m->current->next, size);
	return take(m, new_chunk(m), size);
#endif
}

void *lp_allocu(linpool *m, uint size)
{
	ASSERT_LOCKED(m);
	unsigned char *a = m->ptr;
	if (a + size <= m->end) {
		m->ptr = a + size;
		return a;
	}
#if GENERATION == 3
	return lp_alloc_slow(m, size);
#else
	return lp_alloc(m, size);
#endif
}

void *lp_allocz(linpool *m, uint size)
{
	return memset(lp_alloc(m, size), 0, size);
}

#define FREE_LARGE(m, until) \
	for (struct chunk *c_; (c_ = (m)->first_large) && c_ != (until);) { \
		(m)->first_large = c_->next; \
		free(c_); \
	}

#if GENERATION == 3
struct lp_state *lp_save(linpool *m)
{
	ASSERT_LOCKED(m);
	struct lp_state *s = lp_alloc(m, sizeof(struct lp_state));
	CHECK(m->current);
	*s = (struct lp_state){ .p = m, .current = m->current, .large = m->first_large, .total_large = m->total_large };
	return s;
}

void lp_restore(linpool *m, struct lp_state *s)
{
	ASSERT_LOCKED(m);
	CHECK(s->p == m);
	m->current = s->current;
	m->ptr = (unsigned char *)s;
	m->end = s->current->data + ROOM;
	m->total_large = s->total_large;
	FREE_LARGE(m, s->large)
	for (struct chunk *c; (c = m->current->next);) {
		m->current->next = c->next;
		free_page(c);
	}
}

void lp_flush(linpool *m)
{
	lp_restore(m, m->initial);
	m->initial = lp_save(m);
}

linpool *lp_new(pool *p)
{
	linpool *m = ralloc(p, &lp_class);
	m->initial = lp_save(m);
	return m;
}
#else
void lp_save(linpool *m, struct lp_state *s)
{
	s->current = m->current;
	s->large = m->first_large;
	s->total_large = m->total_large;
	s->ptr = m->ptr;
}

void lp_restore(linpool *m, struct lp_state *s)
{
	struct chunk *c = s->current ? s->current : m->first;
	m->current = c;
	m->ptr = s->ptr ? s->ptr : c ? c->data : NULL;
	m->end = c ? c->data + ROOM : NULL;
	m->total_large = s->total_large;
	FREE_LARGE(m, s->large)
}

void lp_flush(linpool *m)
{
	struct chunk *c = m->first;
	m->current = c;
	m->ptr = c ? c->data : NULL;
	m->end = c ? c->data + ROOM : NULL;
	while (c && c->next) {
		struct chunk *d = c->next;
		c->next = d->next;
		free_page(d);
	}
	FREE_LARGE(m, NULL)
	m->total_large = 0;
}

linpool *lp_new(pool *p)
{
	return ralloc(p, &lp_class);
}
#endif

static void lp_free(struct resource *r)
{
	linpool *m = (linpool *)r;
	for (struct chunk *next, *c = m->first; c; c = next) {
		next = c->next;
		free_page(c);
	}
	FREE_LARGE(m, NULL)
}
