// SPDX-License-Identifier: Apache-2.0
/*
 * Allocates and frees again, in a loop at the end of a chain of calls, and
 * says how long it took on the CPU. A line of standard input is what, the
 * frames from main to the loop, how often, and by how many calls in turn.
 */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../fixture.h"
#include "shape.h"

static slab *objects;
static linpool *lines;

FRAME static void block(void)
{
	void *volatile p = malloc(32);
	free(p);
}

FRAME static void object(void)
{
	sl_free(sl_alloc(objects));
}

FRAME static void page(void)
{
	free_page(alloc_page());
}

FRAME static void line(void)
{
	static int n;

	lp_alloc(lines, 40);
	if (!(++n & 63))
		lp_flush(lines);
}

static const struct {
	const char *name;
	void (*once)(void);
} kinds[] = { { "block", block }, { "object", object }, { "page", page }, { "line", line } };

/* Each of them is another path. */
#define ONE(n) FRAME static void by_##n(void (*once)(void)) { once(); BARRIER(); }
ONE(0) ONE(1) ONE(2) ONE(3) ONE(4) ONE(5) ONE(6) ONE(7)
ONE(8) ONE(9) ONE(10) ONE(11) ONE(12) ONE(13) ONE(14) ONE(15)
static void (*const by[])(void (*)(void)) = {
	by_0, by_1, by_2, by_3, by_4, by_5, by_6, by_7, by_8, by_9, by_10, by_11, by_12, by_13, by_14, by_15,
};

static long long cpu(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

FRAME static long long loop(void (*once)(void), int n, int paths)
{
	long long start = cpu();

	for (int i = 0; i < n; i++)
		by[i % paths](once);
	return cpu() - start;
}

FRAME static long long small_frame(int depth, void (*once)(void), int n, int paths);

FRAME static long long large_frame(int depth, void (*once)(void), int n, int paths)
{
	volatile char room[160];

	room[depth] = 0;
	long long r = depth ? small_frame(depth - 1, once, n, paths) : loop(once, n, paths);
	return r + room[depth];
}

FRAME static long long small_frame(int depth, void (*once)(void), int n, int paths)
{
	volatile long room[2] = { depth, 0 };
	long long r = depth ? large_frame(depth - 1, once, n, paths) : loop(once, n, paths);

	return r + room[1];
}

int main(void)
{
	char input[256], what[32];
	int depth, n, paths;

	page_init();
	resource_init();
	objects = sl_new(&root_pool, 72);
	lines = lp_new(&root_pool);
	sl_alloc(objects); /* so that its page stays */
	puts("ready");
	fflush(stdout);
	while (fgets(input, sizeof(input), stdin)) {
		if (sscanf(input, "%31s %d %d %d", what, &depth, &n, &paths) != 4 || depth < 5 || paths < 1 || paths > 16)
			return 1;
		for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++)
			if (!strcmp(kinds[i].name, what)) /* small_frame, loop, by_*, the kind */
				printf("%lld\n", small_frame(depth - 5, kinds[i].once, n, paths));
		puts("done");
		fflush(stdout);
	}
	return 0;
}
