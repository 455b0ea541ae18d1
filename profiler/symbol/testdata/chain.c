// SPDX-License-Identifier: Apache-2.0
// Functions whose inline chains are known. "@name" marks a line for the test.
#include <stdlib.h>
#include "chain.h"

static volatile int counter;

// Five levels that every compiler inlines at every level of optimisation.
static ALWAYS int level1(int n)
{
	counter++;
	return sink(n) != 0; // @level1
}
static ALWAYS int level2(int n)
{
	return level1(n + 1) + counter; // @level2
}
static ALWAYS int level3(int n)
{
	for (int i = 0; i < n; i++) {
		int twice = 2 * i;
		counter += level2(twice); // @level3
	}
	return counter;
}
static ALWAYS int level4(int n)
{
	if (n > 3)
		return level3(n) + 4; // @level4
	return counter;
}
static ALWAYS int level5(int n)
{
	return level4(n) + 5; // @level5
}
NOINLINE int levels(int n)
{
	return level5(n) + 6; // @levels
}

ACROSS int across1(int n)
{
	counter += n;
	return sink(n) != 0; // @across1
}
ACROSS int across3(int n)
{
	return across2(n) + counter; // @across3
}
ACROSS int across5(int n)
{
	return across4(n) + counter; // @across5
}
NOINLINE int across(int n)
{
	return across5(n) + counter; // @across
}

// The call is the last instruction: it "returns" to the next function.
NOINLINE void never_returns(int n)
{
	counter = n;
	fatal(n); // @never_returns
}
NOINLINE int follows(int n)
{
	return counter + n;
}

// The unlikely branch goes to a part of its own, away from the function.
NOINLINE int split(int n)
{
	if (__builtin_expect(counter > 77, 0)) {
		counter = 0;
		fatal(n); // @split
	}
	return counter + n;
}

// Becomes a clone with the constant propagated.
static NOINLINE int constant(int n, int factor)
{
	counter += n * factor;
	return sink(n * factor) != 0; // @constant
}

static int compare(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

NOINLINE int unused(int n)
{
	return level5(n) * 7;
}

int main(int argc, char **argv)
{
	int numbers[3] = {3, argc, 2};
	(void)argv;
	qsort(numbers, 3, sizeof numbers[0], compare); // @main
	int sum = levels(argc) + across(argc) + split(argc) + follows(argc);
	sum += constant(argc, 42) + constant(sum, 42) + assembled(sum);
	if (sum == 12345)
		never_returns(sum);
	return sum;
}
