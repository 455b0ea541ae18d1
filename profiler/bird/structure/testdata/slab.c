// SPDX-License-Identifier: Apache-2.0

#include <stdio.h>
#include <string.h>

#include "shape.h"

static void slab_free(struct resource *r);

static void slab_dump(struct resource *r, int indent)
{
	printf("%*sslab of %u\n", indent, "", ((slab *)r)->data_size);
}

static struct resource *slab_lookup(struct resource *r, unsigned long at)
{
	for (struct page_head *h = ((slab *)r)->partial.first; h; h = h->next)
		if ((unsigned long)h < at && at < (unsigned long)h + page_size)
			return r;
	return NULL;
}

static struct usage slab_memsize(struct resource *r)
{
	struct usage u = { };
	for (struct page_head *h = ((slab *)r)->partial.first; h; h = h->next)
		u.used += h->used * ((slab *)r)->obj_size;
	return u;
}

static const struct resclass sl_class = {
	.name = "Slab", .size = sizeof(slab), .free = slab_free, .dump = slab_dump,
	.lookup = slab_lookup, .memsize = slab_memsize,
};

enum { PARTIAL, FULL, EMPTY };

static void add_head(struct heads *l, struct page_head *h)
{
	CHECK(!h->in);
	h->in = l;
	h->next = l->first;
	h->prev = NULL;
	if (l->first)
		l->first->prev = h;
	else
		l->last = h;
	l->first = h;
}

static void remove_head(struct heads *l, struct page_head *h)
{
	CHECK(h->in == l);
	if (h->prev)
		h->prev->next = h->next;
	else
		l->first = h->next;
	if (h->next)
		h->next->prev = h->prev;
	else
		l->last = h->prev;
	h->in = NULL;
}

slab *sl_new(pool *p, uint size)
{
	slab *s = ralloc(p, &sl_class);
	s->data_size = size;
	size = (size + 15) & ~15u;
	s->obj_size = size;
	s->head_size = sizeof(struct page_head);
	do {
		s->objects = (page_size - s->head_size) / size;
		s->words = (s->objects + 31) / 32;
		s->head_size = (sizeof(struct page_head) + 4 * s->words + 15) & ~15u;
	} while (s->objects * size + s->head_size > page_size);
	if (!s->objects)
		die("slab of %u is too large", size);
	return s;
}

void *sl_alloc(slab *s)
{
	struct page_head *h;
#if GENERATION == 3
	CHECK(LOCKED((pool *)((char *)s->r.list - offsetof(pool, inside))));
#endif
	for (;;) {
		h = s->partial.first;
		if (!h && (h = s->empty.first)) {
			remove_head(&s->empty, h);
			add_head(&s->partial, h);
			h->state = PARTIAL;
			s->empties--;
		} else if (!h) {
			h = alloc_page();
			CHECK(((uintptr_t)h & (page_size - 1)) == 0);
			memset(h, 0, s->head_size);
			h->slab = s;
			add_head(&s->partial, h);
		}
		for (uint i = 0; i < s->words; i++) {
			if (h->bits[i] == ~0u)
				continue;
			uint n = 32 * i + __builtin_ctz(~h->bits[i]);
			if (n >= s->objects)
				break;
			h->bits[i] |= 1u << (n % 32);
			h->used++;
			return (char *)h + s->head_size + n * s->obj_size;
		}
		CHECK(h->state == PARTIAL);
		remove_head(&s->partial, h);
		add_head(&s->full, h);
		h->state = FULL;
	}
}

void *sl_allocz(slab *s)
{
	return memset(sl_alloc(s), 0, s->data_size);
}

void sl_free(void *object)
{
	struct page_head *h = (struct page_head *)((uintptr_t)object & ~(page_size - 1));
	slab *s = h->slab;
	uint offset = (char *)object - (char *)h - s->head_size;
	CHECK(offset % s->obj_size == 0);
	uint n = offset / s->obj_size;
	h->bits[n / 32] &= ~(1u << (n % 32));
	if (h->used-- == s->objects && h->state == FULL) {
		remove_head(&s->full, h);
		add_head(&s->partial, h);
		h->state = PARTIAL;
	} else if (!h->used) {
		remove_head(&s->partial, h);
		if (s->empties >= 1)
			free_page(h);
		else {
			add_head(&s->empty, h);
			h->state = EMPTY;
			s->empties++;
		}
	}
}

static void free_heads(struct heads *l)
{
	for (struct page_head *next, *h = l->first; h; h = next) {
		next = h->next;
		free_page(h);
	}
}

static void slab_free(struct resource *r)
{
	free_heads(&((slab *)r)->empty);
	free_heads(&((slab *)r)->partial);
	free_heads(&((slab *)r)->full);
}
