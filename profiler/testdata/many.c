// SPDX-License-Identifier: Apache-2.0
/*
 * Allocates and keeps, from 30 call stacks one after the other. A line of standard
 * input is what, how many bytes each has, and how many of them; what is churn
 * frees them again.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../fixture.h"
#include "shape.h"

#define STACKS 30

static slab *objects_of;

FRAME static void block(int bytes)
{
	void *volatile p = malloc(bytes);

	(void)p;
}

FRAME static void churn(int bytes)
{
	void *volatile p = malloc(bytes);

	free(p);
}

FRAME static void object(int bytes)
{
	(void)bytes;
	sl_alloc(objects_of);
}

/* Nothing writes to it, so it takes no memory. */
FRAME static void page(int bytes)
{
	(void)bytes;
	alloc_page();
}

FRAME static void at_depth(int depth, void (*make)(int), int bytes)
{
	if (depth)
		at_depth(depth - 1, make, bytes);
	else
		make(bytes);
	BARRIER();
}

static const struct {
	const char *name;
	void (*make)(int bytes);
} kinds[] = { { "blocks", block }, { "objects", object }, { "pages", page }, { "churn", churn } };

int main(void)
{
	char input[256], what[32];
	int bytes, n;

	page_init();
	resource_init();
	puts("ready");
	fflush(stdout);
	while (fgets(input, sizeof(input), stdin)) {
		if (sscanf(input, "%31s %d %d", what, &bytes, &n) != 3)
			return 1;
		if (!strcmp(what, "objects"))
			objects_of = sl_new(&root_pool, bytes);
		for (size_t k = 0; k < sizeof(kinds) / sizeof(*kinds); k++)
			for (long i = 0; !strcmp(kinds[k].name, what) && i < n; i++)
				at_depth(i * STACKS / n, kinds[k].make, bytes);
		puts("done");
		fflush(stdout);
	}
	return 0;
}
