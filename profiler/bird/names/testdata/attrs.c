// SPDX-License-Identifier: Apache-2.0

// What link time optimization puts into functions of bmp.c.

#line 1 "proto/bgp/attrs.c"
#include "protocol.h"

uint attrs_step(uint n) { check(n > 3); return n * 2; }
KEPT uint attrs_quiet(uint n) { return n * 5; }
KEPT uint attrs_last(uint n) { check(n > 5); return n * 7; }
