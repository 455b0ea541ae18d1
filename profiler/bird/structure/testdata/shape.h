// SPDX-License-Identifier: Apache-2.0

// Allocators in the shape of BIRD's: the structs have its layouts, GENERATION
// 2 or 3, the functions do in their own way what its functions do.

#include <stddef.h>
#include <stdint.h>

#ifndef GENERATION
#define GENERATION 2
#endif

typedef unsigned int uint;
struct pool;
struct resource;

struct usage {
	size_t used, extra;
};

struct resclass {
	const char *name;
	uint size;
	void (*free)(struct resource *);
	void (*dump)(struct resource *, int indent);
	struct resource *(*lookup)(struct resource *, unsigned long);
	struct usage (*memsize)(struct resource *);
};

#if GENERATION == 3
struct siblings {
	struct resource *first, *last;
};

struct domain {
	char lock[40];
	uint order;
	const char *name;
};

extern _Thread_local struct domain *held[8];
#else
struct link {
	struct link *next, *prev;
};

struct siblings {
	struct link *head, *null, *tail;
};
#endif

struct resource {
#if GENERATION == 3
	struct resource *next, *prev;
	struct siblings *list;
#else
	struct link n;
#endif
	const struct resclass *class;
};

typedef struct pool {
	struct resource r;
	struct siblings inside;
#if GENERATION == 3
	struct domain *domain;
#endif
	const char *name;
} pool;

struct chunk {
	struct chunk *next;
#if GENERATION == 3
	struct linpool *owner;
#endif
	max_align_t align[0];
	unsigned char data[0];
};

struct lp_state {
#if GENERATION == 3
	struct linpool *p;
	struct chunk *current, *large;
	uint total_large;
#else
	struct chunk *current, *large;
	unsigned char *ptr;
	uint total_large;
#endif
};

typedef struct linpool {
	struct resource r;
	unsigned char *ptr, *end;
	struct chunk *first, *current, *first_large;
#if GENERATION == 3
	struct lp_state *initial;
#endif
	uint total, total_large;
} linpool;

struct page_head {
	struct slab *slab;
	struct page_head *next, *prev;
	struct heads *in;
	uint16_t used;
	uint8_t state;
	uint32_t bits[0];
};

struct heads {
	struct page_head *first, *last;
};

typedef struct slab {
	struct resource r;
	uint obj_size, head_size, words, objects, empties, data_size;
	struct heads empty, partial, full;
} slab;

void die(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));
#define CHECK(x) do { if (!(x)) die("check %s failed in line %d", #x, __LINE__); } while (0)

void *xmalloc(uint size);
void *xrealloc(void *block, uint size);

extern pool root_pool;
void resource_init(void);
void *ralloc(pool *p, const struct resclass *c);
void rfree(void *res);
void rmove(void *res, pool *p);
#if GENERATION == 3
void rp_free(pool *p);
#else
#define rp_free rfree
#endif
void *mb_alloc(pool *p, uint size);
void *mb_allocz(pool *p, uint size);
void *mb_realloc(void *block, uint size);
void mb_free(void *block);
#if GENERATION == 3
extern struct domain the_domain;
pool *rp_new(pool *p, struct domain *d, const char *name);
#define NEW_POOL(p, name) rp_new(p, &the_domain, name)
#define LOCKED(p) (held[(p)->domain->order] == (p)->domain)
#else
pool *rp_new(pool *p, const char *name);
#define NEW_POOL(p, name) rp_new(p, name)
#endif

extern long page_size;
void page_init(void);
void *alloc_page(void);
void free_page(void *page);

linpool *lp_new(pool *p);
void *lp_alloc(linpool *m, uint size);
void *lp_allocu(linpool *m, uint size);
void *lp_allocz(linpool *m, uint size);
void lp_flush(linpool *m);
#if GENERATION == 3
struct lp_state *lp_save(linpool *m);
#else
void lp_save(linpool *m, struct lp_state *s);
#endif
void lp_restore(linpool *m, struct lp_state *s);

slab *sl_new(pool *p, uint size);
void *sl_alloc(slab *s);
void *sl_allocz(slab *s);
void sl_free(void *object);
