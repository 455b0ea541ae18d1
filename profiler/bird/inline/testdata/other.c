// SPDX-License-Identifier: Apache-2.0

#include "calls.h"

// With LTO inlined into another file's function, or cloned.
static APART void split(struct pool *p, unsigned n)
{
	if (__builtin_expect(n > 3, 0)) {
		take(p, n);
		put(p);
		record(0, n, 0, 0);
	}
	work += n;
}

static APART void twice(unsigned n)
{
	work -= 2 * n;
}

void other_file(struct pool *p, unsigned n)
{
	twice(n);
	while (n--) {
		split(p, n);
		move(p->parent, p, (long)n << 33 | n);
	}
}
