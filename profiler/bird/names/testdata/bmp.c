// SPDX-License-Identifier: Apache-2.0

// A protocol, and a source file that is told by its own name.

#line 1 "proto/bmp/bmp.c"
#include "protocol.h"

static void *bmp_init(void *c) { check(c); return c; }
static int bmp_start(void *p) { return p != 0; }
static int bmp_shutdown(void *p) { return p == 0; }
static int bmp_reconfigure(void *p, void *c) { return p == c; }
static void bmp_show_proto_info(void *p) { note("info", p != 0); }
static void bmp_copy_config(void *d, void *s) { note("copy", d == s); }

KEPT struct protocol proto_bmp = {
	.name = "BMP", .template = "bmp%d", .proto_size = 480, .config_size = 70000,
	.init = bmp_init, .reconfigure = bmp_reconfigure, .start = bmp_start, .shutdown = bmp_shutdown,
	.show_proto_info = bmp_show_proto_info, .copy_config = bmp_copy_config,
};

// Has no known name: its hooks tell nothing.
static void *new_init(void *c) { return (char *)c + 1; }
KEPT struct protocol proto_new = { .name = "New", .template = "new%d", .proto_size = 8, .config_size = 8, .init = new_init };

// Look like protocols, but lack a size, a template, a hook.
static void *other_init(void *c) { return (char *)c + 2; }
KEPT struct protocol no_size = { .name = "BGP", .template = "bgp%d", .config_size = 8, .init = other_init };
KEPT struct protocol no_template = { .name = "BGP", .template = "bgp", .proto_size = 8, .config_size = 8, .init = other_init };
KEPT struct protocol no_hook = { .name = "BGP", .template = "bgp%d", .proto_size = 8, .config_size = 8 };

KEPT uint bmp_first(uint n) { check(n); return n; }
KEPT uint bmp_quiet(uint n) { return n * 3 + 2; }
KEPT uint bmp_last(uint n) { check(n + 1); return attrs_step(n); }
