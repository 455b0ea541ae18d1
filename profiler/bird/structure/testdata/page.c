// SPDX-License-Identifier: Apache-2.0

#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "shape.h"

long page_size;
static _Bool use_fake;

#if GENERATION == 3
struct spare {
	struct spare *next;
};

// Page that holds the addresses of pages whose memory the kernel has.
struct index {
	struct index *next;
	uint count;
	void *pages[0];
};

static _Thread_local struct spare *near;
static _Thread_local int near_count;
static struct spare *shared, cork;
static struct index *indexes;
static int near_total, shared_count, cold_count, index_count, pages_total;

#define ADD(counter, n) __atomic_fetch_add(&counter, n, __ATOMIC_RELAXED)

// The functions that use the shared stack hold these themselves, as BIRD's do.
#define WITHIN static inline __attribute__((always_inline))

WITHIN struct spare *take_shared(void)
{
	struct spare *top;
	while ((top = __atomic_exchange_n(&shared, &cork, __ATOMIC_ACQ_REL)) == &cork)
		usleep(1);
	return top;
}

WITHIN void leave_shared(struct spare *top)
{
	CHECK(__atomic_exchange_n(&shared, top, __ATOMIC_ACQ_REL) == &cork);
}

static void *alloc_page_global(void)
{
	struct spare *top = take_shared();
	leave_shared(top ? top->next : NULL);
	if (top) {
		ADD(shared_count, -1);
		return top;
	}
	struct index *first = indexes;
	if (first) {
		if (first->count) {
			for (uint i = 0; i < first->count - 1; i++)
				((struct spare *)first->pages[i])->next = first->pages[i + 1];
			((struct spare *)first->pages[first->count - 1])->next = take_shared();
			leave_shared(first->pages[0]);
			ADD(cold_count, -first->count);
			ADD(shared_count, first->count);
		}
		indexes = first->next;
		ADD(index_count, -1);
		return first;
	}
	char *fresh = mmap(NULL, 32 * page_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (fresh == MAP_FAILED)
		die("mmap of %ld failed", page_size);
	ADD(pages_total, 32);
	for (int i = 1; i < 32; i++)
		free_page(fresh + i * page_size);
	return fresh;
}

void cool_pages(void)
{
	struct spare *top;
	while (shared_count > 64 && (top = take_shared())) {
		leave_shared(top->next);
		ADD(shared_count, -1);
		if (!indexes || indexes->count == (page_size - sizeof(struct index)) / sizeof(void *)) {
			struct index *another = (struct index *)top;
			another->next = indexes;
			another->count = 0;
			indexes = another;
			ADD(index_count, 1);
			continue;
		}
		indexes->pages[indexes->count++] = top;
		madvise(top, page_size, MADV_DONTNEED);
		ADD(cold_count, 1);
	}
}
#else
struct spare {
	struct spare *next, *prev;
};

struct spare_list {
	struct spare *head, *null, *tail;
};

struct index {
	struct spare n;
	uint count;
	void *pages[0];
};

static struct {
	struct spare_list kept, indexes;
	uint16_t least, most;
	uint count;
} spares = { .least = 8, .most = 64 };

static uint cold_count, index_count, pages_total;

static void unlink_spare(struct spare *s)
{
	s->prev->next = s->next;
	s->next->prev = s->prev;
}

static void *alloc_cold_page(void)
{
	struct index *first = (struct index *)spares.indexes.head;
	if (first->n.next) {
		if (first->count) {
			cold_count--;
			return first->pages[--first->count];
		}
		index_count--;
		unlink_spare(&first->n);
		return first;
	}
	pages_total++;
	void *page = mmap(NULL, page_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (page == MAP_FAILED)
		die("mmap of %ld failed", page_size);
	return page;
}

void cool_pages(void)
{
	for (; spares.count > spares.most / 2; spares.count--) {
		struct spare *last = spares.kept.tail;
		unlink_spare(last);
		struct index *first = (struct index *)spares.indexes.head;
		if (!first->n.next || first->count == (page_size - sizeof(struct index)) / sizeof(void *)) {
			struct index *another = (struct index *)last;
			another->count = 0;
			another->n.next = &first->n;
			another->n.prev = (struct spare *)&spares.indexes;
			first->n.prev = spares.indexes.head = &another->n;
			index_count++;
			continue;
		}
		cold_count++;
		first->pages[first->count++] = last;
		madvise(last, page_size, MADV_DONTNEED);
	}
}
#endif

void *alloc_page(void)
{
	if (use_fake) {
		void *page = NULL;
#if GENERATION == 3
		ADD(pages_total, 1);
#else
		pages_total++;
#endif
		if (posix_memalign(&page, page_size, page_size) || !page)
			die("posix_memalign of %ld failed", page_size);
		return page;
	}
#if GENERATION == 3
	struct spare *s = near;
	if (s) {
		near = s->next;
		ADD(near_total, -1);
		near_count--;
		return s;
	}
	CHECK(near_count == 0);
	return alloc_page_global();
#else
	if (!spares.count)
		return alloc_cold_page();
	struct spare *s = spares.kept.head;
	unlink_spare(s);
	if (--spares.count < spares.least)
		cool_pages();
	return s;
#endif
}

void free_page(void *page)
{
	if (use_fake) {
#if GENERATION == 3
		ADD(pages_total, -1);
#else
		pages_total--;
#endif
		free(page);
		return;
	}
	struct spare *s = page;
#if GENERATION == 3
	if (near_count < 128) {
		s->next = near;
		near = s;
		ADD(near_total, 1);
		near_count++;
		return;
	}
	s->next = take_shared();
	leave_shared(s);
	if (ADD(shared_count, 1) >= 16384)
		cool_pages();
#else
	struct spare *last = spares.kept.tail;
	s->next = (struct spare *)&spares.kept.null;
	s->prev = last;
	last->next = s;
	spares.kept.tail = s;
	if (++spares.count > spares.most)
		cool_pages();
#endif
}

void page_init(void)
{
	page_size = sysconf(_SC_PAGESIZE);
#if GENERATION == 2
	for (struct spare_list *l = &spares.kept; l <= &spares.indexes; l++) {
		l->head = (struct spare *)&l->null;
		l->tail = (struct spare *)&l->head;
	}
#endif
	if (page_size & (page_size - 1)) {
		use_fake = 1;
		page_size = 4096;
	}
}
