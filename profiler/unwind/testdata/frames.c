// SPDX-License-Identifier: Apache-2.0

// Functions with the kinds of frames compilers make: pushes and shrink-wrapped
// pushes, alloca, over-aligned locals (gcc's DRAP), both at once, many
// arguments, tail calls, cold parts, no return.

#include <alloca.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define NOINLINE __attribute__((noinline))

NOINLINE void touch(void *p, size_t n)
{
	memset(p, 1, n);
	__asm__ volatile("" : : "r"(p) : "memory");
}

NOINLINE long many_registers(long a, long b, long c, long d, long e, long f, long g, long h)
{
	long v[6] = {a * b, b * c, c * d, d * e, e * f, f * g};

	touch(v, sizeof(v));
	for (int i = 0; i < 6; i++)
		v[i] += a * v[(i + 1) % 6] + h;
	touch(v, sizeof(v));
	return v[0] + a + b + c + d + e + f + g + h;
}

NOINLINE long dynamic(size_t n)
{
	char *p = alloca(n);

	touch(p, n);
	return p[n - 1];
}

NOINLINE long aligned(long n)
{
	_Alignas(64) char buf[256];

	touch(buf, sizeof(buf));
	return buf[n & 255] + n;
}

NOINLINE long aligned_dynamic(long a, long b, long c, long d, long e, long f, long g, size_t n)
{
	_Alignas(64) char buf[128];
	char *p = alloca(n);

	touch(buf, sizeof(buf));
	touch(p, n);
	return many_registers(a, b, c, d, e, f, g, buf[n & 127]) + p[0] + a + b + c + d + e + f + g;
}

NOINLINE long variadic(int n, ...)
{
	va_list ap;
	long sum = 0;

	va_start(ap, n);
	while (n-- > 0)
		sum += va_arg(ap, long);
	va_end(ap);
	touch(&sum, sizeof(sum));
	return sum;
}

NOINLINE long shrink_wrapped(long *p, long n)
{
	if (!p || n <= 0)
		return -1;
	for (long i = 0; i < n; i++)
		touch(p + i, sizeof(*p));
	return dynamic(n) + p[0];
}

__attribute__((noreturn, cold)) NOINLINE void fatal(long code)
{
	char buf[40];

	touch(buf, sizeof(buf));
	exit((int)code & buf[0]);
}

NOINLINE long big_frame(long n)
{
	char buf[100000];

	touch(buf, sizeof(buf));
	if (n < 0)
		fatal(n);
	return buf[n % 100000];
}

NOINLINE long recurse(long n, long (*f)(long))
{
	return n <= 0 ? f(n) : recurse(n - 1, f) * 3 + f(n);
}

int main(int argc, char **argv)
{
	long v[4] = {argc, 2, 3, 4};

	(void)argv;
	return (int)(many_registers(1, 2, 3, 4, 5, 6, 7, 8) + dynamic(argc * 16) + aligned(argc) +
		     aligned_dynamic(1, 2, 3, 4, 5, 6, 7, argc) + variadic(2, 1L, 2L) +
		     shrink_wrapped(v, argc) + big_frame(argc) + recurse(argc, aligned));
}
