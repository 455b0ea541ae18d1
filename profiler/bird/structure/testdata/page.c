// SPDX-License-Identifier: Apache-2.0

#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "shape.h"

long page_size;
static _Bool use_fake;
static uint pages_total;

struct spare {
	struct spare *next, *prev;
};

#if GENERATION == 3
static _Thread_local struct spare *near;
static _Thread_local int near_count;
static struct spare *shared;

static void *alloc_page_global(void)
{
	struct spare *s = __atomic_exchange_n(&shared, NULL, __ATOMIC_ACQ_REL);
	if (s) {
		__atomic_store_n(&shared, s->next, __ATOMIC_RELEASE);
		return s;
	}
	char *fresh = mmap(NULL, 32 * page_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (fresh == MAP_FAILED)
		die("mmap of %ld failed", page_size);
	pages_total += 32;
	for (int i = 1; i < 32; i++)
		free_page(fresh + i * page_size);
	return fresh;
}
#else
static struct {
	struct spare *head, *null, *tail;
	uint count, most;
} spares = { .most = 64 };

static void *alloc_cold_page(void)
{
	void *page = mmap(NULL, page_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (page == MAP_FAILED)
		die("mmap of %ld failed", page_size);
	pages_total++;
	return page;
}
#endif

void *alloc_page(void)
{
	if (use_fake) {
		void *page = NULL;
		pages_total++;
		if (posix_memalign(&page, page_size, page_size) || !page)
			die("posix_memalign of %ld failed", page_size);
		return page;
	}
#if GENERATION == 3
	struct spare *s = near;
	if (s) {
		near = s->next;
		near_count--;
		return s;
	}
	CHECK(near_count == 0);
	return alloc_page_global();
#else
	if (!spares.count)
		return alloc_cold_page();
	struct spare *s = spares.head;
	s->prev->next = s->next;
	s->next->prev = s->prev;
	spares.count--;
	return s;
#endif
}

void free_page(void *page)
{
	if (use_fake) {
		pages_total--;
		free(page);
		return;
	}
	struct spare *s = page;
#if GENERATION == 3
	if (near_count < 128) {
		s->next = near;
		near = s;
		near_count++;
		return;
	}
	s->next = __atomic_exchange_n(&shared, NULL, __ATOMIC_ACQ_REL);
	__atomic_store_n(&shared, s, __ATOMIC_RELEASE);
#else
	struct spare *last = spares.tail;
	s->next = (struct spare *)&spares.null;
	s->prev = last;
	last->next = s;
	spares.tail = s;
	if (++spares.count > spares.most)
		madvise((void *)s, 0, MADV_DONTNEED);
#endif
}

void page_init(void)
{
	page_size = sysconf(_SC_PAGESIZE);
#if GENERATION == 2
	spares.head = (struct spare *)&spares.null;
	spares.tail = (struct spare *)&spares.head;
#endif
	if (page_size & (page_size - 1)) {
		use_fake = 1;
		page_size = 4096;
	}
}
