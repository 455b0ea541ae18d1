//go:build ignore

// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Keeps the set of the target's live blocks and pages: an entry when an
 * allocation function returns, none from the moment a block is given to free.
 * An entry is removed before the real free and added after the real
 * allocation, so that another thread which gets the same address meets an
 * empty place.
 */
#include "blocks.h"
#include "objects.h"
#include "pages.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* Constants alone leave no trace in BTF, where Go takes them from. */
const struct {
	enum cookie cookie;
	enum entry_part entry_part;
	enum function function;
	enum stack_end stack_end;
	enum counter counter;
	enum cfa_kind cfa_kind;
	enum saved_kind saved_kind;
	enum stack_number stack_number;
	enum slots_class slots_class;
	enum acceptance acceptance;
} *abi_enums __attribute__((unused));

/* As for the values of maps within maps. */
#define SLOTS_MEMBER(n) struct slots_##n s##n;
const struct {
	FOR_EACH_SLOTS_CLASS(SLOTS_MEMBER)
	struct bucket bucket;
} *abi_slots __attribute__((unused));
