// SPDX-License-Identifier: Apache-2.0
/* Blocks of which each is held in one way only, or was. Prints what there is, a
 * line for each: what should be said of it, and its address. */

#include <alloca.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <unistd.h>

#include "shape.h"

static pool *p;
static void *volatile variable;
static void *volatile middle;
static _Thread_local void *volatile local;
static sem_t ready;

static void *block_in(pool *p, const char *what)
{
	void *b = mb_allocz(p, 100);
	printf("%s %lx\n", what, (unsigned long)b - offsetof(struct mblock, data));
	return b;
}

static void *block(const char *what)
{
	return block_in(p, what);
}

static __attribute__((noinline)) void dead(void)
{
	volatile char *room = alloca(64 << 10);
	void *volatile here = block("lost");
	room[0] = 0;
	(void)here;
}

static void *waits(void *arg)
{
	void *volatile here = *(void **)arg;
#if GENERATION == 3
	held[the_domain.order] = &the_domain;
#endif
	local = ((void **)arg)[1];
	((void *volatile *)arg)[0] = ((void *volatile *)arg)[1] = NULL;
	dead();
	sem_post(&ready);
	for (;;)
		pause();
	return here;
}

static void *spins(void *arg)
{
	void *volatile here = *(void **)arg;
	*(void *volatile *)arg = NULL;
	sem_post(&ready);
	for (;;)
		(void)here;
	return NULL;
}

/* The vector of its thread-local storage, which the C library allocates: the
 * second word at the thread pointer. Its stack, and that, is kept for others. */
static void *ends(void *arg)
{
	printf("ended %lx\n", (unsigned long)((void **)pthread_self())[1]);
	return arg;
}

/* So that no frame that stays has the addresses in it. */
static __attribute__((noinline)) void start(void **given)
{
	volatile char *room = alloca(64 << 10);
	room[0] = 0;
	variable = block("variable");
	middle = (char *)block("middle") + 50;
	given[0] = block("stack");
	given[1] = block("local");
	given[2] = block("running");
	local = block("local");
	dead();
	block_in(&root_pool, "lost"); /* the list of root_pool, a variable, ends here */
}

int main(void)
{
	static void *given[3];
	pthread_t t;
	void *volatile here;

	sem_init(&ready, 0, 0);
	page_init();
	resource_init();
#if GENERATION == 3
	p = rp_newf(&root_pool, &the_domain, "Roots %d", GENERATION);
#else
	p = rp_newf(&root_pool, "Roots %d", GENERATION);
#endif
	start(given);
	here = block("stack");
	pthread_create(&t, NULL, waits, given);
	sem_wait(&ready);
	pthread_create(&t, NULL, spins, given + 2);
	sem_wait(&ready);
	pthread_create(&t, NULL, ends, NULL);
	pthread_join(t, NULL);
	printf("ready\n");
	fflush(stdout);
	for (;;)
		pause();
	return here != NULL;
}
