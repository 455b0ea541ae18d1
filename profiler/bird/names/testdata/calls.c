// SPDX-License-Identifier: Apache-2.0

#include <stdio.h>
#include <stdlib.h>

#include "protocol.h"

uint note(const char *text, uint n)
{
	return n ^ (uint)puts(text);
}

void wrong(const char *file, int line)
{
	printf("%s:%d\n", file, line);
	abort();
}
