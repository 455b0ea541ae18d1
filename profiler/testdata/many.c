// SPDX-License-Identifier: Apache-2.0
/*
 * Allocates and keeps. A line of standard input is what, how many bytes each
 * has, and how many of them.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../fixture.h"
#include "shape.h"

FRAME static void blocks(int bytes, int n)
{
	for (int i = 0; i < n; i++) {
		void *volatile p = malloc(bytes);

		(void)p;
	}
}

FRAME static void objects(int bytes, int n)
{
	slab *s = sl_new(&root_pool, bytes);

	for (int i = 0; i < n; i++)
		sl_alloc(s);
}

/* Nothing writes to them, so they take no memory. */
FRAME static void pages(int bytes, int n)
{
	(void)bytes;
	for (int i = 0; i < n; i++)
		alloc_page();
}

static const struct {
	const char *name;
	void (*make)(int bytes, int n);
} kinds[] = { { "blocks", blocks }, { "objects", objects }, { "pages", pages } };

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
		for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++)
			if (!strcmp(kinds[i].name, what))
				kinds[i].make(bytes, n);
		puts("done");
		fflush(stdout);
	}
	return 0;
}
