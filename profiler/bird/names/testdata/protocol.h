// SPDX-License-Identifier: Apache-2.0

// struct protocol in the shape of BIRD's, and what the sources have in common.

#pragma once

typedef unsigned uint;

struct protocol {
	void *next, *prev;
	const char *name, *template;
	uint counter, kind, preference, mask, proto_size, config_size;
	void (*preconfig)(void *, void *);
	void (*postconfig)(void *);
	void *(*init)(void *);
	int (*reconfigure)(void *, void *);
	void (*dump)(void *);
	int (*start)(void *);
	int (*shutdown)(void *);
	void (*cleanup)(void *);
	void (*get_status)(void *, char *);
#if GENERATION == 2
	void (*get_route_info)(void *, char *);
	int (*get_attr)(void *, char *, int);
#endif
	void (*show_proto_info)(void *);
	void (*copy_config)(void *, void *);
};

extern struct protocol proto_bmp, proto_new, no_size, no_template, no_hook;

uint note(const char *text, uint n);
void wrong(const char *file, int line);

// Also where nobody calls it.
#define KEPT __attribute__((used))

#define check(x) do { if (!(x)) wrong(__FILE__, __LINE__); } while (0)

uint bgp_quiet_first(uint), bgp_told(uint), bgp_quiet(uint), bgp_told_again(uint), bgp_quiet_last(uint);
uint bmp_first(uint), bmp_quiet(uint), bmp_last(uint);
uint attrs_step(uint), attrs_quiet(uint), attrs_last(uint);
