// SPDX-License-Identifier: Apache-2.0
/*
 * Allocates and frees by a seeded random script, and prints what is live. A
 * line "run SEED N" does N operations, "threads N" does some on so many other
 * threads that stay, "truth" prints "ADDRESS SIZE USABLE" for each live block
 * and "arena IN_USE FREE MAPPINGS BYTES" by malloc's own account, "drop" frees
 * all, "fill N" has N small blocks, "busy" never stops allocating.
 */
#include <malloc.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SLOTS = 1 << 20 };

struct slot {
	void *memory;
	size_t size;
};

static struct slot slots[SLOTS];
static char outBuffer[1 << 16];

static uint64_t next(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

/* Mostly small, some of a page and more, few that are mappings of their own. */
static size_t some_size(uint64_t *state)
{
	uint64_t r = next(state);

	switch (r % 64) {
	case 0:
		return r >> 8 & 0x3ffff;
	case 1: case 2: case 3:
		return r >> 8 & 0x3fff;
	case 4:
		return 640; /* as large as malloc's own cache of a thread */
	case 5:
		return 0x2f0;
	default:
		return r >> 8 & 0xff;
	}
}

static void run(struct slot *own, size_t count, uint64_t seed, long n)
{
	uint64_t state = seed * 0x9e3779b97f4a7c15u + 1;

	for (long i = 0; i < n; i++) {
		struct slot *s = own + next(&state) % count;

		if (s->memory && next(&state) % 4 == 0) {
			size_t size = some_size(&state) + 1;
			void *moved = realloc(s->memory, size);

			if (!moved)
				abort();
			s->memory = moved;
			s->size = size;
			memset(s->memory, (int)next(&state), s->size);
		} else if (s->memory) {
			free(s->memory);
			s->memory = NULL;
		} else {
			s->size = some_size(&state);
			s->memory = next(&state) % 16 ? malloc(s->size) : calloc(1, s->size);
			if (!s->memory)
				abort();
			memset(s->memory, (int)next(&state), s->size);
		}
	}
}

/* One in eight is freed again, so that there are free chunks between. */
static void fill(long n)
{
	uint64_t state = 1;

	for (long i = 0; i < n && i < SLOTS; i++) {
		free(slots[i].memory);
		slots[i].size = 1 + next(&state) % 120;
		slots[i].memory = malloc(slots[i].size);
	}
	for (long i = 0; i < n && i < SLOTS; i += 8) {
		free(slots[i].memory);
		slots[i].memory = NULL;
	}
}

static pthread_barrier_t barrier;

static void *thread(void *arg)
{
	size_t i = (size_t)arg;

	run(slots + SLOTS / 2 + i * 1000, 1000, i + 7, 50000);
	pthread_barrier_wait(&barrier);
	pause();
	return NULL;
}

static void start_threads(long n)
{
	pthread_barrier_init(&barrier, NULL, n + 1);
	for (long i = 0; i < n; i++) {
		pthread_t t;

		if (pthread_create(&t, NULL, thread, (void *)i))
			abort();
	}
	pthread_barrier_wait(&barrier);
}

__attribute__((noinline)) static void truth(void)
{
	struct mallinfo2 m = mallinfo2();

	printf("arena %zu %zu %zu %zu\n", m.uordblks, m.fordblks, m.hblks, m.hblkhd);
	for (long i = 0; i < SLOTS; i++)
		if (slots[i].memory)
			printf("block %p %zu %zu\n", slots[i].memory, slots[i].size, malloc_usable_size(slots[i].memory));
}

int main(void)
{
	char line[128];
	unsigned long long seed;
	long n;

	setvbuf(stdout, outBuffer, _IOFBF, sizeof outBuffer);
	if (getenv("ONE_ARENA"))
		mallopt(M_ARENA_MAX, 1);
	puts("ready");
	fflush(stdout);
	for (size_t len = 0; read(0, line + len, 1) == 1;) {
		if (line[len] != '\n') {
			len += len < sizeof line - 2;
			continue;
		}
		line[len] = 0;
		len = 0;
		if (sscanf(line, "run %llu %ld", &seed, &n) == 2)
			run(slots, SLOTS / 2, seed, n);
		else if (sscanf(line, "few %llu %ld", &seed, &n) == 2)
			run(slots, 1000, seed, n);
		else if (sscanf(line, "fill %ld", &n) == 1)
			fill(n);
		else if (sscanf(line, "threads %ld", &n) == 1)
			start_threads(n);
		else if (!strcmp(line, "truth"))
			truth();
		else if (!strcmp(line, "drop"))
			for (long i = 0; i < SLOTS / 2; i++) {
				free(slots[i].memory);
				slots[i].memory = NULL;
			}
		else if (!strcmp(line, "busy"))
			for (seed = 1;; seed++)
				run(slots, 1000, seed, 1000);
		puts("done");
		fflush(stdout);
	}
	return 0;
}
