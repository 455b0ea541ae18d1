// SPDX-License-Identifier: Apache-2.0

package plan

import "leakprof/profiler/bird/structure"

// Function is an allocator function of BIRD that the program holds as a
// function of its own, whether it is probed or not.
type Function struct {
	Name    string // BIRD's own, e.g. "sl_alloc"
	Symbol  string // as the compiler named it, e.g. "sl_alloc.part.0"; "" if there is no symbol
	Address uint64 // of the entry, ELF vaddr
	Size    uint64 // bytes of code, 0 if unknown
	FoundBy FoundBy
	// Confidence and Signals say how sure a finding by structure is, and by
	// what it was told. A symbol needs neither.
	Confidence structure.Confidence
	Signals    []string
	// Part: the function's beginning, an assertion or a test for NULL, lies in
	// a wrapper or in the callers.
	Part bool
	// Copies is how often the compiler put a copy of the function, or of the
	// beginning that it split off, into others; -1 if that cannot be told.
	Copies int

	altered bool // the compiler changed what arguments it takes
}

// Absent is a function that the program does not hold as one of its own.
type Absent struct {
	Name   string
	Copies int // in other functions; -1 if that cannot be told
	Why    string
}

// functionNames are BIRD's allocator functions, 2.0.12 to 3.4: lib/resource.c,
// lib/mempool.c, lib/slab.c, lib/mslab.c and lib/islab.c (3.3), lib/stonehenge.c
// (3.1, 3.2), sysdep/unix/alloc.c, lib/xmalloc.c.
var functionNames = []string{
	"mb_alloc", "mb_allocz", "mb_realloc", "mb_free", "mbl_free", "buffer_realloc",
	"ralloc", "rfree", "rmove", "rp_new", "rp_newf", "rp_free", "pool_free",
	"lp_new", "lp_alloc", "lp_alloc_slow", "lp_allocu", "lp_allocz", "lp_flush", "lp_save", "lp_restore", "lp_free",
	"sl_new", "sl_alloc", "sl_allocz", "sl_free", "sl_delete", "slab_free",
	"msl_new", "msl_alloc", "msl_allocz", "msl_alloc_from_page", "msl_free", "mslab_free",
	"isl_new", "isl_alloc", "isl_allocz", "isl_free_id", "isl_free_ptr", "isl_free_info", "islab_free",
	"sth_alloc", "sth_allocz", "sth_free",
	"alloc_page", "alloc_page_global", "alloc_cold_page", "alloc_sys_page", "free_page", "flush_local_pages", "page_fill_hot",
	"bird_xmalloc", "bird_xrealloc", "xfree",
}
