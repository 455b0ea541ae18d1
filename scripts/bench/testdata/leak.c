// SPDX-License-Identifier: Apache-2.0
//
// Frees as much as it allocates, but for what it is told to keep. For each line
// "KEPT PAIRS" it allocates and keeps so many blocks of 32 bytes, and allocates and frees
// so many of 64, evenly mixed; then it prints the bytes that it keeps, and the
// nanoseconds of CPU time that this took. It ends with its input.

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define FRAME __attribute__((noinline, noclone))

enum { KEPT = 32, PAIR = 64 };

static void *volatile last;
static long kept;

FRAME static void keep(void)
{
	last = malloc(KEPT);
	kept++;
}

FRAME static void pair(void)
{
	last = malloc(PAIR);
	free(last);
}

FRAME static void work(long keeps, long pairs)
{
	for (long i = 0, done = 0; i < pairs || done < keeps; i++) {
		for (; done < keeps && (pairs == 0 || i >= pairs || done * pairs < i * keeps); done++)
			keep();
		if (i < pairs)
			pair();
	}
}

static long long cpu_time(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

int main(void)
{
	// What the C library would allocate for them counts for nobody.
	static char in[4096], out[4096];
	long keeps, pairs;

	setvbuf(stdin, in, _IOFBF, sizeof(in));
	setvbuf(stdout, out, _IOFBF, sizeof(out));
	while (scanf("%ld %ld", &keeps, &pairs) == 2) {
		long long before = cpu_time();

		work(keeps, pairs);
		printf("%ld %lld\n", kept * KEPT, cpu_time() - before);
		fflush(stdout);
	}
}
