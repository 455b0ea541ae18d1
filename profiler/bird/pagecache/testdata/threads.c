// SPDX-License-Identifier: Apache-2.0

// Prints the id and the thread pointer of each of its threads, then a dot. A
// number on its input says how many there shall be besides the first.

#define _GNU_SOURCE
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

#define MOST 64

static pthread_t threads[MOST];
static pthread_barrier_t told;
static int count;
static volatile int leave[MOST];

static void tell(void)
{
	uintptr_t pointer;
	__asm__("mov %%fs:0, %0" : "=r"(pointer));
	printf("%d %lx\n", gettid(), pointer);
}

static void *run(void *arg)
{
	int self = (int)(intptr_t)arg;
	tell();
	pthread_barrier_wait(&told);
	while (!leave[self])
		usleep(1000);
	return NULL;
}

int main(void)
{
	pthread_barrier_init(&told, NULL, 2);
	tell();
	puts(".");
	fflush(stdout);
	for (int want; scanf("%d", &want) == 1 && want <= MOST;) {
		while (count > want) {
			leave[--count] = 1;
			pthread_join(threads[count], NULL);
		}
		for (; count < want; count++) {
			leave[count] = 0;
			pthread_create(&threads[count], NULL, run, (void *)(intptr_t)count);
			pthread_barrier_wait(&told);
		}
		puts(".");
		fflush(stdout);
	}
	return 0;
}
