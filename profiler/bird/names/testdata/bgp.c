// SPDX-License-Identifier: Apache-2.0

// A source file that is told by a string literal alone.

#include "protocol.h"

KEPT uint bgp_quiet_first(uint n) { return n ? n / 3 : 7; }
KEPT uint bgp_told(uint n) { return note("a literal of one file", n); }
KEPT uint bgp_quiet(uint n) { return n * n + 1; }
KEPT uint bgp_told_again(uint n) { return note("another literal of that file", n); }
KEPT uint bgp_quiet_last(uint n) { return n ^ 0x5a5a; }
