// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>
#include "chain.h"

static void *volatile last;

NOINLINE void *sink(long size)
{
	return last = malloc(size); // @sink
}

NOINLINE void fatal(int code)
{
	exit(code); // @fatal
}

ACROSS int across2(int n)
{
	return across1(n) + 2; // @across2
}
ACROSS int across4(int n)
{
	return across3(n) + 4; // @across4
}
