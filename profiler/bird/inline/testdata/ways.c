// SPDX-License-Identifier: Apache-2.0

// Copies of seen in functions of which the ways are not plain.
#include <stdio.h>
#include <stdlib.h>

#define APART __attribute__((noinline, noclone))

static volatile unsigned long total;
static void (*volatile hook)(int);

static APART __attribute__((noreturn)) void fail(int code)
{
	printf("%d\n", code);
	exit(code);
}

static APART __attribute__((cold)) void rare(void)
{
	total ^= 1;
}

static inline __attribute__((always_inline)) void seen(unsigned long n)
{
	if (__builtin_expect(n == 17, 0)) {
		rare();
		total--;
		return;
	}
	total += n;
}

// The compiler puts what it takes for rare behind the rest, or apart: first the
// call of fail, which does not return, then that of rare.
static APART void checked(unsigned long n)
{
	if (__builtin_expect(n > 1000, 0))
		fail(1);
	seen(n);
}

static APART void called(int n)
{
	seen((unsigned long)n);
	hook(n);
	puts("called");
}

static APART int switched(int n, int m)
{
	seen((unsigned long)n);
	switch (n) {
	case 0: return puts("a");
	case 1: return printf("b%d\n", m);
	case 2: return m * 7;
	case 3: return m ^ n;
	case 4: total += 3; return m;
	case 5: return puts("f");
	case 6: exit(m);
	case 7: return m / 3;
	}
	return 0;
}

static void nothing(int n)
{
	(void)n;
}

int main(int argc, char **argv)
{
	(void)argv;
	hook = nothing;
	checked((unsigned long)argc);
	called(argc);
	return switched(argc - 1, argc);
}
